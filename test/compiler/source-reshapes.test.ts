import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openReshapes } from '#src/compiler/source/open-reshapes.js'
import { relativeError } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { DataType, readIntegers } from '#src/onnx/tensor.js'
import { openSession } from '#src/ort/session.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** A Reshape of `[n, 4, 6]` to the sizes that `make` gives; what else the graph has reads it. */
function reshaped (make: (g: GraphBuilder, shape: string) => string[], attributes = {}): GraphBuilder {
  const g = new GraphBuilder({ opset: 18 })
  const x = g.input('x', ['n', 4, 6])
  const sizes = g.node('Concat', make(g, g.node('Shape', [x])), { axis: { int: 0 } })
  g.output(g.node('Reshape', [x, sizes], attributes), Array<string>(2).fill('d'))
  return g
}

const item = (g: GraphBuilder, shape: string, at: number) => g.node('Gather', [shape, g.ints(g.fresh('at'), [at])])

async function run (model: OnnxModel, rows: number) {
  const session = await openSession(serializeModel(model), { optimization: 'disabled' })
  try {
    return Object.values(await session.run(sampleFeeds(session.inputs, { x: [1, 4, 6] }, rows, 3)))[0]!
  } finally {
    await session.release()
  }
}

async function opens (g: GraphBuilder, expected: number[]): Promise<void> {
  const model = parseModel(g.bytes())
  assert.equal(openReshapes(model), true)
  assert.deepEqual(model.graph.node.map(({ opType }) => opType), ['Reshape'])
  const sizes = indexGraph(model.graph).initializerOf.get(model.graph.node[0]!.input[1]!)!
  assert.deepEqual(readIntegers(sizes), expected)
  for (const rows of [1, 3]) {
    const [actual, before] = [await run(model, rows), await run(parseModel(g.bytes()), rows)]
    assert.equal(relativeError(actual, before), 0)
  }
}

function stays (g: GraphBuilder): void {
  assert.equal(openReshapes(parseModel(g.bytes())), false)
}

const flat = (g: GraphBuilder, shape: string) => g.node('Reshape', [g.node('Gather', [shape, g.tensor(scalarIndex(g))]), g.ints(g.fresh('one'), [-1])])
const scalarIndex = (g: GraphBuilder) => {
  const name = g.ints(g.fresh('index'), [0])
  const tensor = g.model.graph.initializer.pop()!
  return Object.assign(tensor, { name, dims: [] })
}

describe('a Reshape', () => {
  test('1: to one computed size, however it is taken from a shape', async () => {
    await opens(reshaped((g, shape) => [flat(g, shape), g.ints('rest', [24])]), [-1, 24])
    await opens(reshaped((g, shape) => [g.ints('rest', [24]), g.node('Slice', [shape, g.ints('from', [0]), g.ints('to', [1])])]), [24, -1])
    await opens(reshaped((g) => [g.node('Shape', ['x'], { start: { int: 0 }, end: { int: 1 } }), g.ints('rest', [24])]), [-1, 24])
    await opens(reshaped((g) => [g.node('Shape', ['x'], { start: { int: -3 }, end: { int: -2 } }), g.ints('rest', [24])]), [-1, 24])
    await opens(reshaped((g, shape) => {
      const product = g.node('Mul', [flat(g, shape), g.ints('four', [4])])
      return [g.node('Cast', [product], { to: { int: DataType.INT64 } }), g.ints('rest', [6])]
    }), [-1, 6])
  })

  test('2: with a constant 0', async () => {
    await opens(reshaped((g, shape) => [g.ints('copied', [0]), g.node('Mul', [item(g, shape, 1), item(g, shape, 2)])]), [0, -1])
    stays(reshaped((g, shape) => [g.ints('none', [0]), flat(g, shape)], { allowzero: { int: 1 } }))
  })

  test('3: to several open sizes is left alone', () => {
    stays(reshaped((g, shape) => [item(g, shape, 0), g.node('Mul', [item(g, shape, 1), item(g, shape, 2)])]))
    stays(reshaped((g, shape) => [item(g, shape, 0), g.ints('open', [-1])]))
    stays(reshaped((g) => [g.ints('sizes', [-1, 24])]))
  })

  test('4: to what may be several sizes is left alone', () => {
    stays(reshaped((g, shape) => [g.node('Slice', [shape, g.ints('from', [0]), g.ints('to', [2])]), g.ints('rest', [6])]))
    stays(reshaped((g, shape) => [g.node('Slice', [shape, g.ints('from', [-1]), g.ints('to', [0])]), g.ints('rest', [6])]))
    stays(reshaped((g) => [g.node('Shape', ['x'], { start: { int: 1 } }), g.ints('rest', [6])]))
    stays(reshaped((g, shape) => [g.node('Gather', [shape, g.ints('two', [0, 1])]), g.ints('rest', [6])]))
  })

  test('5: leaves the sizes to others that read them', () => {
    const g = reshaped((g, shape) => [flat(g, shape), g.ints('rest', [24])])
    g.output(g.node('Identity', [g.model.graph.node.find(({ opType }) => opType === 'Concat')!.output[0]!]), [2], DataType.INT64)
    const model = parseModel(g.bytes())
    assert.equal(openReshapes(model), true)
    assert.ok(model.graph.node.some(({ opType }) => opType === 'Concat'))
  })
})
