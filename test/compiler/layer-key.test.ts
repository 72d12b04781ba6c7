import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { layerKeyCandidates } from '#src/compiler/layer-key.js'
import { StringStringEntryProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { makeNode } from '#src/onnx/node.js'

interface Description {
  name?: string
  /** Input names of slots 1 to 4. */
  slots: string[]
  /** Names of the initializers behind them, where they differ. */
  origins?: Array<string | undefined>
  scopes?: string
}

function candidates ({ name = 'node_1', slots, origins = slots, scopes }: Description) {
  const node = makeNode('BatchNormalization', name, ['x', ...slots], ['y'])
  if (scopes !== undefined) {
    node.metadataProps = [create(StringStringEntryProtoSchema, { key: 'pkg.torch.onnx.name_scopes', value: scopes })]
  }
  return layerKeyCandidates(node, origins)
}

const torch = (path: string) => ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => `${path}.${suffix}`)
const ANONYMOUS = ['onnx::BN_1', 'onnx::BN_2', 'onnx::BN_3', 'onnx::BN_4']

describe('case 1: parameter names, when all four slots agree', () => {
  test('the path before the suffixes', () => {
    assert.deepEqual(candidates({ slots: torch('layer1.0.bn1') }), { path: 'layer1.0.bn1', names: ['layer1.0.bn1'] })
  })

  test('they win over metadata and node name', () => {
    const { path, names } = candidates({
      slots: torch('bn'), scopes: "['', 'scope', 'batch_norm']", name: '/name/BatchNormalization'
    })
    assert.equal(path, 'bn')
    assert.deepEqual(names, ['bn'])
  })

  test('names of the slots win over names of the initializers behind them', () => {
    assert.equal(candidates({ slots: torch('bn2'), origins: torch('bn1') }).names[0], 'bn2')
  })

  test('names of the initializers count when the slots have none', () => {
    assert.equal(candidates({ slots: ANONYMOUS, origins: torch('bn1') }).names[0], 'bn1')
  })

  test('a suffix in another slot is no vote', () => {
    const swapped = ['bn.bias', 'bn.weight', 'bn.running_mean', 'bn.running_var']
    assert.equal(candidates({ slots: swapped }).path, undefined)
  })

  test('a bare suffix names nothing', () => {
    assert.deepEqual(candidates({ slots: ['.weight', '.bias', '.running_mean', '.running_var'] }), { names: [] })
  })
})

describe('case 2: name scopes of the dynamo exporter', () => {
  const merged = ['bn1.weight', 'bn1.bias', 'bn1.bias', 'bn1.weight']

  test('the innermost module, not the operator', () => {
    assert.deepEqual(
      candidates({ slots: merged, scopes: "['', 'layer1', 'layer1.0', 'layer1.0.bn2', 'batch_norm_3']" }),
      { path: 'layer1.0.bn2', names: ['layer1.0.bn2', 'bn1'] }
    )
  })

  test('double quotes, as Python writes names with an apostrophe', () => {
    assert.equal(candidates({ slots: merged, scopes: '[\'\', "it\'s.bn", \'batch_norm\']' }).path, "it's.bn")
  })

  test('they win over the node name', () => {
    const { path } = candidates({ slots: merged, scopes: "['', 'scope', 'op']", name: '/name/BatchNormalization' })
    assert.equal(path, 'scope')
  })

  for (const scopes of ["['', 'batch_norm']", "['batch_norm']", '[]', '', 'no list']) {
    test(`no path in ${JSON.stringify(scopes)}`, () => {
      assert.deepEqual(candidates({ slots: merged, scopes }), { names: ['bn1'] })
    })
  }
})

describe('case 3: node names of the TorchScript exporter', () => {
  for (const [name, path] of [
    ['/bn1/BatchNormalization', 'bn1'],
    ['/layer1/layer1.0/bn1/BatchNormalization', 'layer1.0.bn1'],
    ['/layer1/layer1.0/downsample/downsample.1/BatchNormalization_7', 'layer1.0.downsample.1'],
    ['/features/features.0/features.0.1/BatchNormalization', 'features.0.1'],
    ['/a/ab/BatchNormalization', 'a.ab']
  ] as const) {
    test(`${name} is ${path}`, () => {
      assert.deepEqual(candidates({ slots: ANONYMOUS, name }), { path, names: [path] })
    })
  }

  for (const name of ['/BatchNormalization', 'bn1/BatchNormalization', '/bn1/Mul', '/bn1/BatchNormalization_x', '']) {
    test(`${JSON.stringify(name)} tells no path`, () => {
      assert.deepEqual(candidates({ slots: ANONYMOUS, name }), { names: [] })
    })
  }
})

describe('case 4: parameter names by vote', () => {
  test('the most votes come first', () => {
    const slots = ['other.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var']
    assert.deepEqual(candidates({ slots }), { names: ['bn', 'other'] })
  })

  test('a slot and the initializer behind it vote once each', () => {
    const { names } = candidates({
      slots: ['bn2.weight', 'p', 'q', 'r'], origins: ['bn1.weight', 'bn1.bias', undefined, undefined]
    })
    assert.deepEqual(names, ['bn1', 'bn2'])
  })
})

test('case 5: without a path or votes the node name is left to the caller', () => {
  assert.deepEqual(candidates({ slots: ANONYMOUS, name: 'BatchNormalization_12' }), { names: [] })
})
