import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findFoldableConv, type FoldableConv } from '#src/compiler/find-foldable-conv.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { DataType, readFloat32 } from '#src/onnx/tensor.js'
import { GraphBuilder, type ConvOptions } from '../support/graph-builder.js'

const CONV: ConvOptions = { inputs: 3, outputs: 4, kernel: 3, name: 'conv' }

/** Every site's foldable Conv in a graph that ends in the values `build` returns. */
function find (build: (g: GraphBuilder, x: string) => string | string[]): Array<FoldableConv | undefined> {
  const g = new GraphBuilder()
  const values = [build(g, g.input('x', ['n', 3, 6, 6]))].flat()
  for (const value of values) g.output(value, ['n', 4, 6, 6])
  const index = indexGraph(g.model.graph)
  return readBatchNorms(index).sites.map((site) => findFoldableConv(index, site))
}

const nodeNamed = (g: GraphBuilder, opType: string) => g.model.graph.node.find((node) => node.opType === opType)!

const tensorNamed = (g: GraphBuilder, name: string) => {
  return readFloat32(g.model.graph.initializer.find((tensor) => tensor.name === name)!)
}

test('case 1: a Conv with constant weights', () => {
  let builder: GraphBuilder | undefined
  const [found] = find((g, x) => {
    builder = g
    return g.batchNorm(g.conv(x, CONV), 4)
  })
  assert.deepEqual(found, {
    node: nodeNamed(builder!, 'Conv'), dims: [4, 3, 3, 3], weights: tensorNamed(builder!, 'conv.weight')
  })
})

describe('case 2: a constant bias', () => {
  test('an initializer', () => {
    let builder: GraphBuilder | undefined
    const [found] = find((g, x) => {
      builder = g
      return g.batchNorm(g.conv(x, { ...CONV, bias: true }), 4)
    })
    assert.deepEqual(found!.bias, tensorNamed(builder!, 'conv.bias'))
  })

  test('a scalar expanded to the channels, as torch writes it', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      const shape = g.node('Shape', [g.floats('like', [4], () => 0)])
      const bias = g.node('Expand', [g.scalar(0.25), shape])
      nodeNamed(g, 'Conv').input.push(bias)
      return g.batchNorm(conv, 4)
    })
    assert.deepEqual(found!.bias, Float32Array.of(0.25, 0.25, 0.25, 0.25))
  })

  test('one that is left out is none', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      nodeNamed(g, 'Conv').input.push('')
      return g.batchNorm(conv, 4)
    })
    assert.ok(found !== undefined && !('bias' in found))
  })
})

describe('case 3: read by others too', () => {
  test('another node', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      return g.add(g.batchNorm(conv, 4), conv)
    })
    assert.equal(found, undefined)
  })

  test('a second batch norm', () => {
    const found = find((g, x) => {
      const conv = g.conv(x, CONV)
      return g.add(g.batchNorm(conv, 4), g.batchNorm(conv, 4))
    })
    assert.deepEqual(found, [undefined, undefined])
  })

  test('a graph output', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      return [g.batchNorm(conv, 4), conv]
    })
    assert.equal(found, undefined)
  })

  test('the body of an If', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      const body = (opType: string) => {
        const inner = new GraphBuilder()
        return inner.output(inner.node(opType, [conv], {}, [`${opType}.out`]), ['n', 4, 6, 6])
      }
      return [g.batchNorm(conv, 4), g.choose(g.input('condition', [], DataType.BOOL), body('Relu'), body('Neg'))]
    })
    assert.equal(found, undefined)
  })
})

describe('case 4: computed, or of another type', () => {
  test('weights', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      nodeNamed(g, 'Conv').input[1] = g.node('Mul', ['conv.weight', g.input('factor', [1])])
      return g.batchNorm(conv, 4)
    })
    assert.equal(found, undefined)
  })

  test('bias', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      nodeNamed(g, 'Conv').input.push(g.input('bias', [4]))
      return g.batchNorm(conv, 4)
    })
    assert.equal(found, undefined)
  })

  test('weights of 16 bits', () => {
    const [found] = find((g, x) => {
      const conv = g.conv(x, CONV)
      g.model.graph.initializer.find(({ name }) => name === 'conv.weight')!.dataType = DataType.FLOAT16
      return g.batchNorm(conv, 4)
    })
    assert.equal(found, undefined)
  })

  test('no Conv at all, or one of another operator domain', () => {
    const found = find((g, x) => {
      const y = g.batchNorm(g.relu(g.conv(x, CONV)), 4)
      const other = g.conv(x, { ...CONV, name: 'other' })
      g.model.graph.node.at(-1)!.domain = 'com.example'
      return [y, g.batchNorm(other, 4)]
    })
    assert.deepEqual(found, [undefined, undefined])
  })

  test('a Conv whose channels are not those of the batch norm', () => {
    const [found] = find((g, x) => g.batchNorm(g.conv(x, CONV), 5))
    assert.equal(found, undefined)
  })
})

test('case 5: Convs that share weights are foldable each', () => {
  const found = find((g, x) => {
    const first = g.batchNorm(g.conv(x, CONV), 4)
    return g.add(first, g.batchNorm(g.node('Conv', [g.relu(x), 'conv.weight'], { pads: { ints: [1, 1, 1, 1] } }), 4))
  })
  assert.equal(found.length, 2)
  assert.deepEqual(found[0]!.weights, found[1]!.weights)
  assert.notEqual(found[0]!.node, found[1]!.node)
})

test('a grouped Conv keeps its dimensions', () => {
  const [found] = find((g, x) => {
    return g.batchNorm(g.conv(g.relu(x), { inputs: 3, outputs: 3, group: 3, kernel: 5, name: 'deep' }), 3)
  })
  assert.deepEqual(found!.dims, [3, 1, 5, 5])
})
