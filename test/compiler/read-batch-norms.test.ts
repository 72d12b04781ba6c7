import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { readBatchNorms, type BatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { makeAttribute } from '#src/onnx/node.js'
import { FunctionProtoSchema, StringStringEntryProtoSchema, type NodeProto } from '#src/onnx/generated/onnx_pb.js'
import { DataType, float32Tensor } from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'

const CHANNELS = 4

function start (): { g: GraphBuilder, x: string } {
  const g = new GraphBuilder()
  return { g, x: g.input('x', ['n', CHANNELS, 5, 5]) }
}

function read (g: GraphBuilder): BatchNorms {
  return readBatchNorms(indexGraph(g.model.graph))
}

function finish (g: GraphBuilder, ...values: string[]): BatchNorms {
  for (const value of values) g.output(value, ['n', CHANNELS, 5, 5])
  return read(g)
}

const lastNode = (g: GraphBuilder): NodeProto => g.model.graph.node.at(-1)!

/** A batch norm over four given values. */
function batchNormOf (g: GraphBuilder, x: string, parameters: string[], epsilon = 1e-5): string {
  return g.node('BatchNormalization', [x, ...parameters], { epsilon: { float: epsilon } })
}

const parametersOf = (name: string): string[] => {
  return ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => `${name}.${suffix}`)
}

const vector = (g: GraphBuilder, name: string, ...values: number[]): string => {
  return g.floats(name, [values.length], (at) => values[at]!)
}

const keysOf = ({ layers }: BatchNorms): string[] => layers.map(({ key }) => key)
const siteKeys = ({ sites }: BatchNorms): string[] => sites.map(({ layer }) => layer.key)

describe('case 1: constants', () => {
  test('initializers are read by slot', () => {
    const { g, x } = start()
    const y = batchNormOf(g, x, [
      vector(g, 'bn.weight', 1, 2, 3, 4), vector(g, 'bn.bias', 5, 6, 7, 8),
      vector(g, 'bn.running_mean', 9, 10, 11, 12), vector(g, 'bn.running_var', 13, 14, 15, 16)
    ], 1e-3)
    const { layers, sites, ownBank } = finish(g, y)
    assert.deepEqual(layers, [{ key: 'bn', channels: CHANNELS, epsilon: Math.fround(1e-3) }])
    assert.deepEqual(sites, [{ node: lastNode(g), layer: layers[0], input: 'x', output: y }])
    assert.deepEqual(ownBank, new Map([['bn', {
      gamma: Float32Array.of(1, 2, 3, 4),
      beta: Float32Array.of(5, 6, 7, 8),
      mean: Float32Array.of(9, 10, 11, 12),
      variance: Float32Array.of(13, 14, 15, 16)
    }]]))
  })

  test('a missing epsilon is 1e-5, as float32', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).attribute = []
    assert.equal(finish(g, y).layers[0]!.epsilon, Math.fround(1e-5))
  })

  test('Constant, Identity and ConstantOfShape are followed', () => {
    const { g, x } = start()
    const tensor = float32Tensor('', [CHANNELS], Float32Array.of(1, 2, 3, 4))
    const gamma = g.node('Constant', [], { value: { tensor } })
    const beta = g.node('ConstantOfShape', [g.ints('shape', [CHANNELS])])
    const mean = g.node('Identity', [g.node('Identity', [vector(g, 'm', 5, 6, 7, 8)])])
    const variance = g.node('Expand', [g.floats('one', [], () => 1), 'shape'])
    const { ownBank } = finish(g, batchNormOf(g, x, [gamma, beta, mean, variance]))
    const [own] = ownBank.values()
    assert.deepEqual(own, {
      gamma: Float32Array.of(1, 2, 3, 4),
      beta: new Float32Array(CHANNELS),
      mean: Float32Array.of(5, 6, 7, 8),
      variance: new Float32Array(CHANNELS).fill(1)
    })
  })

  test('layers and sites come in the order of the nodes', () => {
    const { g, x } = start()
    const y = g.batchNorm(g.relu(g.batchNorm(x, CHANNELS, 'z')), CHANNELS, 'a')
    const read = finish(g, y)
    assert.deepEqual(keysOf(read), ['z', 'a'])
    assert.deepEqual(siteKeys(read), ['z', 'a'])
    assert.deepEqual([...read.ownBank.keys()], ['z', 'a'])
  })
})

test('case 2: initializers that are graph inputs too are constants', () => {
  const { g, x } = start()
  const y = g.batchNorm(x, CHANNELS, 'bn')
  g.listInitializersAsInputs()
  const { layers, ownBank } = finish(g, y)
  assert.equal(layers[0]!.key, 'bn')
  assert.equal(ownBank.get('bn')!.mean.length, CHANNELS)
})

describe('case 3: one layer with two sites', () => {
  test('two nodes over the very same parameters', () => {
    const { g, x } = start()
    const y = batchNormOf(g, g.relu(g.batchNorm(x, CHANNELS, 'bn')), parametersOf('bn'))
    const read = finish(g, y)
    assert.deepEqual(keysOf(read), ['bn'])
    assert.deepEqual(siteKeys(read), ['bn', 'bn'])
    assert.equal(read.sites[0]!.layer, read.sites[1]!.layer)
    assert.equal(read.ownBank.size, 1)
  })

  test('parameters without names of PyTorch', () => {
    const { g, x } = start()
    const parameters = ['a', 'b', 'c', 'd'].map((name) => vector(g, name, 1, 1, 1, 1))
    const y = batchNormOf(g, g.relu(batchNormOf(g, x, parameters)), parameters)
    const read = finish(g, y)
    assert.equal(read.layers.length, 1)
    assert.equal(read.sites.length, 2)
  })
})

describe('case 4: two layers over merged parameters', () => {
  const withScopes = (g: GraphBuilder, path: string) => {
    lastNode(g).metadataProps = [create(StringStringEntryProtoSchema, {
      key: 'pkg.torch.onnx.name_scopes', value: `['', '${path}', 'batch_norm']`
    })]
  }

  test('told apart by their module paths', () => {
    const { g, x } = start()
    const ones = vector(g, 'bn1.weight', 1, 1, 1, 1)
    const zeros = vector(g, 'bn1.bias', 0, 0, 0, 0)
    const first = batchNormOf(g, x, [ones, zeros, zeros, ones])
    withScopes(g, 'bn1')
    const second = batchNormOf(g, g.relu(first), [ones, zeros, zeros, ones])
    withScopes(g, 'bn2')
    const read = finish(g, second)
    assert.deepEqual(keysOf(read), ['bn1', 'bn2'])
    assert.deepEqual(siteKeys(read), ['bn1', 'bn2'])
    assert.deepEqual(read.ownBank.get('bn2')!.variance, Float32Array.of(1, 1, 1, 1))
  })

  test('told apart by the names of Identity nodes in front of them', () => {
    const { g, x } = start()
    const first = g.batchNorm(x, CHANNELS, 'bn1')
    const second = batchNormOf(g, g.relu(first), parametersOf('bn2'))
    const nodes = g.model.graph.node.splice(0)
    for (const [at, name] of parametersOf('bn2').entries()) g.node('Identity', [parametersOf('bn1')[at]!], {}, [name])
    g.model.graph.node.push(...nodes)
    const read = finish(g, second)
    assert.deepEqual(siteKeys(read), ['bn1', 'bn2'])
    assert.deepEqual(read.ownBank.get('bn2'), read.ownBank.get('bn1'))
  })

  test('told apart by their epsilon', () => {
    const { g, x } = start()
    const y = batchNormOf(g, g.relu(g.batchNorm(x, CHANNELS, 'bn')), parametersOf('bn'), 0.1)
    const read = finish(g, y)
    assert.equal(read.layers.length, 2)
    assert.deepEqual(read.layers.map(({ epsilon }) => epsilon), [Math.fround(1e-5), Math.fround(0.1)])
    assert.equal(new Set(keysOf(read)).size, 2)
  })
})

describe('keys are unique', () => {
  test('another layer with a taken name gets its node name', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    const z = batchNormOf(g, y, [...parametersOf('bn').slice(0, 3), vector(g, 'other', 2, 2, 2, 2)])
    lastNode(g).name = 'second'
    assert.deepEqual(keysOf(finish(g, z)), ['bn', 'second'])
  })

  test('nodes without any name are numbered', () => {
    const { g, x } = start()
    const unnamed = (of: string) => {
      const y = batchNormOf(g, of, [1, 2, 3, 4].map(() => vector(g, g.fresh('p'), 1, 1, 1, 1)))
      lastNode(g).name = ''
      return y
    }
    assert.deepEqual(keysOf(finish(g, unnamed(unnamed(x)))), ['batch_norm_0', 'batch_norm_1'])
  })

  test('when every candidate is taken, the first is numbered', () => {
    const { g, x } = start()
    const named = (of: string) => {
      const y = batchNormOf(g, of, [1, 2, 3, 4].map(() => vector(g, g.fresh('p'), 1, 1, 1, 1)))
      lastNode(g).name = 'batch_norm_1'
      return y
    }
    assert.deepEqual(keysOf(finish(g, named(named(x)))), ['batch_norm_1', 'batch_norm_1#2'])
  })
})

describe('case 5: training mode is refused', () => {
  test('training_mode=1', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS)
    lastNode(g).name = 'bn/train'
    lastNode(g).attribute.push(makeAttribute('training_mode', { int: 1 }))
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_TRAINING', { node: 'bn/train' }))
  })

  test('further outputs', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS)
    lastNode(g).output.push('running_mean', 'running_var')
    lastNode(g).name = 'bn/train'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_TRAINING', { node: 'bn/train' }))
  })

  test('not further outputs that are left out', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).output.push('', '')
    assert.deepEqual(keysOf(finish(g, y)), ['bn'])
  })
})

test('case 6: parameters computed from an input are refused', () => {
  for (const slot of [1, 2, 3, 4]) {
    const { g, x } = start()
    const computed = g.node('ReduceMean', [x], { axes: { ints: [0, 2, 3] }, keepdims: { int: 0 } })
    const y = g.batchNorm(x, CHANNELS)
    lastNode(g).input[slot] = computed
    lastNode(g).name = 'bn/dynamic'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_DYNAMIC', { node: 'bn/dynamic', slot }))
  }
})

describe('case 7: spatial=0 is refused', () => {
  const withSpatial = (value: number) => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).attribute.push(makeAttribute('spatial', { int: value }))
    lastNode(g).name = 'bn/pixels'
    return () => finish(g, y)
  }

  test('spatial=0', () => {
    assert.throws(withSpatial(0), hasCode('COMPILE_BATCH_NORM_SPATIAL', { node: 'bn/pixels' }))
  })

  test('not spatial=1', () => {
    assert.deepEqual(keysOf(withSpatial(1)()), ['bn'])
  })
})

describe('case 8: inside a body is refused', () => {
  const withIf = (depth: number) => {
    const body = (seed: number): GraphBuilder => {
      const inner = new GraphBuilder({ seed })
      inner.batchNorm('x', CHANNELS, `inner${seed}`)
      inner.output(lastNode(inner).output[0]!, ['n', CHANNELS, 5, 5])
      return inner
    }
    const { g, x } = start()
    const condition = g.input('condition', [], DataType.BOOL)
    let [then, otherwise] = [body(1), body(2)]
    for (let level = 1; level < depth; level++) {
      const outer = new GraphBuilder()
      outer.output(outer.choose(condition, then, otherwise), ['n', CHANNELS, 5, 5])
      const plain = new GraphBuilder()
      plain.output(plain.relu(x), ['n', CHANNELS, 5, 5])
      ;[then, otherwise] = [outer, plain]
    }
    const chosen = g.choose(condition, then, otherwise)
    lastNode(g).name = 'the/if'
    g.batchNorm(x, CHANNELS, 'outer')
    return () => finish(g, chosen, lastNode(g).output[0]!)
  }

  for (const depth of [1, 2]) {
    test(`If, ${depth} deep`, () => {
      assert.throws(withIf(depth), hasCode('COMPILE_BATCH_NORM_NESTED', { node: 'the/if' }))
    })
  }

  test('a function of the model', () => {
    const { g, x } = start()
    const functions = [create(FunctionProtoSchema, { name: 'normalise', node: [lastNode(withNestedNode())] })]
    g.output(g.batchNorm(x, CHANNELS, 'bn'), ['n', CHANNELS, 5, 5])
    const index = indexGraph(g.model.graph)
    assert.equal(readBatchNorms(index).layers.length, 1)
    assert.throws(() => readBatchNorms(index, functions), hasCode('COMPILE_BATCH_NORM_NESTED', { node: 'normalise' }))
  })

  function withNestedNode (): GraphBuilder {
    const inner = new GraphBuilder()
    inner.batchNorm('x', CHANNELS, 'inner')
    return inner
  }
})

describe('case 9: malformed', () => {
  test('arrays of different lengths', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).input[3] = vector(g, 'short', 1, 2)
    lastNode(g).name = 'bn/short'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', {
      node: 'bn/short', received: [CHANNELS, CHANNELS, 2, CHANNELS]
    }))
  })

  test('empty arrays', () => {
    const { g, x } = start()
    const y = batchNormOf(g, x, parametersOf('bn').map((name) => vector(g, name)))
    lastNode(g).name = 'bn/empty'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', { node: 'bn/empty' }))
  })

  test('an input that is missing', () => {
    for (const count of [0, 1, 2, 4]) {
      const { g, x } = start()
      const y = g.batchNorm(x, CHANNELS, 'bn')
      lastNode(g).name = 'bn/missing'
      lastNode(g).input.splice(count)
      assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', { node: 'bn/missing' }))
    }
  })

  for (const [title, slot, value] of [
    ['a negative variance', 4, -1], ['a mean that is no number', 3, NaN], ['an infinite gamma', 1, Infinity]
  ] as const) {
    test(title, () => {
      const { g, x } = start()
      const y = g.batchNorm(x, CHANNELS, 'bn')
      lastNode(g).input[slot] = vector(g, 'odd', 1, 1, value, 1)
      assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', { layer: 'bn', channel: 2 }))
    })
  }
})

describe('case 10: nothing reads it', () => {
  test('a batch norm whose result goes nowhere is no layer', () => {
    const { g, x } = start()
    const dead = g.batchNorm(x, CHANNELS, 'dead')
    g.relu(dead)
    const read = finish(g, g.batchNorm(x, CHANNELS, 'alive'))
    assert.deepEqual(keysOf(read), ['alive'])
    assert.deepEqual(siteKeys(read), ['alive'])
    assert.deepEqual([...read.ownBank.keys()], ['alive'])
  })

  test('it is not refused for what it has wrong', () => {
    const { g, x } = start()
    g.batchNorm(x, CHANNELS, 'dead')
    lastNode(g).attribute.push(makeAttribute('training_mode', { int: 1 }))
    assert.deepEqual(keysOf(finish(g, g.batchNorm(x, CHANNELS, 'alive'))), ['alive'])
  })

  test('a body that reads it keeps it alive', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    const body = (opType: string) => {
      const inner = new GraphBuilder()
      return inner.output(inner.node(opType, [y], {}, [`${opType}.out`]), ['n', CHANNELS, 5, 5])
    }
    const chosen = g.choose(g.input('condition', [], DataType.BOOL), body('Relu'), body('Neg'))
    assert.deepEqual(keysOf(finish(g, chosen)), ['bn'])
  })
})

test('case 11: more channels than a port can number are refused', () => {
  const widest = 65535
  for (const channels of [widest, widest + 1]) {
    const g = new GraphBuilder()
    const y = g.batchNorm(g.input('x', ['n', channels]), channels, 'bn')
    lastNode(g).name = 'bn/wide'
    g.output(y, ['n', channels])
    if (channels === widest) assert.equal(read(g).layers[0]!.channels, widest)
    else assert.throws(() => read(g), hasCode('COMPILE_BATCH_NORM_CHANNELS', { node: 'bn/wide', received: channels }))
  }
})

test('parameters in another file are refused as such', () => {
  const { g, x } = start()
  const y = g.batchNorm(x, CHANNELS, 'bn')
  g.model.graph.initializer[2]!.dataLocation = 1
  assert.throws(() => finish(g, y), hasCode('ONNX_UNSUPPORTED'))
})

test('a model without batch norms is refused', () => {
  const { g, x } = start()
  const y = g.relu(x)
  assert.throws(() => finish(g, y), hasCode('COMPILE_NO_BATCH_NORM'))
})

test('a BatchNormalization of another operator domain is none', () => {
  const { g, x } = start()
  const y = g.batchNorm(x, CHANNELS)
  lastNode(g).domain = 'com.example'
  assert.throws(() => finish(g, y), hasCode('COMPILE_NO_BATCH_NORM'))
})
