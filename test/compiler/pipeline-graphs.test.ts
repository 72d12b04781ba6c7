/** Where a batch norm may stand, and behind what: all compiled exactly. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { compileExactly } from '../support/compile.js'
import { end, exact, picture, type ExactCase } from '../support/exact.js'
import { GraphBuilder } from '../support/graph-builder.js'

describe('where a batch norm may stand', () => {
  exact([{
    title: 'behind a Conv',
    build: (g) => end(g, g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16)), 16),
    kinds: [[0, ['affine']], [Infinity, ['fold']]]
  }, {
    title: 'behind a Conv with a bias',
    build: (g) => {
      end(g, g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3, bias: true }), 16)), 16)
    },
    kinds: [[0, ['affine']], [Infinity, ['fold']]]
  }, {
    title: 'before a Conv, with an activation between (pre-activation)',
    build: (g) => {
      const x = picture(g, 8)
      const y = g.conv(g.relu(g.batchNorm(x, 8)), { inputs: 8, outputs: 8, kernel: 3 })
      end(g, g.add(g.conv(g.relu(g.batchNorm(y, 8)), { inputs: 8, outputs: 8, kernel: 3 }), x), 8)
    },
    kinds: [[0, ['affine', 'affine']], [Infinity, ['affine', 'fold']]]
  }, {
    title: 'before a Conv, directly',
    build: (g) => end(g, g.conv(g.batchNorm(g.relu(picture(g, 8)), 8), { inputs: 8, outputs: 16, kernel: 3 }), 16)
  }, {
    title: 'behind an Add',
    build: (g) => {
      const x = picture(g, 16)
      end(g, g.relu(g.batchNorm(g.add(g.conv(x, { inputs: 16, outputs: 16, kernel: 3 }), x), 16)), 16)
    },
    kinds: [[Infinity, ['affine']]]
  }, {
    title: 'behind a Concat',
    build: (g) => {
      const x = picture(g, 8)
      const branches = [8, 12].map((outputs) => g.conv(x, { inputs: 8, outputs, kernel: 3 }))
      end(g, g.relu(g.batchNorm(g.node('Concat', [...branches, x], { axis: { int: 1 } }), 28)), 28)
    },
    kinds: [[Infinity, ['affine']]]
  }, {
    title: 'on a graph input',
    build: (g) => end(g, g.conv(g.batchNorm(picture(g, 3), 3), { inputs: 3, outputs: 8, kernel: 3 }), 8)
  }, {
    title: 'on a graph input, and nothing else',
    build: (g) => end(g, g.batchNorm(picture(g, 3), 3), 3)
  }, {
    title: 'as a graph output that is read further',
    build: (g) => {
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8)
      end(g, y, 8)
      end(g, g.relu(y), 8)
    }
  }, {
    title: 'behind another batch norm',
    build: (g) => {
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8)
      end(g, g.batchNorm(y, 8), 8)
    },
    kinds: [[Infinity, ['fold', 'affine']]]
  }, {
    title: 'behind zero padding, which it shifts too',
    build: (g) => {
      const padded = g.node('Pad', [g.relu(picture(g, 8)), g.ints('pads', [0, 0, 1, 1, 0, 0, 1, 1])])
      end(g, g.conv(g.batchNorm(padded, 8), { inputs: 8, outputs: 8, kernel: 3 }), 8, 11)
    }
  }, {
    title: 'behind a pool, a resize, an activation with parameters',
    build: (g) => {
      const x = g.conv(picture(g, 3, 8), { inputs: 3, outputs: 16, kernel: 3 })
      const pooled = g.batchNorm(g.maxPool(x, 3, 2), 16)
      const slope = g.floats('slope', [16, 1, 1], () => g.uniform())
      const active = g.batchNorm(g.node('PRelu', [pooled, slope]), 16)
      const scales = g.floats('scales', [4], (axis) => axis < 2 ? 1 : 2)
      end(g, g.batchNorm(g.node('Resize', [active, '', scales]), 16), 16, 8)
    },
    kinds: [[0, ['affine', 'affine', 'affine']]]
  }, {
    title: 'in front of a gate (squeeze and excitation)',
    build: (g) => {
      const y = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16))
      const squeezed = g.conv(g.node('GlobalAveragePool', [y]), { inputs: 16, outputs: 4, bias: true })
      const excited = g.batchNorm(g.conv(g.relu(squeezed), { inputs: 4, outputs: 16, bias: true }), 16)
      end(g, g.node('Mul', [y, g.node('Sigmoid', [excited])]), 16)
    }
  }, {
    title: 'behind channels that were transposed to the front',
    build: (g) => {
      const x = g.node('Transpose', [g.input('x', ['n', 9, 9, 3])], { perm: { ints: [0, 3, 1, 2] } })
      const y = g.relu(g.batchNorm(g.conv(x, { inputs: 3, outputs: 8, kernel: 3 }), 8))
      g.output(g.node('Transpose', [y], { perm: { ints: [0, 2, 3, 1] } }), ['n', 9, 9, 8])
    }
  }, {
    title: 'on a constant',
    build: (g) => {
      const constant = g.floats('constant', [1, 8, 9, 9], () => g.uniform())
      end(g, g.add(picture(g, 8), g.batchNorm(constant, 8)), 8)
    }
  }])
})

describe('convolutions', () => {
  const conv = (title: string, channels: number, options: object): ExactCase => ({
    title,
    build: (g) => {
      const x = g.relu(g.conv(picture(g, 3), { inputs: 3, outputs: channels, kernel: 3 }))
      const outputs = 'outputs' in options ? options.outputs as number : channels
      const y = g.conv(x, { inputs: channels, outputs, kernel: 3, ...options })
      end(g, g.relu(g.batchNorm(y, outputs)), outputs, 'size')
    },
    kinds: [[0, ['affine']], [Infinity, ['fold']]]
  })
  exact([
    conv('grouped', 16, { group: 4 }),
    conv('grouped, odd channels per group', 15, { group: 3 }),
    conv('depthwise', 16, { group: 16 }),
    conv('depthwise, odd channels', 17, { group: 17 }),
    conv('depthwise with two outputs per channel', 8, { group: 8, outputs: 16 }),
    conv('dilated', 16, { dilation: 2 }),
    conv('strided', 16, { stride: 2 }),
    conv('1x1', 16, { kernel: 1 }),
    conv('strided 1x1', 16, { kernel: 1, stride: 2 }),
    conv('7x7 with a bias', 16, { kernel: 7, bias: true }),
    ...[1, 3, 5, 17, 24, 40].map((outputs) => conv(`${outputs} channels`, 8, { outputs })),
    ...[3, 5, 17, 24].map((channels) => conv(`${channels} channels in and out`, channels, { bias: true }))
  ])

  test('a depthwise 1x1 Conv is folded at no budget, because that costs nothing', async (t) => {
    const g = new GraphBuilder()
    end(g, g.batchNorm(g.conv(g.relu(picture(g, 16)), { inputs: 16, outputs: 16, group: 16 }), 16), 16)
    assert.equal((await compileExactly(t, g.bytes(), { foldBudget: 0 })).sites[0]!.kind, 'fold')
  })
})

describe('batch norms that no Conv of four axes can be', () => {
  exact([{
    title: 'behind a ConvTranspose',
    build: (g) => {
      const weight = g.floats('weight', [8, 6, 2, 2], () => g.uniform() - 0.5)
      const y = g.node('ConvTranspose', [picture(g, 8), weight], { strides: { ints: [2, 2] } })
      end(g, g.relu(g.batchNorm(y, 6)), 6, 18)
    },
    kinds: [[Infinity, ['affine']]]
  }, {
    title: 'behind a Gemm',
    build: (g) => g.output(g.relu(g.batchNorm(g.linear(g.input('x', ['n', 10]), 10, 20), 20)), ['n', 20]),
    kinds: [[Infinity, ['generic']]]
  }, {
    title: 'behind a MatMul',
    build: (g) => {
      const weight = g.floats('weight', [10, 20], () => g.uniform() - 0.5)
      g.output(g.batchNorm(g.node('MatMul', [g.input('x', ['n', 10]), weight]), 20), ['n', 20])
    },
    kinds: [[Infinity, ['generic']]]
  }, {
    title: 'one axis',
    build: (g) => g.output(g.batchNorm(g.input('x', ['n']), 1), ['n']),
    kinds: [[Infinity, ['generic']]]
  }, {
    title: 'two axes',
    build: (g) => g.output(g.batchNorm(g.input('x', ['n', 7]), 7), ['n', 7]),
    kinds: [[Infinity, ['generic']]]
  }, {
    title: 'three axes',
    build: (g) => g.output(g.batchNorm(g.relu(g.input('x', ['n', 7, 11])), 7), ['n', 7, 11]),
    kinds: [[Infinity, ['generic']]]
  }, {
    title: 'three axes, behind a Conv',
    build: (g) => {
      const y = g.conv(g.input('x', ['n', 3, 11]), { inputs: 3, outputs: 10, kernel: 3, rank: 1, bias: true })
      g.output(g.relu(g.batchNorm(y, 10)), ['n', 10, 11])
    },
    kinds: [[0, ['generic']], [Infinity, ['fold']]]
  }, {
    title: 'five axes, behind a Conv',
    build: (g) => {
      const y = g.conv(g.input('x', ['n', 3, 5, 6, 7]), { inputs: 3, outputs: 10, kernel: 3, rank: 3 })
      g.output(g.relu(g.batchNorm(y, 10)), ['n', 10, 5, 6, 7])
    },
    kinds: [[0, ['generic']], [Infinity, ['fold']]]
  }, {
    title: 'five axes',
    build: (g) => g.output(g.batchNorm(g.relu(g.input('x', ['n', 4, 3, 3, 3])), 4), ['n', 4, 3, 3, 3]),
    kinds: [[Infinity, ['generic']]]
  }, {
    title: 'all ways in one graph',
    build: (g) => {
      const folded = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8))
      const affine = g.node('Flatten', [g.node('GlobalAveragePool', [g.batchNorm(g.add(folded, folded), 8)])])
      g.output(g.batchNorm(g.linear(affine, 8, 5), 5), ['n', 5])
    },
    kinds: [[Infinity, ['fold', 'affine', 'generic']]]
  }])
})
