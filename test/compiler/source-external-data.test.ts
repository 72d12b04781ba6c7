import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { externalLocations, loadExternalData } from '#src/compiler/source/external-data.js'
import { sha256File } from '#src/base/digest.js'
import { prepareSource } from '#src/compiler/pipeline.js'
import { sourceDigests } from '#src/compiler/source/model-source.js'
import { StringStringEntryProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { parseModel, type OnnxModel } from '#src/onnx/model.js'
import { compileExactly } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

function network (): GraphBuilder {
  const g = new GraphBuilder()
  end(g, g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16, 'bn')), 16)
  return g
}

/** Moves every initializer out; returns what the data file must hold. */
function moveOut (model: OnnxModel, entries: (offset: number, length: number) => Record<string, string>): Buffer {
  const chunks: Uint8Array[] = []
  let offset = 0
  for (const tensor of model.graph.initializer) {
    chunks.push(tensor.rawData)
    tensor.externalData = Object.entries(entries(offset, tensor.rawData.length)).map(([key, value]) => {
      return create(StringStringEntryProtoSchema, { key, value })
    })
    offset += tensor.rawData.length
    tensor.dataLocation = 1
    tensor.rawData = new Uint8Array(0)
  }
  return Buffer.concat(chunks)
}

const sliceOf = (location: string) => (offset: number, length: number) => ({
  location, offset: String(offset), length: String(length)
})

describe('external data', () => {
  test('is read from beside the model, and the model computes the same', async (t) => {
    const folder = await temporaryFolder(t)
    const g = network()
    const whole = g.bytes()
    await mkdir(join(folder, 'data'))
    await writeFile(join(folder, 'data/weights'), moveOut(g.model, sliceOf('data/weights')))
    const path = join(folder, 'model.onnx')
    await writeFile(path, g.bytes())
    assert.deepEqual(await sourceDigests({ path, origin: 'graph' }), [
      await sha256File(path), await sha256File(join(folder, 'data/weights'))
    ])
    const { bytes, tolerance, changedBy } = await prepareSource({ path, origin: 'graph' })
    assert.equal(tolerance, 1e-4)
    assert.deepEqual(changedBy, ['load'])
    const [loaded, original] = [parseModel(bytes), parseModel(whole)]
    assert.deepEqual(externalLocations(loaded), [])
    assert.deepEqual(
      loaded.graph.initializer.map(({ rawData }) => Buffer.from(rawData)),
      original.graph.initializer.map(({ rawData }) => Buffer.from(rawData))
    )
    await compileExactly(t, bytes, { foldBudget: 1 })
  })

  test('without offset and length it is the whole file', async (t) => {
    const folder = await temporaryFolder(t)
    const g = network()
    const [first, ...others] = g.model.graph.initializer
    const data = Buffer.from(first!.rawData)
    moveOut(g.model, () => ({ location: 'first' }))
    g.model.graph.initializer = [first!]
    await writeFile(join(folder, 'first'), data)
    await loadExternalData(g.model, folder)
    assert.deepEqual(Buffer.from(first!.rawData), data)
    assert.ok(others.length > 0)
  })

  for (const [title, location] of [
    ['an absolute path', '/etc/hostname'], ['a path out of the folder', '../secret'], ['a link out of the folder', 'link'],
    ['a folder', 'folder'], ['nothing', ''], ['a file that is not there', 'missing'], ['the folder itself', '.']
  ] as const) {
    test(`refuses ${title}`, async (t) => {
      const outside = await temporaryFolder(t)
      const folder = join(outside, 'model')
      await mkdir(join(folder, 'folder'), { recursive: true })
      await writeFile(join(outside, 'secret'), Buffer.alloc(10_000))
      await symlink('../secret', join(folder, 'link'))
      const { model } = network()
      moveOut(model, sliceOf(location))
      await assert.rejects(loadExternalData(model, folder), hasCode('ONNX_EXTERNAL_DATA'))
    })
  }

  for (const [title, entries] of [
    ['a length beyond the end', { offset: '0', length: '10001' }], ['an offset beyond the end', { offset: '10001' }],
    ['a negative offset', { offset: '-1' }], ['words', { offset: 'ten' }], ['2^60', { length: String(2n ** 60n) }]
  ] as Array<[string, Record<string, string>]>) {
    test(`refuses ${title} of the file`, async (t) => {
      const folder = await temporaryFolder(t)
      await writeFile(join(folder, 'data'), Buffer.alloc(10_000))
      const { model } = network()
      const attempt = async () => {
        moveOut(model, () => ({ location: 'data', ...entries }))
        await loadExternalData(model, folder)
      }
      await assert.rejects(attempt(), hasCode('ONNX_EXTERNAL_DATA'))
    })
  }
})
