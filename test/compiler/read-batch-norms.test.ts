import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { StringStringEntryProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { float32Tensor } from '#src/onnx/tensor.js'
import {
  batchNormOf, CHANNELS, finish, keysOf, lastNode, parametersOf, siteKeys, start, vector
} from '../support/batch-norm-graph.js'
import type { GraphBuilder } from '../support/graph-builder.js'

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
