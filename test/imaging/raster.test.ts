import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canvasFor } from '#src/imaging/encode.js'
import { cutTile, placeTile, type CutRules, type Raster } from '#src/imaging/raster.js'
import { tilesOf } from '#src/imaging/tiles.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'
import { pixelAt, raster } from './fixtures/pictures.js'
import type { ImageTensor } from '#src/imaging/raster.js'

const RULES: CutRules = { colour: 'rgb', layout: 'NCHW', mean: [0, 0, 0], std: [1, 1, 1] }

const noise = (x: number, y: number, channel: number) => (x * 7919 + y * 104729 + channel * 31) % 256

function picture (width: number, height: number, channels: Raster['channels']): Raster {
  return { width, height, channels, data: Uint8ClampedArray.from(raster(width, height, channels, noise)) }
}

/** What a net would answer that repeats every pixel `scale` times. */
function repeated ({ dims, data }: ImageTensor, layout: 'NCHW' | 'NHWC', scale: number): ImageTensor {
  const [channels, height, width] = (layout === 'NCHW' ? dims.slice(1) : [dims[3], dims[1], dims[2]]) as [number, number, number]
  const [h, w] = [scale * height, scale * width]
  const out = new Float32Array(channels * h * w)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const [row, column] = [Math.floor(y / scale), Math.floor(x / scale)]
        if (layout === 'NCHW') out[(c * h + y) * w + x] = data[(c * height + row) * width + column]!
        else out[(y * w + x) * channels + c] = data[(row * width + column) * channels + c]!
      }
    }
  }
  return { dims: layout === 'NCHW' ? [1, channels, h, w] : [1, h, w, channels], data: out }
}

test('cutting and placing give the picture back, whatever the layout, colours, scale and tiling', () => {
  fc.assert(fc.property(fc.record({
    width: fc.integer({ min: 1, max: 40 }),
    height: fc.integer({ min: 1, max: 40 }),
    channels: fc.constantFrom(1, 2, 3, 4),
    layout: fc.constantFrom('NCHW', 'NHWC'),
    order: fc.constantFrom('rgb', 'bgr', 'grey'),
    scale: fc.integer({ min: 1, max: 3 }),
    overlap: fc.integer({ min: 0, max: 4 }),
    multipleOf: fc.integer({ min: 1, max: 3 })
  }), ({ width, height, channels, layout, order, scale, overlap, multipleOf }) => {
    const isGrey = channels < 3
    const colour = order === 'grey' && !isGrey ? 'rgb' : order
    const source = picture(width, height, channels)
    const canvas = canvasFor(source, scale)
    const rules: CutRules = colour === 'grey'
      ? { colour, layout, mean: [0.25], std: [0.5] }
      : { colour, layout, mean: [0.25, 0.25, 0.25], std: [0.5, 0.5, 0.5] }
    const tile = multipleOf * Math.ceil((2 * overlap + multipleOf) / multipleOf) + 3 * multipleOf
    for (const part of tilesOf(width, height, { tile, overlap, multipleOf })) {
      const cut = cutTile(source, part, rules)
      placeTile(canvas, part, repeated(cut, layout, scale), { colour, layout, scale, black: -0.5, white: 1.5 })
    }
    const colours = isGrey ? 1 : 3
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const expected = pixelAt(source, Math.floor(x / scale), Math.floor(y / scale)).slice(0, colours)
        assert.deepEqual(pixelAt(canvas, x, y).slice(0, colours), expected)
      }
    }
  }), { seed: runSeed, numRuns: 300 })
})

test('a tensor holds (value / 255 - mean) / std in the order of the rules; the edge is repeated', () => {
  const source = picture(2, 1, 3)
  const tile = { x: { window: { begin: 0, end: 3 }, core: { begin: 0, end: 2 } }, y: { window: { begin: 0, end: 2 }, core: { begin: 0, end: 1 } } }
  const rules: CutRules = { colour: 'bgr', layout: 'NHWC', mean: [0.1, 0.2, 0.3], std: [1, 2, 4] }
  const { dims, data } = cutTile(source, tile, rules)
  assert.deepEqual(dims, [1, 2, 3, 3])
  const expected = [0, 1, 1, 0, 1, 1].flatMap((x) => [2, 1, 0].map((channel, at) => {
    return Math.fround((noise(x, 0, channel) / 255 - rules.mean[at]!) / rules.std[at]!)
  }))
  assert.deepEqual([...data], expected)
})

test('values are clamped and rounded to the nearest, and a grey canvas takes the luma', () => {
  const tile = { x: { window: { begin: 0, end: 4 }, core: { begin: 0, end: 4 } }, y: { window: { begin: 0, end: 1 }, core: { begin: 0, end: 1 } } }
  const rules = { colour: 'grey', layout: 'NCHW', scale: 1, black: 0, white: 255 } as const
  const canvas = canvasFor({ width: 4, height: 1, channels: 1 }, 1)
  placeTile(canvas, tile, { dims: [1, 1, 1, 4], data: Float32Array.of(-3, 7.4, 7.6, 300) }, rules)
  assert.deepEqual([...canvas.data], [0, 7, 8, 255])
  const colours = Float32Array.of(255, 0, 0, 100, 0, 255, 0, 100, 0, 0, 255, 100)
  placeTile(canvas, tile, { dims: [1, 3, 1, 4], data: colours }, { ...rules, colour: 'rgb' })
  assert.deepEqual([...canvas.data], [76, 150, 29, 100])
})

test('another shape and values that are no numbers are refused', () => {
  const tile = { x: { window: { begin: 0, end: 2 }, core: { begin: 0, end: 2 } }, y: { window: { begin: 0, end: 1 }, core: { begin: 0, end: 1 } } }
  const rules = { ...RULES, scale: 2, black: 0, white: 1 }
  const canvas = canvasFor({ width: 2, height: 1, channels: 3 }, 2)
  assert.throws(() => placeTile(canvas, tile, { dims: [1, 3, 1, 2], data: new Float32Array(6) }, rules), hasCode('OUTPUT_SHAPE_UNEXPECTED', {
    expected: [1, 3, 2, 4], received: [1, 3, 1, 2]
  }))
  for (const bad of [NaN, Infinity, -Infinity]) {
    for (const at of [0, 10, 23]) {
      const data = new Float32Array(24)
      data[at] = bad
      assert.throws(() => placeTile(canvas, tile, { dims: [1, 3, 2, 4], data }, rules), hasCode('OUTPUT_PIXELS_NOT_FINITE'))
    }
  }
})
