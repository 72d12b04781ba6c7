import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256 } from '#src/base/digest.js'
import { openConvolutionMoments, type Convolution } from '#src/signature/convolution-moments.js'
import { SOURCE_SHA256 } from '#src/signature/generated/convolution-moments.js'
import { ROOT } from '../support/folders.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

/** A unit in the last place of float32, relative. */
const EPSILON = 2 ** -23

interface Made { mean: number, variance: number, most: number }

/** In float64: of each channel the moments, and the most that the parts of a value add up to. */
function expectedOf (convolution: Convolution, image: Float32Array, height: number, width: number): Made[] {
  const { inputChannels, kernel: [rows, columns], strides: [down, right], padding: [top, left, bottom, last], weights, biases } = convolution
  return Array.from(biases, (bias, channel) => {
    const values: number[] = []
    let most = 0
    for (let y = -top; y + rows <= height + bottom; y += down) {
      for (let x = -left; x + columns <= width + last; x += right) {
        let [sum, size] = [bias, Math.abs(bias)]
        for (let tap = 0; tap < inputChannels * rows * columns; tap++) {
          const [from, i, j] = [Math.floor(tap / rows / columns), y + Math.floor(tap / columns) % rows, x + tap % columns]
          if (i < 0 || i >= height || j < 0 || j >= width) continue
          const part = weights[channel * inputChannels * rows * columns + tap]! * image[(from * height + i) * width + j]!
          sum += part
          size += Math.abs(part)
        }
        values.push(sum)
        most = Math.max(most, size)
      }
    }
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    return { mean, variance, most }
  })
}

function randomConvolution (seed: number, parts: Omit<Convolution, 'weights' | 'biases'>, channels: number): Convolution {
  const normal = seededNormal(seed)
  const taps = parts.inputChannels * parts.kernel[0] * parts.kernel[1]
  return {
    ...parts,
    weights: Float32Array.from({ length: channels * taps }, normal),
    biases: Float32Array.from({ length: channels }, normal)
  }
}

/** A sum of n products in float32 is off by at most n epsilon / 2 of what its parts add up to (Higham 2002, section 3.1). */
function assertFeatures (convolution: Convolution, features: Float64Array, image: Float32Array, height: number, width: number): void {
  const { inputChannels, kernel, biases } = convolution
  const off = (inputChannels * kernel[0] * kernel[1] + 1) * EPSILON / 2
  for (const [channel, { mean, variance, most }] of expectedOf(convolution, image, height, width).entries()) {
    const bound = off * most
    assert.ok(Math.abs(features[channel]! - mean) <= bound, `mean of channel ${channel}`)
    // Every value is off by the bound at most, and so is the root of their variance, twice for the mean's part.
    const deviation = Math.sqrt(Math.exp(features[biases.length + channel]!))
    assert.ok(Math.abs(deviation - Math.max(Math.sqrt(variance), 1e-6)) <= 2 * bound + 1e-12, `deviation of channel ${channel}`)
  }
}

const SHAPES = fc.record({
  inputChannels: fc.integer({ min: 1, max: 4 }),
  kernel: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
  strides: fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
  padding: fc.tuple(...[0, 0, 0, 0].map(() => fc.integer({ min: 0, max: 3 }))) as fc.Arbitrary<[number, number, number, number]>
})
const SIZE = fc.integer({ min: 1, max: 13 })

test('property: the moments of any convolution, image after image and size after size', () => {
  fc.assert(fc.property(
    SHAPES, fc.integer({ min: 1, max: 19 }), fc.array(fc.tuple(SIZE, SIZE, fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 3 }), fc.nat(),
    (parts, channels, sizes, seed) => {
      const convolution = randomConvolution(seed, parts, channels)
      const moments = openConvolutionMoments(convolution)!
      const normal = seededNormal(seed + 1)
      for (const [height, width, rows] of sizes) {
        const dims = [parts.inputChannels, height, width]
        const [madeHeight, madeWidth] = [
          Math.floor((height + parts.padding[0] + parts.padding[2] - parts.kernel[0]) / parts.strides[0]) + 1,
          Math.floor((width + parts.padding[1] + parts.padding[3] - parts.kernel[1]) / parts.strides[1]) + 1
        ]
        if (madeHeight < 1 || madeWidth < 1) {
          assert.equal(moments.costOf(dims), Infinity)
          continue
        }
        assert.ok(moments.costOf(dims) >= madeHeight * madeWidth * convolution.weights.length)
        const size = dims.reduce((product, dim) => product * dim)
        const images = Float32Array.from({ length: rows * size }, () => 3 * normal() + 1)
        const all = moments.features(images, dims)
        assert.equal(all.length, rows)
        for (const [row, features] of all.entries()) {
          assertFeatures(convolution, features, images.subarray(row * size, (row + 1) * size), height, width)
        }
      }
    }
  ), { seed: runSeed })
})

test('more than a page of memory, and back to a small image: nothing of the large one is left', () => {
  const convolution = randomConvolution(1, { inputChannels: 3, kernel: [7, 7], strides: [2, 2], padding: [3, 3, 3, 3] }, 64)
  const moments = openConvolutionMoments(convolution)!
  const normal = seededNormal(2)
  for (const side of [9, 100, 9]) {
    const image = Float32Array.from({ length: 3 * side * side }, normal)
    const [features] = moments.features(image, [3, side, side])
    assertFeatures(convolution, features!, image, side, side)
  }
})

test('what is no number stays none, and is gone with the next image; a constant has a variance that is a number', () => {
  const convolution = randomConvolution(3, { inputChannels: 1, kernel: [3, 3], strides: [1, 1], padding: [0, 0, 0, 0] }, 2)
  const moments = openConvolutionMoments(convolution)!
  const dims = [1, 8, 8]
  const spoilt = (value: number, place = 30) => Float32Array.from({ length: 64 }, (_, at) => at === place ? value : 1)
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const place of [0, 30, 63]) assert.ok(!moments.features(spoilt(value, place), dims)[0]!.some(Number.isFinite), `${value} at ${place}`)
  }
  const [constant] = moments.features(spoilt(1), dims)
  assert.ok(constant!.every(Number.isFinite))
  for (const logVariance of constant!.subarray(2)) assert.ok(Math.abs(logVariance - Math.log(1e-12)) < 1e-9)
})

test('the variance of what lies far from zero is exact where float64 sums of squares are not', () => {
  const parts = { inputChannels: 1, kernel: [1, 1], strides: [1, 1], padding: [0, 0, 0, 0] } as const
  const moments = openConvolutionMoments({ ...parts, weights: Float32Array.of(1), biases: new Float32Array(1) })!
  const far = Float32Array.from({ length: 64 * 64 }, (_, at) => 2 ** 20 + at % 2 / 8)
  const [[mean, logVariance]] = moments.features(far, [1, 64, 64]) as [Float64Array]
  assert.equal(mean, 2 ** 20 + 1 / 16)
  assert.ok(Math.abs(Math.exp(logVariance!) * 256 - 1) < 1e-9)
})

test('takes no image of other channels or of no size', () => {
  const convolution = randomConvolution(4, { inputChannels: 3, kernel: [1, 1], strides: [1, 1], padding: [0, 0, 0, 0] }, 1)
  const moments = openConvolutionMoments(convolution)!
  // Eight channels are made at a time, of three each, and summed up; moved is the image, twice.
  assert.equal(moments.costOf([3, 4, 4]), 8 * (3 + 14) * 16 + 8 * 2 * 3 * 16)
  // Four positions are made at a time.
  assert.ok(moments.costOf([3, 4, 5]) > 1.7 * moments.costOf([3, 4, 4]))
  for (const dims of [[1, 4, 4], [4, 4, 4], [3, 0, 4], [3]]) assert.equal(moments.costOf(dims), Infinity, dims.join())
})

test('is compiled of the source that stands beside it', () => {
  const source = readFileSync(join(ROOT, 'src/signature/assembly/convolution-moments.ts'))
  assert.equal(sha256(source), SOURCE_SHA256, 'npm run generate')
})
