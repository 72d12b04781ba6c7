import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { externaliseWeights } from '#src/compiler/externalise-weights.js'
import { float32Tensor, isExternal, readFloat32 } from '#src/onnx/tensor.js'
import { openSession } from '#src/ort/session.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

const PAGE_BYTES = 4096

/** x plus each of several vectors, of which `lengths` tells the elements. */
function sums (lengths: number[]): GraphBuilder {
  const g = new GraphBuilder()
  const x = g.input('x', [1])
  for (const [at, length] of lengths.entries()) {
    g.output(g.add(x, g.floats(`vector${at}`, [length], (index) => at + index / 1e4)), [length])
  }
  return g
}

const externalOf = (g: GraphBuilder) => g.model.graph.initializer.map((tensor) => {
  return isExternal(tensor) ? Object.fromEntries(tensor.externalData.map(({ key, value }) => [key, value])) : undefined
})

describe('externaliseWeights', () => {
  test('weights of a page and more go, each to the start of a page', () => {
    const g = sums([1024, 1023, 2500, 5])
    const chunks = externaliseWeights(g.model, 'w.bin')
    assert.deepEqual(externalOf(g), [
      { location: 'w.bin', offset: '0', length: '4096' },
      undefined,
      { location: 'w.bin', offset: '4096', length: '10000' },
      undefined
    ])
    assert.equal(Buffer.concat(chunks).length % PAGE_BYTES, 0)
    assert.ok(g.bytes().length < PAGE_BYTES + 1000, 'they are in the graph no more')
  })

  test('a graph of small weights has none', () => {
    const g = sums([3, 5])
    assert.deepEqual(externaliseWeights(g.model, 'w.bin'), [])
    assert.deepEqual(externalOf(g), [undefined, undefined])
  })

  test('floats in their typed field become raw, whatever their size', () => {
    const g = sums([2000, 3])
    for (const tensor of g.model.graph.initializer) {
      tensor.floatData = [...readFloat32(tensor)]
      tensor.rawData = new Uint8Array()
    }
    const [first] = externaliseWeights(g.model, 'w.bin')
    assert.deepEqual(first, new Uint8Array(Float32Array.from({ length: 2000 }, (_, at) => at / 1e4).buffer))
    assert.deepEqual(readFloat32(g.model.graph.initializer[1]!), Float32Array.of(1, 1.0001, 1.0002))
  })

  test('what is external already stays where it is', () => {
    const g = sums([2000])
    g.model.graph.initializer[0]!.dataLocation = 1
    assert.deepEqual(externaliseWeights(g.model, 'w.bin'), [])
  })
})

test('the runtime finds them again', async (t) => {
  const lengths = [5000, 7, 1024, 3333]
  const g = sums(lengths)
  g.tensor(float32Tensor('unread', [2000], new Float32Array(2000)))
  const expected = lengths.map((length, at) => Float32Array.from({ length }, (_, index) => at + index / 1e4))
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'w.bin'), externaliseWeights(g.model, 'w.bin'))
  await writeFile(join(folder, 'graph.onnx'), g.bytes())
  const session = await openSession(join(folder, 'graph.onnx'), { optimization: 'disabled' })
  const results = await session.run({ x: { type: 'float32', dims: [1], data: Float32Array.of(0) } })
  assert.deepEqual(session.outputs.map(({ name }) => results[name]!.data), expected)
  await session.release()
})
