import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeImage } from '#src/imaging/decode.js'
import { preprocessImage, preprocessImages, shrunkSize, type PreprocessRules } from '#src/imaging/preprocess.js'
import { resizePixels } from '#src/imaging/resize.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'
import { painted, type Paint } from './fixtures/pictures.js'

const PIXELS_MAX = 50_000_000

/** Leaves 0..255 as 0..1. */
const RULES: PreprocessRules = {
  size: { width: 3, height: 2 },
  colour: 'rgb',
  layout: 'NCHW',
  mean: [0, 0, 0],
  std: [1, 1, 1],
  resize: { fit: 'fill', kernel: 'area' }
}

/** float32 of values up to a few units, from float64 formulas. */
const TOLERANCE = 1e-6

/** Distinct in every pixel and channel. */
const scene: Paint = (x, y, channel) => 70 * x + 30 * y + 5 * channel

async function prepare (rules: Partial<PreprocessRules>, paint = scene, width = 3, height = 2) {
  const bytes = await painted(width, height, 3, paint).png().toBuffer()
  return await preprocessImage(bytes, { ...RULES, ...rules }, PIXELS_MAX)
}

function assertTensor (
  { dims, data }: { dims: number[], data: Float32Array }, expectedDims: number[], expected: number[]
): void {
  assert.deepEqual(dims, expectedDims)
  assert.equal(data.length, expected.length)
  for (const [index, value] of expected.entries()) {
    assert.ok(Math.abs(data[index]! - value) <= TOLERANCE, `value ${index}: ${data[index]} instead of ${value}`)
  }
}

/** `value(x, y, channel)` of a 3 x 2 picture, planes or pixels first. */
const planes = (value: Paint, channels = 3) => Array.from({ length: 6 * channels }, (_, index) => {
  return value(index % 3, Math.floor(index / 3) % 2, Math.floor(index / 6))
})
const interleaved = (value: Paint) => Array.from({ length: 18 }, (_, index) => {
  return value(Math.floor(index / 3) % 3, Math.floor(index / 9), index % 3)
})

test('values are divided by 255 and laid out in planes or pixels', async () => {
  const value: Paint = (x, y, channel) => scene(x, y, channel) / 255
  assertTensor(await prepare({}), [1, 3, 2, 3], planes(value))
  assertTensor(await prepare({ layout: 'NHWC' }), [1, 2, 3, 3], interleaved(value))
})

test('bgr turns the channels around', async () => {
  const value: Paint = (x, y, channel) => scene(x, y, 2 - channel) / 255
  assertTensor(await prepare({ colour: 'bgr' }), [1, 3, 2, 3], planes(value))
  assertTensor(await prepare({ colour: 'bgr', layout: 'NHWC' }), [1, 2, 3, 3], interleaved(value))
})

test('mean and std go by channel, in the order of the colour', async () => {
  const [mean, std] = [[0.1, 0.2, 0.3], [0.5, 0.25, 2]]
  const rgb: Paint = (x, y, channel) => (scene(x, y, channel) / 255 - mean[channel]!) / std[channel]!
  assertTensor(await prepare({ mean, std }), [1, 3, 2, 3], planes(rgb))
  const bgr: Paint = (x, y, channel) => (scene(x, y, 2 - channel) / 255 - mean[channel]!) / std[channel]!
  assertTensor(await prepare({ mean, std, colour: 'bgr' }), [1, 3, 2, 3], planes(bgr))
  assertTensor(await prepare({ mean, std, colour: 'bgr', layout: 'NHWC' }), [1, 2, 3, 3], interleaved(bgr))
})

test('grey has one channel, with every kernel', async () => {
  const rules = { colour: 'grey', mean: [0.5], std: [0.5] } as const
  const level: Paint = (x, y) => 60 * x + 20 * y
  const value: Paint = (x, y) => (level(x, y, 0) / 255 - 0.5) / 0.5
  assertTensor(await prepare(rules, level), [1, 1, 2, 3], planes(value, 1))
  assertTensor(await prepare({ ...rules, layout: 'NHWC' }, level), [1, 2, 3, 1], planes(value, 1))
  for (const kernel of ['area', 'bilinear', 'cubic', 'lanczos3'] as const) {
    const flat = await prepare({ ...rules, resize: { fit: 'fill', kernel } }, () => 51, 30, 20)
    assertTensor(flat, [1, 1, 2, 3], Array(6).fill((0.2 - 0.5) / 0.5) as number[])
  }
})

test('the border of contain is 0, the mean', async () => {
  const rules = { mean: [0.5, 0.5, 0.5], std: [0.1, 0.1, 0.1], resize: { fit: 'contain', kernel: 'area' } } as const
  const size = { width: 3, height: 3 }
  const { dims, data } = await prepare({ ...rules, size }, () => 255, 3, 1)
  assert.deepEqual(dims, [1, 3, 3, 3])
  for (let channel = 0; channel < 3; channel++) {
    const plane = [...data.subarray(9 * channel, 9 * channel + 9)].map((value) => Math.round(value * 1e6) / 1e6)
    assert.deepEqual(plane, [0, 0, 0, 5, 5, 5, 0, 0, 0])
  }
})

test('what cannot be decoded or is too large is refused', async () => {
  const bytes = await painted(30, 20, 3, () => 0).png().toBuffer()
  await assert.rejects(preprocessImage(bytes, RULES, 599), hasCode('IMAGE_TOO_LARGE'))
  await assert.rejects(preprocessImage(bytes.subarray(0, 20), RULES, PIXELS_MAX), hasCode('IMAGE_UNREADABLE'))
})

const FITS = ['fill', 'cover', 'contain'] as const

test('a picture of a megapixel is not shrunk while it is decoded, and its resize is exact', async () => {
  const megapixel = { width: 1024, height: 1024 }
  for (const fit of FITS) {
    assert.deepEqual(shrunkSize(megapixel, { ...RULES, resize: { fit, kernel: 'area' } }), megapixel)
  }
  // Hard edges at the borders of the wanted pixels, where any other kernel than the box shows.
  const size = { width: 16, height: 16 }
  const checks: Paint = (x, y) => (Math.floor(x / 25) + Math.floor(y / 20)) % 2 * 255
  const { data } = await prepare({ size }, checks, 400, 320)
  for (const [index, value] of data.entries()) {
    assert.ok(Math.abs(value - (Math.floor(index / 16) + index) % 2) <= TOLERANCE, `value ${index}: ${value}`)
  }
})

test('a larger picture is shrunk to about a megapixel, never below four times the wanted size', () => {
  const side = fc.integer({ min: 1, max: 20_000 })
  const wanted = fc.integer({ min: 1, max: 1024 })
  const sizes = fc.tuple(side, side, wanted, wanted)
  fc.assert(fc.property(sizes, fc.constantFrom(...FITS), ([width, height, toWidth, toHeight], fit) => {
    const size = { width: toWidth, height: toHeight }
    const shrunk = shrunkSize({ width, height }, { ...RULES, size, resize: { fit, kernel: 'area' } })
    assert.ok(shrunk.width >= 1 && shrunk.width <= width && shrunk.height >= 1 && shrunk.height <= height)
    if (shrunk.width === width && shrunk.height === height) return
    assert.ok(width * height > 2 ** 20)

    // Shrunk pixels to a wanted one on either side; rounding a side takes half a pixel at most.
    const least = 4 - 0.5 / Math.min(toWidth, toHeight)
    const perPixel = [shrunk.width / toWidth, shrunk.height / toHeight] as const
    if (fit === 'fill') {
      assert.ok(shrunk.width === width || perPixel[0] >= least)
      assert.ok(shrunk.height === height || perPixel[1] >= least)
      const hasSlack = perPixel[0] > 4.5 || perPixel[1] > 4.5
      if (hasSlack) assert.ok(shrunk.width * shrunk.height <= 2 ** 20 + shrunk.width + shrunk.height)
    } else {
      assert.ok((fit === 'cover' ? Math.min(...perPixel) : Math.max(...perPixel)) >= least)
      const [x, y] = [shrunk.width / width, shrunk.height / height]
      assert.ok(Math.abs(x - y) <= 0.5 / width + 0.5 / height || shrunk.width === 1 || shrunk.height === 1)
    }
  }), { seed: runSeed, numRuns: 1000 })
})

/** Like a photograph: soft shading, an outline, fine texture. */
const photograph = (width: number, height: number): Paint => (x, y, channel) => {
  const [u, v] = [x / width, y / height]
  const shade = 128 + 60 * Math.sin(9 * u + channel) * Math.cos(7 * v)
  const disc = Math.hypot(u - 0.5, v - 0.4) < 0.3 ? 50 : 0
  return shade + disc + 10 * Math.sin(0.9 * x + 1.1 * y)
}

/** The claim of preprocess.ts for what is no drawing: grey levels. */
const SHRINKING_TOLERANCE = 1

/** `cover` crops whole pixels, so the two crops can lie a shrunk pixel apart. */
const COVER_TOLERANCE = 2

for (const format of ['png', 'jpeg', 'webp'] as const) {
  test(`a large ${format} stays within a grey level of the exact area average`, async () => {
    const [width, height] = [1300, 1000]
    const size = { width: 32, height: 32 }
    const bytes = await painted(width, height, 3, photograph(width, height))[format]().toBuffer()
    const whole = await decodeImage(bytes, { pixelsMax: PIXELS_MAX, isGrey: false })
    assert.deepEqual([whole.width, whole.height], [width, height])
    for (const fit of FITS) {
      const rules: PreprocessRules = { ...RULES, size, layout: 'NHWC', resize: { fit, kernel: 'area' } }
      assert.ok(shrunkSize(whole, rules).width < width)
      const exact = await resizePixels(whole, size, fit, 'area')
      const { data } = await preprocessImage(bytes, rules, PIXELS_MAX)
      const tolerance = fit === 'cover' ? COVER_TOLERANCE : SHRINKING_TOLERANCE
      for (const [index, value] of exact.data.entries()) {
        const expected = Number.isNaN(value) ? 0 : value
        const received = 255 * data[index]!
        assert.ok(Math.abs(received - expected) <= tolerance, `${fit} ${index}: ${received} instead of ${expected}`)
      }
    }
  })
}

test('in a large picture a hard edge blurs by no more than its shrunk pixel, and stripes do not alias', async () => {
  const [width, height] = [2048, 2048]
  const size = { width: 32, height: 32 }
  const edgeAboveStripes: Paint = (x, y) => (y < 1024 ? x >= 1024 : x % 2 === 1) ? 255 : 0
  const { data } = await prepare({ size }, edgeAboveStripes, width, height)
  const perPixel = shrunkSize({ width, height }, { ...RULES, size }).width / size.width
  assert.equal(perPixel, 32)
  for (let x = 0; x < 32; x++) {
    const difference = Math.abs(255 * data[32 * 8 + x]! - (x < 16 ? 0 : 255))
    assert.ok(difference <= 255 / (8 * perPixel) + 0.5, `column ${x}: ${difference}`)
    const stripes = 255 * data[32 * 24 + x]!
    // The picture is continued beyond its border with what stands there, hence not 127.5 in the last column.
    assert.ok(Math.abs(stripes - 127.5) <= 2, `column ${x}: ${stripes}`)
  }
})

test('by several rules a picture is decoded once for each size that they shrink it to, and prepared as by each alone', async () => {
  const bytes = await painted(1500, 1000, 3, (x, y, channel) => (x * y + 90 * channel) % 251).png().toBuffer()
  const all: PreprocessRules[] = [
    RULES,
    { ...RULES, size: { width: 16, height: 8 }, mean: [0.5, 0.4, 0.3], layout: 'NHWC' },
    { ...RULES, size: { width: 400, height: 300 }, resize: { fit: 'cover', kernel: 'bilinear' } },
    { ...RULES, colour: 'grey', mean: [0], std: [1] }
  ]
  const asked: number[] = []
  const inRoom = async <T>(held: number, work: () => Promise<T>) => { asked.push(held); return await work() }
  const tensors = await preprocessImages(bytes, all, PIXELS_MAX, inRoom)
  for (const [at, rules] of all.entries()) assert.deepEqual(tensors[at], await preprocessImage(bytes, rules, PIXELS_MAX))
  // Small sizes in colour share one; a large one, and grey, have their own.
  assert.equal(asked.length, 3)
  const shrunk = shrunkSize({ width: 1500, height: 1000 }, RULES)
  const tensorBytes = 12 * (6 + 128 + 120_000 + 6)
  assert.equal(asked[0], 3 * shrunk.width * shrunk.height + tensorBytes)
  await assert.rejects(preprocessImages(bytes, all, 1000), hasCode('IMAGE_TOO_LARGE'))
})
