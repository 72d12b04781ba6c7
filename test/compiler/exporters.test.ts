/** The same network from every exporter: it compiles to what a clean graph compiles to. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { readArtefact, type Artefact } from '#src/compiler/artefact.js'
import { compileSource, prepareSource } from '#src/compiler/pipeline.js'
import { relativeError } from '#src/compiler/prove.js'
import { seededNormal } from '#src/compiler/sample-inputs.js'
import { parseModel } from '#src/onnx/model.js'
import { openSession, type PlainTensor } from '#src/ort/session.js'
import { errorAgainstOriginal, TOLERANCE } from '../support/compile.js'
import { clean, EXPORTERS, SIZE } from '../support/exporters.js'
import { temporaryFolder } from '../support/folders.js'

const ROWS = 2

/** A picture for either layout. */
function feeds (layout?: 'NHWC'): Record<string, PlainTensor> {
  const normal = seededNormal(5)
  const picture = Float32Array.from({ length: ROWS * 3 * SIZE * SIZE }, normal)
  if (layout === undefined) return { x: { type: 'float32', dims: [ROWS, 3, SIZE, SIZE], data: picture } }
  const area = SIZE * SIZE
  const data = picture.map((_, at) => {
    const [row, place, channel] = [Math.floor(at / (3 * area)), Math.floor(at / 3) % area, at % 3]
    return picture[(row * 3 + channel) * area + place]!
  })
  return { x: { type: 'float32', dims: [ROWS, SIZE, SIZE, 3], data } }
}

async function outputOf (bytes: Uint8Array, layout?: 'NHWC'): Promise<PlainTensor> {
  const session = await openSession(bytes, { optimization: 'disabled' })
  try {
    return Object.values(await session.run(feeds(layout)))[0]!
  } finally {
    await session.release()
  }
}

interface Compiled { artefact: Artefact, prepared: Uint8Array, operators: Record<string, number> }

async function compile (t: TestContext, bytes: Uint8Array): Promise<Compiled> {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'model.onnx')
  await writeFile(path, bytes)
  const source = { path, origin: 'graph' } as const
  await compileSource(source, folder, { foldBudget: 0.5, samples: [] })
  const artefact = await readArtefact(folder)
  const operators: Record<string, number> = {}
  for (const { opType } of parseModel(await readFile(artefact.graphPath)).graph.node) {
    operators[opType] = (operators[opType] ?? 0) + 1
  }
  return { artefact, prepared: (await prepareSource(source)).bytes, operators }
}

/** A Flatten may be written as a Reshape; a layout asks for a Transpose. */
function alike ({ Transpose: _, Flatten = 0, Reshape = 0, ...others }: Record<string, number>): Record<string, number> {
  return { ...others, Reshape: Flatten + Reshape }
}

describe('the same network', () => {
  for (const [exporter, make] of Object.entries(EXPORTERS)) {
    test(`of ${exporter}`, async (t) => {
      const { g, keys, layout } = make()
      const plain = clean(g.opset < 11 ? { opset: 11 } : { opset: g.opset }).bytes()
      const error = relativeError(await outputOf(g.bytes(), layout), await outputOf(plain))
      assert.ok(error < 1e-5, `the network of the corpus is the clean one: ${error}`)

      const [ours, reference] = [await compile(t, g.bytes()), await compile(t, plain)]
      assert.deepEqual(ours.artefact.layers.map(({ key }) => key), keys)
      assert.deepEqual(ours.artefact.sites.map(({ kind }) => kind), reference.artefact.sites.map(({ kind }) => kind))
      assert.deepEqual(alike(ours.operators), alike(reference.operators), 'not a node more')
      assert.ok(Math.abs(ours.artefact.weightBytes - reference.artefact.weightBytes) < 200, 'all weights are counted')
      assert.ok(await errorAgainstOriginal(ours.prepared, ours.artefact) <= TOLERANCE)
    })
  }
})
