import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { resizePixels, type Resized, type Size } from '#src/imaging/resize.js'
import type { Pixels } from '#src/imaging/decode.js'
import { runSeed } from '../support/run-seed.js'
import { at, pixelAt, pixels, raster, type Paint } from './fixtures/pictures.js'

/** A few roundings of float32 at 255, and of the order in which float64 sums are taken. */
const AREA_TOLERANCE = 1e-4

/** The mean of the source under each target pixel, straight from the definition: covered area by covered area. */
function boxAverage (picture: Pixels, size: Size): Float64Array {
  const { channels } = picture
  const result = new Float64Array(size.width * size.height * channels)
  const overlap = (target: number, scale: number, source: number) => {
    return Math.max(0, Math.min((target + 1) * scale, source + 1) - Math.max(target * scale, source))
  }
  const [scaleX, scaleY] = [picture.width / size.width, picture.height / size.height]
  for (let y = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0
        for (let sourceY = 0; sourceY < picture.height; sourceY++) {
          for (let sourceX = 0; sourceX < picture.width; sourceX++) {
            const area = overlap(x, scaleX, sourceX) * overlap(y, scaleY, sourceY)
            if (area > 0) sum += area * at(picture, sourceX, sourceY, channel)
          }
        }
        result[(y * size.width + x) * channels + channel] = sum / (scaleX * scaleY)
      }
    }
  }
  return result
}

function assertNear (received: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(received.length, expected.length)
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(received[index]! - expected[index]!)
    assert.ok(difference <= tolerance, `value ${index}: ${received[index]} instead of ${expected[index]}`)
  }
}

const side = fc.integer({ min: 1, max: 24 })

test('area is the box average, whatever the sizes', async () => {
  const scene = fc.record({
    width: side, height: side, toWidth: side, toHeight: side, channels: fc.constantFrom(1 as const, 3 as const)
  }).chain((sizes) => {
    const length = sizes.width * sizes.height * sizes.channels
    return fc.record({ sizes: fc.constant(sizes), data: fc.uint8Array({ minLength: length, maxLength: length }) })
  })
  await fc.assert(fc.asyncProperty(scene, async ({ sizes, data }) => {
    const { width, height, toWidth, toHeight, channels } = sizes
    const picture: Pixels = { width, height, channels, data }
    const size = { width: toWidth, height: toHeight }
    const resized = await resizePixels(picture, size, 'fill', 'area')
    assert.deepEqual([resized.width, resized.height, resized.channels], [toWidth, toHeight, channels])
    assertNear(resized.data, boxAverage(picture, size), AREA_TOLERANCE)
  }), { seed: runSeed, numRuns: 200 })
})

test('area at 2:1 is the exact mean of four', async () => {
  const picture = pixels(8, 6, 3, (x, y, channel) => (37 * x + 91 * y + 17 * channel) % 256)
  const { data } = await resizePixels(picture, { width: 4, height: 3 }, 'fill', 'area')
  const expected = Float32Array.from(raster(4, 3, 3, () => 0), (_, index) => {
    const [x, y, channel] = [2 * (Math.floor(index / 3) % 4), 2 * Math.floor(index / 12), index % 3]
    const four = [[0, 0], [1, 0], [0, 1], [1, 1]] as const
    return four.reduce((sum, [right, down]) => sum + at(picture, x + right, y + down, channel), 0) / 4
  })
  assert.deepEqual(data, expected)
})

test('area at the same size and of a flat picture changes nothing', async () => {
  const picture = pixels(5, 3, 3, (x, y, channel) => 40 * x + 10 * y + channel)
  for (const fit of ['fill', 'cover', 'contain'] as const) {
    const { data } = await resizePixels(picture, { width: 5, height: 3 }, fit, 'area')
    assert.deepEqual(data, Float32Array.from(picture.data))
  }
  const flat = await resizePixels(pixels(101, 67, 1, () => 255), { width: 13, height: 29 }, 'fill', 'area')
  assertNear(flat.data, new Float32Array(13 * 29).fill(255), AREA_TOLERANCE)
})

for (const kernel of ['bilinear', 'cubic', 'lanczos3'] as const) {
  test(`${kernel} keeps flat pictures flat and ramps straight, in one channel and in three`, async () => {
    for (const channels of [1, 3] as const) {
      const plain: Paint = (_x, _y, channel) => 90 + channel
      const flat = await resizePixels(pixels(20, 16, channels, plain), { width: 7, height: 5 }, 'fill', kernel)
      assert.equal(flat.channels, channels)
      assertNear(flat.data, raster(7, 5, channels, plain), 0)

      const slope = pixels(40, 40, channels, (x, y) => 3 * x + 2 * y)
      const ramp = await resizePixels(slope, { width: 10, height: 10 }, 'fill', kernel)
      assert.equal(ramp.data.length, 100 * channels)
      for (const [x, y] of [[3, 3], [6, 4], [5, 6]] as const) {
        // The middle of four source pixels, and kernels are symmetric.
        const expected = 3 * (4 * x + 1.5) + 2 * (4 * y + 1.5)
        for (const value of pixelAt(ramp, x, y)) assert.ok(Math.abs(value - expected) <= 1.5, `${value}, ${expected}`)
      }
    }
  })

  test(`${kernel} does not alias when it shrinks`, async () => {
    const stripes = pixels(64, 64, 1, (x) => x % 2 === 0 ? 0 : 255)
    const { data } = await resizePixels(stripes, { width: 8, height: 8 }, 'fill', kernel)
    for (const value of data) assert.ok(Math.abs(value - 127.5) < 10, String(value))
  })
}

test('bilinear enlarges half an enlarged pixel to the right and below, as the docs say; area stays', async () => {
  const picture = pixels(4, 4, 1, (x, y) => 40 * x + 20 * y)
  const size = { width: 8, height: 8 }
  const { data } = await resizePixels(picture, size, 'fill', 'bilinear')
  const shifted = [0, 0, 0.5, 1, 1.5, 2, 2.5, 3]
  assertNear(data, shifted.flatMap((y) => shifted.map((x) => 40 * x + 20 * y)), 0.5)
  const even = await resizePixels(picture, size, 'fill', 'area')
  assertNear(even.data, raster(8, 8, 1, (x, y) => 40 * (x >> 1) + 20 * (y >> 1)), AREA_TOLERANCE)
})

/** Columns 10, 20, 30...; rows add 1, 2, 3... */
const grid = (width: number, height: number) => pixels(width, height, 1, (x, y) => 10 * (x + 1) + y)

function rows ({ width, height, data }: Resized): number[][] {
  return Array.from({ length: height }, (_, y) => [...data.subarray(y * width, (y + 1) * width)])
}

test('fill squeezes', async () => {
  const resized = await resizePixels(grid(8, 2), { width: 4, height: 2 }, 'fill', 'area')
  assert.deepEqual(rows(resized), [[15, 35, 55, 75], [16, 36, 56, 76]])
})

test('cover crops the middle of a wide picture, of a tall one, and what is left of an odd one', async () => {
  const wide = await resizePixels(grid(8, 4), { width: 2, height: 2 }, 'cover', 'area')
  assert.deepEqual(rows(wide), [[35.5, 55.5], [37.5, 57.5]])
  const tall = await resizePixels(grid(2, 6), { width: 2, height: 2 }, 'cover', 'area')
  assert.deepEqual(rows(tall), [[12, 22], [13, 23]])
  const odd = await resizePixels(grid(5, 2), { width: 2, height: 2 }, 'cover', 'area')
  assert.deepEqual(rows(odd), [[20, 30], [21, 31]])
})

test('contain keeps all and leaves NaN around it', async () => {
  const [nan, none] = [[NaN, NaN, NaN, NaN], NaN]
  const wide = await resizePixels(grid(8, 4), { width: 4, height: 4 }, 'contain', 'area')
  assert.deepEqual(rows(wide), [nan, [15.5, 35.5, 55.5, 75.5], [17.5, 37.5, 57.5, 77.5], nan])
  const tall = await resizePixels(grid(2, 4), { width: 4, height: 4 }, 'contain', 'area')
  assert.deepEqual(rows(tall), [0, 1, 2, 3].map((y) => [none, 10 + y, 20 + y, none]))
  const odd = await resizePixels(grid(3, 2), { width: 3, height: 3 }, 'contain', 'area')
  assert.deepEqual(rows(odd), [[10, 20, 30], [11, 21, 31], [NaN, NaN, NaN]])
})

test('contain enlarges too, with every kernel', async () => {
  for (const kernel of ['area', 'bilinear', 'cubic', 'lanczos3'] as const) {
    const picture = pixels(1, 2, 3, () => 50)
    const resized = await resizePixels(picture, { width: 4, height: 4 }, 'contain', kernel)
    for (let y = 0; y < 4; y++) {
      for (const [x, value] of [NaN, 50, 50, NaN].entries()) {
        assert.deepEqual(pixelAt(resized, x, y), [value, value, value])
      }
    }
  }
})

test('a line and a single pixel survive every fit', async () => {
  for (const fit of ['fill', 'cover', 'contain'] as const) {
    for (const [width, height] of [[1, 1], [1000, 1], [1, 1000]] as const) {
      const resized = await resizePixels(pixels(width, height, 3, () => 7), { width: 3, height: 3 }, fit, 'area')
      assert.equal(resized.data.length, 27)
      const seen = [...resized.data].filter((value) => !Number.isNaN(value))
      assert.ok(seen.length >= 3 && (fit === 'contain' || seen.length === 27))
      assertNear(seen, seen.map(() => 7), AREA_TOLERANCE)
    }
  }
})

test('the picture that is given stays as it was', async () => {
  for (const kernel of ['area', 'lanczos3'] as const) {
    const picture = grid(9, 7)
    const copy = picture.data.slice()
    await resizePixels(picture, { width: 3, height: 3 }, 'cover', kernel)
    assert.deepEqual(picture.data, copy)
  }
})
