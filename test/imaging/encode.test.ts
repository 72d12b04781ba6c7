import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { carriesAlpha, encodeRaster, requireFits } from '#src/imaging/encode.js'
import { decodeRaster } from '#src/imaging/decode.js'
import { hasCode } from '../support/errors.js'
import { raster } from './fixtures/pictures.js'
import type { Raster } from '#src/imaging/raster.js'

const ramp = (x: number, y: number, channel: number) => 10 * x + 20 * y + 5 * channel

function picture (channels: Raster['channels']): Raster {
  return { width: 8, height: 6, channels, data: Uint8ClampedArray.from(raster(8, 6, channels, ramp)) }
}

for (const channels of [1, 2, 3, 4] as const) {
  test(`a picture of ${channels} channels comes back exactly as PNG and nearly as WebP`, async () => {
    for (const format of ['png', 'webp'] as const) {
      const bytes = await encodeRaster(picture(channels), format, 100)
      const metadata = await sharp(bytes).metadata()
      assert.equal(metadata.format, format)
      assert.equal(metadata.hasAlpha, channels % 2 === 0)
      if (format === 'webp') continue
      assert.equal(metadata.channels, channels)
      const { data } = await decodeRaster(bytes, { pixelsMax: 100, isGrey: false, isAlphaKept: true })
      assert.deepEqual(data, picture(channels).data)
    }
  })
}

test('JPEG has the quality that is asked for and whole chroma', async () => {
  const fine = await encodeRaster(picture(3), 'jpeg', 95)
  const coarse = await encodeRaster(picture(3), 'jpeg', 5)
  assert.ok(coarse.length < fine.length)
  assert.equal((await sharp(fine).metadata()).chromaSubsampling, '4:4:4')
  assert.equal((await sharp(await encodeRaster(picture(1), 'jpeg', 90)).metadata()).space, 'b-w')
})

test('what a format cannot hold is told before it is computed', () => {
  requireFits('webp', { width: 16_383, height: 16_383 })
  requireFits('jpeg', { width: 65_535, height: 1 })
  for (const [format, side] of [['webp', 16_384], ['jpeg', 65_536], ['png', 1_000_001]] as const) {
    assert.throws(() => requireFits(format, { width: 1, height: side }), hasCode('IMAGE_TOO_LARGE', { received: `1 x ${side}` }))
  }
  assert.deepEqual((['png', 'jpeg', 'webp'] as const).map(carriesAlpha), [true, false, true])
})
