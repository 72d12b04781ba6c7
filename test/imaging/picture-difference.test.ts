import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { finish } from '#src/base/slices.js'
import { pictureDifference } from '#src/imaging/picture-difference.js'
import { runSeed } from '../support/run-seed.js'
import type { Raster } from '#src/imaging/raster.js'

function row (channels: 1 | 3, ...values: number[]): Raster {
  return { width: values.length / channels, height: 1, channels, data: Uint8ClampedArray.from(values) }
}

test('PSNR is that of the mean squared error, in dB', () => {
  const { psnr, ...rest } = finish(pictureDifference(row(1, 0, 10, 255, 100), row(1, 0, 13, 251, 100)))
  assert.deepEqual(rest, { meanDifference: 7 / 4, largestDifference: 4 })
  assert.ok(Math.abs(psnr! - 10 * Math.log10(255 ** 2 / (25 / 4))) < 1e-12)
  assert.equal(finish(pictureDifference(row(1, 0), row(1, 255))).psnr, 0)
})

test('a grey picture has one value for all channels', () => {
  assert.deepEqual(finish(pictureDifference(row(1, 5, 9), row(3, 5, 5, 5, 9, 9, 9))), { psnr: null, meanDifference: 0, largestDifference: 0 })
  assert.equal(finish(pictureDifference(row(1, 5), row(3, 5, 5, 8))).meanDifference, 1)
})

test('is the same both ways, and nothing only for equal pictures', () => {
  const values = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 6, maxLength: 6 })
  fc.assert(fc.property(values, values, (one, other) => {
    const [a, b] = [row(3, ...one), row(3, ...other)]
    assert.deepEqual(finish(pictureDifference(a, b)), finish(pictureDifference(b, a)))
    assert.equal(finish(pictureDifference(a, b)).psnr === null, one.join() === other.join())
  }), { seed: runSeed })
})
