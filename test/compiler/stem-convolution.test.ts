/** That the kernel gives what ONNX Runtime gives of the same stem, and which stems it is not asked for. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { stemOf, type StemGraph } from '#src/compiler/stem.js'
import { DataType } from '#src/onnx/tensor.js'
import { openSession } from '#src/ort/session.js'
import { openConvolutionMoments } from '#src/signature/convolution-moments.js'
import { CHANNELS_MAX, featuresOfRows } from '#src/signature/features.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { seededNormal } from '../support/random.js'
import type { AttributeValue } from '#src/onnx/node.js'

/** Two float32 sums of some hundred products in different orders, of values around one. */
const TOLERANCE = 1e-5

interface Given {
  opset?: number
  size?: [number, number]
  inputs?: number
  outputs?: number
  kernel?: [number, number]
  attributes?: Record<string, AttributeValue>
  bias?: boolean
  type?: number
  /** What stands between the input and the convolution. */
  before?: (g: GraphBuilder, x: string) => string
}

/** A convolution with a batch norm behind it, and the stem of that. */
function stemWith (given: Given): StemGraph {
  const { size: [height, width] = [32, 32], inputs = 3, outputs = 5, kernel = [3, 3], attributes = {}, bias = false } = given
  const g = new GraphBuilder({ seed: 7, opset: given.opset ?? 17 })
  const x = g.input('x', ['n', inputs, height, width], given.type)
  const group = 'group' in attributes ? (attributes['group'] as { int: number }).int : 1
  const weights = g.floats('w', [outputs, inputs / group, ...kernel], () => g.uniform() - 0.5)
  const biases = bias ? [g.floats('b', [outputs], () => g.uniform() - 0.5)] : []
  const made = g.node('Conv', [given.before?.(g, x) ?? x, weights, ...biases], { kernel_shape: { ints: kernel }, ...attributes })
  // As many positions as the input has, which decides how they are sampled.
  return stemOf(g.output(g.batchNorm(made, outputs), ['n', outputs, 'h', 'w']).bytes(), [[1, outputs, height, width]])!
}

describe('case 1: the same features as ONNX Runtime', () => {
  const cases: Record<string, Given> = {
    'at every second position': { attributes: { pads: { ints: [1, 1, 1, 1] } } },
    'with nothing but a kernel': { size: [14, 17] },
    'with a bias': { size: [14, 17], bias: true },
    'of one channel, and a kernel as large as a row': { inputs: 1, size: [9, 16], kernel: [2, 16], outputs: 9 },
    'strides that differ': { size: [19, 23], attributes: { strides: { ints: [3, 2] }, pads: { ints: [1, 1, 1, 1] } } },
    'padding on all sides that differs': { size: [12, 13], attributes: { pads: { ints: [0, 3, 2, 1] } } },
    'an explicit group of one': { size: [12, 12], attributes: { group: { int: 1 }, dilations: { ints: [1, 1] } } },
    'seven by seven, as ResNet has it': { size: [64, 48], outputs: 64, kernel: [7, 7], attributes: { strides: { ints: [2, 2] }, pads: { ints: [3, 3, 3, 3] } } },
    'more channels than are observed': { size: [10, 10], outputs: 2 * CHANNELS_MAX + 3, kernel: [1, 1] }
  }
  for (const [title, given] of Object.entries(cases)) {
    test(title, async () => {
      const { bytes, output, channels, convolution } = stemWith(given)
      const { size: [height, width] = [32, 32], inputs = 3 } = given
      const normal = seededNormal(5)
      const data = Float32Array.from({ length: 2 * inputs * height * width }, normal)
      const session = await openSession(bytes, { optimization: 'disabled' })
      try {
        const results = await session.run({ x: { type: 'float32', dims: [2, inputs, height, width], data } })
        const expected = featuresOfRows(results[output]!.data as Float32Array, channels.length)
        const actual = openConvolutionMoments(convolution!)!.features(data, [inputs, height, width])
        assert.equal(actual.length, 2)
        for (const [row, features] of expected.entries()) {
          assert.equal(actual[row]!.length, features.length)
          for (const [at, value] of features.entries()) assert.ok(Math.abs(actual[row]![at]! - value) < TOLERANCE, `${row}, ${at}`)
        }
      } finally {
        await session.release()
      }
    })
  }
})

describe('is left to ONNX Runtime', () => {
  const cases: Record<string, Given> = {
    'case 2: groups': { attributes: { group: { int: 3 } }, outputs: 6 },
    'case 2: dilation': { attributes: { dilations: { ints: [2, 1] } } },
    'case 2: padding that takes away': { attributes: { pads: { ints: [0, -1, 0, 0] } } },
    'case 3: an input that is normalised in the graph': { before: (g, x) => g.node('Sub', [x, g.scalar(0.5)]) },
    'case 3: an input of another type': { type: DataType.FLOAT16, before: (g, x) => g.node('Cast', [x], { to: { int: DataType.FLOAT } }) }
  }
  for (const [title, given] of Object.entries(cases)) {
    test(title, () => assert.equal(stemWith(given).convolution, undefined))
  }

  test('case 2: padding by strides', () => {
    const g = new GraphBuilder()
    const weights = g.floats('w', [4, 3, 3, 3], () => g.uniform())
    const made = g.nodeWithText('Conv', [g.input('x', ['n', 3, 9, 9]), weights], 'auto_pad', 'SAME_UPPER')
    assert.equal(stemOf(g.output(g.batchNorm(made, 4), ['n', 4, 9, 9]).bytes(), [[1, 4, 9, 9]])!.convolution, undefined)
  })

  test('over one dimension or three', () => {
    for (const rank of [1, 3]) {
      const g = new GraphBuilder()
      const sizes = Array<number>(rank).fill(8)
      const made = g.conv(g.input('x', ['n', 3, ...sizes]), { inputs: 3, outputs: 4, kernel: 3, rank })
      const bytes = g.output(g.batchNorm(made, 4), ['n', 4, ...sizes]).bytes()
      assert.equal(stemOf(bytes, [[1, 4, ...sizes]])!.convolution, undefined)
    }
  })

  test('a second convolution, and a batch norm of the input itself', () => {
    const g = new GraphBuilder()
    const x = g.input('x', ['n', 3, 8, 8])
    const made = g.conv(x, { inputs: 3, outputs: 4 })
    const second = g.conv(made, { inputs: 4, outputs: 4 })
    assert.equal(stemOf(g.output(g.batchNorm(second, 4), ['n', 4, 8, 8]).bytes(), [[1, 4, 8, 8]])!.convolution, undefined)
    const plain = new GraphBuilder()
    const bytes = plain.output(plain.batchNorm(plain.input('x', ['n', 3, 8, 8]), 3), ['n', 3, 8, 8]).bytes()
    assert.equal(stemOf(bytes, [[1, 3, 8, 8]])!.convolution, undefined)
  })

  test('two first batch norms', () => {
    const g = new GraphBuilder()
    const x = g.input('x', ['n', 3, 8, 8])
    const parts = [1, 2].map(() => g.batchNorm(g.conv(x, { inputs: 3, outputs: 4 }), 4))
    const bytes = g.output(g.node('Add', parts), ['n', 4, 8, 8]).bytes()
    const stem = stemOf(bytes, [[1, 4, 8, 8], [1, 4, 8, 8]])!
    assert.deepEqual([stem.channels.length, stem.convolution], [8, undefined])
  })
})
