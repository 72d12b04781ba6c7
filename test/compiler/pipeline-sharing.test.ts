/** Values, modules and weights that are used more than once, or not at all: all compiled exactly. */
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { StringStringEntryProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { end, exact, picture } from '../support/exact.js'
import type { GraphBuilder } from '../support/graph-builder.js'

describe('sharing', () => {
  const scoped = (g: GraphBuilder, path: string) => {
    g.model.graph.node.at(-1)!.metadataProps = [create(StringStringEntryProtoSchema, {
      key: 'pkg.torch.onnx.name_scopes', value: `['', '${path}', 'batch_norm']`
    })]
  }
  const again = (g: GraphBuilder, x: string, key: string) => g.node('BatchNormalization', [
    x, `${key}.weight`, `${key}.bias`, `${key}.running_mean`, `${key}.running_var`
  ])
  exact([{
    title: 'one Conv output that a batch norm and another node read',
    build: (g) => {
      const y = g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 })
      end(g, g.add(g.relu(g.batchNorm(y, 16)), y), 16)
    },
    kinds: [[Infinity, ['affine']]]
  }, {
    title: 'one Conv output that two batch norms read',
    build: (g) => {
      const y = g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 })
      end(g, g.add(g.batchNorm(y, 16), g.batchNorm(y, 16)), 16)
    },
    kinds: [[Infinity, ['affine', 'affine']]]
  }, {
    title: 'a module that is called twice: two sites, one key',
    build: (g) => {
      const y = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16, 'bn'))
      end(g, again(g, g.conv(y, { inputs: 16, outputs: 16, kernel: 3 }), 'bn'), 16)
    },
    check: ({ layers, sites }) => {
      assert.deepEqual(layers.map(({ key }) => key), ['bn'])
      assert.deepEqual(sites.map(({ layerKey }) => layerKey), ['bn', 'bn'])
    },
    kinds: [[0, ['affine', 'affine']], [Infinity, ['fold', 'fold']]]
  }, {
    title: 'a module that is called twice on the same value',
    build: (g) => {
      const y = g.relu(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }))
      end(g, g.add(g.batchNorm(y, 16, 'bn'), g.relu(again(g, y, 'bn'))), 16)
    },
    check: ({ layers }) => assert.equal(layers.length, 1)
  }, {
    title: 'shared parameters with another epsilon: two keys',
    build: (g) => {
      const y = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8, 'bn'))
      g.node('BatchNormalization', [y, 'bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var'], {
        epsilon: { float: 0.5 }
      }, ['y'])
      end(g, 'y', 8)
    },
    check: ({ layers }) => assert.equal(layers.length, 2)
  }, {
    title: 'fresh parameters that were merged: two keys by their module paths',
    build: (g) => {
      const ones = g.floats('bn1.weight', [8], () => 1)
      const zeros = g.floats('bn1.bias', [8], () => 0)
      const fresh = (x: string, path: string) => {
        const y = g.node('BatchNormalization', [x, ones, zeros, zeros, ones])
        scoped(g, path)
        return y
      }
      const y = g.relu(fresh(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 'bn1'))
      end(g, fresh(g.conv(y, { inputs: 8, outputs: 8, kernel: 3 }), 'bn2'), 8)
    },
    check: ({ layers }) => assert.deepEqual(layers.map(({ key }) => key), ['bn1', 'bn2'])
  }, {
    title: 'Convs that share their weights',
    build: (g) => {
      const conv = { inputs: 8, outputs: 8, kernel: 3, name: 'conv' }
      const y = g.relu(g.batchNorm(g.conv(picture(g, 8), conv), 8))
      const { attribute } = g.model.graph.node[0]!
      const z = g.node('Conv', [y, 'conv.weight'])
      g.model.graph.node.at(-1)!.attribute = attribute
      end(g, g.batchNorm(z, 8), 8)
    },
    kinds: [[Infinity, ['fold', 'fold']]]
  }, {
    title: 'a batch norm that nothing reads',
    build: (g) => {
      const y = g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 })
      const dead = g.batchNorm(y, 8, 'dead')
      g.head(dead, 8, 3)
      end(g, g.batchNorm(g.relu(y), 8, 'alive'), 8)
    },
    check: ({ layers }) => assert.deepEqual(layers.map(({ key }) => key), ['alive'])
  }, {
    title: 'a batch norm that nothing reads',
    build: (g) => {
      const y = g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 })
      g.relu(g.batchNorm(y, 8, 'dead'))
      end(g, g.batchNorm(g.relu(y), 8, 'alive'), 8)
    },
    check: ({ layers }) => assert.deepEqual(layers.map(({ key }) => key), ['alive'])
  }])
})
