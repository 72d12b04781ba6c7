/** Where statistics come from, and constants that the optimiser would fuse into a port: all compiled exactly. */
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { float32Tensor } from '#src/onnx/tensor.js'
import { end, exact, picture } from '../support/exact.js'
import { GraphBuilder } from '../support/graph-builder.js'

describe('statistics', () => {
  const convBn = (g: GraphBuilder, parameters: string[], epsilon = 1e-5) => {
    const y = g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 })
    end(g, g.relu(g.node('BatchNormalization', [y, ...parameters], { epsilon: { float: epsilon } })), 8)
  }
  exact([{
    title: 'an epsilon of 1e-3',
    build: (g) => {
      end(g, g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8, 'bn', 1e-3), 8)
    },
    check: ({ layers }) => assert.equal(layers[0]!.epsilon, Math.fround(1e-3))
  }, {
    title: 'channels without variance',
    build: (g) => convBn(g, [
      g.floats('gamma', [8], () => 1), g.floats('beta', [8], () => 0.5),
      g.floats('mean', [8], (at) => at / 8), g.floats('variance', [8], (at) => at < 3 ? 0 : 1)
    ])
  }, {
    title: 'channels whose gamma is 0, or negative',
    build: (g) => convBn(g, [
      g.floats('gamma', [8], (at) => at - 3), g.floats('beta', [8], () => 0.5),
      g.floats('mean', [8], (at) => at / 8), g.floats('variance', [8], () => 1)
    ])
  }, {
    title: 'parameters behind Identity, Constant, ConstantOfShape and Expand',
    build: (g) => {
      const tensor = float32Tensor('', [8], Float32Array.from({ length: 8 }, () => 0.5 + g.uniform()))
      convBn(g, [
        g.node('Constant', [], { value: { tensor } }),
        g.node('ConstantOfShape', [g.ints('eight', [8])]),
        g.node('Identity', [g.floats('mean', [8], () => g.uniform())]),
        g.node('Expand', [g.floats('one', [1], () => 1), 'eight'])
      ])
    }
  }, {
    title: 'a Conv bias behind Shape and Expand, as torch writes it',
    build: (g) => {
      const y = g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3, name: 'conv' })
      const shape = g.node('Shape', ['conv.weight'], { start: { int: 0 }, end: { int: 1 } })
      const [conv, ...others] = g.model.graph.node
      conv!.input.push(g.node('Expand', [g.scalar(0.25), shape]))
      const expand = g.model.graph.node.at(-1)!
      g.model.graph.node = [...others, expand, conv!]
      end(g, g.relu(g.batchNorm(y, 8)), 8)
    },
    kinds: [[Infinity, ['fold']]]
  }, {
    title: 'weights of the whole model in Constant nodes',
    build: (g) => {
      end(g, g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8), 8)
      const { graph } = g.model
      const nodes = graph.node.splice(0)
      for (const tensor of graph.initializer.splice(0)) {
        g.node('Constant', [], { value: { tensor } }, [tensor.name])
      }
      graph.node.push(...nodes)
    }
  }])
})

describe('constants that the optimiser would fuse into a port', () => {
  const behind = (opType: string, dims: number[]) => ({
    title: `${opType} of [${dims.join()}] right behind a batch norm`,
    build: (g: GraphBuilder) => {
      const channels = 16
      const constant = () => g.floats(g.fresh('constant'), dims, () => 0.5 + g.uniform())
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: channels, kernel: 3 }), channels)
      const z = g.batchNorm(g.relu(g.node(opType, [y, constant()])), channels)
      end(g, g.relu(g.node(opType, [z, constant()])), channels)
    }
  })
  exact([
    behind('Mul', [1, 16, 1, 1]), behind('Add', [1, 16, 1, 1]), behind('Mul', [16, 1, 1]), behind('Sub', [16, 1, 1]),
    behind('Div', [16, 1, 1]), behind('Mul', []), behind('Add', [1])
  ])
  exact([{
    title: 'a fused port is lowered in another way',
    build: (g) => {
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16)
      const constant = g.floats('constant', [16, 1, 1], () => g.uniform())
      const z = g.relu(g.node('Mul', [y, constant]))
      end(g, g.relu(g.batchNorm(g.conv(z, { inputs: 16, outputs: 16, kernel: 3 }), 16)), 16)
    },
    kinds: [[0, ['generic', 'affine']], [Infinity, ['generic', 'fold']]]
  }, {
    title: 'a port of one number is not taken for a 0.5 elsewhere',
    build: (g) => {
      const y = g.batchNorm(g.relu(g.conv(picture(g, 3), { inputs: 3, outputs: 1, kernel: 3 })), 1)
      const mask = g.floats('mask', [1, 1, 9, 9], (at) => at === 40 ? 0.5 : 0)
      const z = g.add(g.node('Mul', [g.relu(y), g.floats('half', [1], () => 0.5)]), mask)
      end(g, g.node('Mul', [z, g.floats('other.half', [1, 1, 1, 1], () => 0.5)]), 1)
    },
    kinds: [[0, ['affine']], [Infinity, ['affine']]]
  }, {
    title: 'a Conv behind that takes a constant Mul',
    build: (g) => {
      const x = g.node('Mul', [picture(g, 3), g.floats('scale', [3, 1, 1], () => g.uniform())])
      const y = g.conv(g.batchNorm(x, 3), { inputs: 3, outputs: 8, kernel: 3, bias: true })
      end(g, g.batchNorm(g.node('Add', [y, g.floats('shift', [8, 1, 1], () => g.uniform())]), 8), 8)
    }
  }])
})
