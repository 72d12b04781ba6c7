import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import sharp from 'sharp'
import { decodeImage, decodeRaster, readPictureHeader, type DecodeOptions, type Pixels } from '#src/imaging/decode.js'
import { BankswitchError } from '#src/base/errors.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'
import { at, painted, pixelAt } from './fixtures/pictures.js'

const RGB: DecodeOptions = { pixelsMax: 1_000_000, isGrey: false }
const GREY: DecodeOptions = { ...RGB, isGrey: true }

/** Distinct in every pixel and channel. */
const ramp = (x: number, y: number, channel: number) => 16 * x + 40 * y + channel

function assertPixels (
  pixels: Pixels, width: number, height: number, value: (x: number, y: number, channel: number) => number, tolerance = 0
): void {
  assert.deepEqual([pixels.width, pixels.height, pixels.data.length], [width, height, width * height * pixels.channels])
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < pixels.channels; channel++) {
        const [received, expected] = [at(pixels, x, y, channel), value(x, y, channel)]
        const where = `(${x}, ${y}) channel ${channel}: ${received} instead of ${expected}`
        assert.ok(Math.abs(received - expected) <= tolerance, where)
      }
    }
  }
}

test('PNG and lossless WebP come back exactly, JPEG nearly', async () => {
  const picture = painted(6, 4, 3, ramp)
  assertPixels(await decodeImage(await picture.clone().png().toBuffer(), RGB), 6, 4, ramp)
  assertPixels(await decodeImage(await picture.clone().webp({ lossless: true }).toBuffer(), RGB), 6, 4, ramp)
  const jpeg = await painted(16, 16, 3, (x, y) => 60 + 5 * x + 3 * y).jpeg({ quality: 100 }).toBuffer()
  assertPixels(await decodeImage(jpeg, RGB), 16, 16, (x, y) => 60 + 5 * x + 3 * y, 3)
})

test('a palette and an interlaced PNG, and a progressive JPEG', async () => {
  const halves = painted(8, 8, 3, (x, _y, channel) => channel === (x < 4 ? 0 : 2) ? 250 : 0)
  const palette = await halves.png({ palette: true }).toBuffer()
  const { data: [red, , , ...rest] } = await decodeImage(palette, RGB)
  assert.deepEqual([red! > 245, rest.at(-1)! > 245], [true, true])
  assertPixels(await decodeImage(await painted(6, 4, 3, ramp).png({ progressive: true }).toBuffer(), RGB), 6, 4, ramp)
  const progressive = await painted(9, 9, 3, () => 77).jpeg({ progressive: true, quality: 100 }).toBuffer()
  assertPixels(await decodeImage(progressive, RGB), 9, 9, () => 77, 1)
})

test('a grey picture has three equal channels where colour is wanted, and one where grey is', async () => {
  const value = (x: number, y: number) => 30 * x + 7 * y
  for (const bytes of [
    await painted(6, 4, 1, value).toColourspace('b-w').png().toBuffer(),
    await painted(6, 4, 3, value).png().toBuffer()
  ]) {
    const colour = await decodeImage(bytes, RGB)
    assert.equal(colour.channels, 3)
    assertPixels(colour, 6, 4, value)
    const grey = await decodeImage(bytes, GREY)
    assert.equal(grey.channels, 1)
    assertPixels(grey, 6, 4, value)
  }
})

test('grey is weighed by BT.601, as training code does', async () => {
  // What Pillow's convert('L') gives.
  const known = [[255, 0, 0, 76], [0, 255, 0, 150], [0, 0, 255, 29], [200, 100, 50, 124], [255, 255, 255, 255]] as const
  for (const [red, green, blue, grey] of known) {
    const bytes = await painted(1, 1, 3, (_x, _y, channel) => [red, green, blue][channel]!).png().toBuffer()
    assert.deepEqual([...(await decodeImage(bytes, GREY)).data], [grey])
  }
})

test('16 bits become 8', async () => {
  const values = Uint16Array.from([0, 2688, 65535, 32768, 1000, 65280])
  const rgb16 = sharp(values, { raw: { width: 2, height: 1, channels: 3 } }).toColourspace('rgb16')
  const grey16 = sharp(values, { raw: { width: 6, height: 1, channels: 1 } }).toColourspace('grey16')
  const [colour, grey] = [await rgb16.png().toBuffer(), await grey16.png().toBuffer()]
  for (const [bytes, options] of [[colour, RGB], [grey, GREY]] as const) {
    assert.equal((await sharp(bytes).metadata()).depth, 'ushort')
    const { data } = await decodeImage(bytes, options)
    assert.equal(data.length, values.length)
    for (const [index, value] of values.entries()) assert.ok(Math.abs(data[index]! - value / 257) <= 1)
  }
})

test('what is transparent lies over black', async () => {
  const colour = (x: number, _y: number, channel: number) => channel === 3 ? [0, 128, 255][x]! : 200
  const bytes = await painted(3, 1, 4, colour).png().toBuffer()
  assertPixels(await decodeImage(bytes, RGB), 3, 1, (x) => [0, 100, 200][x]!, 1)
  assertPixels(await decodeImage(bytes, GREY), 3, 1, (x) => [0, 100, 200][x]!, 1)
  const greyWithAlpha = painted(3, 1, 2, (x, y, channel) => colour(x, y, channel === 1 ? 3 : 0)).toColourspace('b-w')
  const grey = await greyWithAlpha.png().toBuffer()
  assertPixels(await decodeImage(grey, RGB), 3, 1, (x) => [0, 100, 200][x]!, 1)
  assertPixels(await decodeImage(grey, GREY), 3, 1, (x) => [0, 100, 200][x]!, 1)
})

test('a raster keeps alpha where that is wanted, not multiplied in', async () => {
  const paint = (x: number, y: number, channel: number) => channel === 3 ? [0, 128, 255][x]! : 40 + 60 * channel + y
  const bytes = await painted(3, 2, 4, paint).png().toBuffer()
  const options = { pixelsMax: 1000, isGrey: false, isAlphaKept: true }
  const kept = await decodeRaster(bytes, options)
  assert.deepEqual([kept.width, kept.height, kept.channels], [3, 2, 4])
  for (const [x, y] of [[0, 0], [1, 1], [2, 0]] as const) {
    assert.deepEqual(pixelAt(kept, x, y), [0, 1, 2, 3].map((channel) => paint(x, y, channel)))
  }
  const flat = await decodeRaster(bytes, { ...options, isAlphaKept: false })
  assert.equal(flat.channels, 3)
  assert.deepEqual([pixelAt(flat, 0, 0), pixelAt(flat, 2, 0)], [[0, 0, 0], [40, 100, 160]])
  const grey = await decodeRaster(bytes, { ...options, isGrey: true })
  assert.deepEqual([grey.channels, pixelAt(grey, 0, 0), pixelAt(grey, 1, 0)], [2, [89, 0], [89, 128]])
  const opaque = await decodeRaster(await painted(3, 2, 3, ramp).jpeg().toBuffer(), options)
  assert.equal(opaque.channels, 3)
})

test('a grey picture is a grey raster, with and without alpha, in 8 and 16 bits', async () => {
  const options = { pixelsMax: 1000, isGrey: false, isAlphaKept: true }
  const value = (x: number, y: number) => 30 * x + 7 * y
  const grey = await painted(6, 4, 1, value).toColourspace('b-w').png().toBuffer()
  assert.deepEqual(await readPictureHeader(grey, 1000), { width: 6, height: 4, isGrey: true, hasAlpha: false, decodingBytes: 0 })
  const raster = await decodeRaster(grey, options)
  assert.deepEqual([raster.channels, at(raster, 5, 3)], [1, value(5, 3)])
  const withAlpha = await painted(2, 1, 2, (x, _y, channel) => channel === 1 ? 100 * x : 77).toColourspace('b-w').png().toBuffer()
  assert.deepEqual(await readPictureHeader(withAlpha, 1000), { width: 2, height: 1, isGrey: true, hasAlpha: true, decodingBytes: 0 })
  assert.deepEqual([...(await decodeRaster(withAlpha, options)).data], [77, 0, 77, 100])
  assert.deepEqual([...(await decodeRaster(withAlpha, { ...options, isAlphaKept: false })).data], [0, 30])
  const deep = sharp(Uint16Array.of(0, 32896, 65535), { raw: { width: 3, height: 1, channels: 1 } }).toColourspace('grey16')
  const sixteen = await decodeRaster(await deep.png().toBuffer(), options)
  assert.deepEqual([sixteen.channels, [...sixteen.data]], [1, [0, 128, 255]])
})

test('a colour profile is heeded: the same numbers in a wider space are other colours in sRGB', async () => {
  const red = painted(8, 8, 3, (_x, _y, channel) => [200, 80, 60][channel]!)
  const plain = await red.clone().png().toBuffer()
  // keepIccProfile would change the pixels too: the profile is only attached.
  const tagged = await red.clone().withIccProfile('p3', { attach: true }).png().toBuffer()
  assert.ok((await sharp(tagged).metadata()).icc !== undefined)
  const options = { pixelsMax: 1000, isGrey: false, isAlphaKept: true }
  const original = pixelAt(await decodeRaster(plain, options), 0, 0)
  const back = pixelAt(await decodeRaster(tagged, options), 0, 0)
  const raw = await sharp(tagged, { ignoreIcc: true }).raw().toBuffer()
  assert.notDeepEqual([...raw.subarray(0, 3)], original, 'other numbers stand in the file')
  assert.ok(back.every((value, channel) => Math.abs(value - original[channel]!) <= 2), `${back} for ${original}`)
})

test('CMYK is converted', async () => {
  const bytes = await painted(16, 16, 3, (_x, _y, channel) => [200, 60, 20][channel]!).toColourspace('cmyk')
    .jpeg({ quality: 100 }).toBuffer()
  assert.equal((await sharp(bytes).metadata()).space, 'cmyk')
  const pixels = await decodeImage(bytes, RGB)
  assert.equal(pixels.channels, 3)
  // Ink has fewer colours than light: near is all that can be asked.
  assertPixels(pixels, 16, 16, (_x, _y, channel) => [200, 60, 20][channel]!, 30)
})

/** Where the upright pixel (x, y) lies in the stored picture of width w and height h; EXIF 2.32, section 4.6.4. */
const STORED: Array<(x: number, y: number, w: number, h: number) => [number, number]> = [
  (x, y) => [x, y],
  (x, y, w) => [w - 1 - x, y],
  (x, y, w, h) => [w - 1 - x, h - 1 - y],
  (x, y, _w, h) => [x, h - 1 - y],
  (x, y) => [y, x],
  (x, y, _w, h) => [y, h - 1 - x],
  (x, y, w, h) => [w - 1 - y, h - 1 - x],
  (x, y, w) => [w - 1 - y, x]
]

for (const [index, stored] of STORED.entries()) {
  const orientation = index + 1
  test(`EXIF orientation ${orientation} is turned upright`, async () => {
    const [w, h] = [6, 4]
    const bytes = await painted(w, h, 3, ramp).withMetadata({ orientation }).webp({ lossless: true }).toBuffer()
    assert.equal((await sharp(bytes).metadata()).orientation, orientation)
    const [width, height] = orientation < 5 ? [w, h] : [h, w]
    let told
    const pixels = await decodeImage(bytes, { ...RGB, shrinkTo: (size) => { told = size; return size } })
    const frame = 3 * w * h
    assert.deepEqual(told, { width, height, isGrey: false, hasAlpha: false, decodingBytes: orientation < 3 ? frame : 2 * frame })
    assertPixels(pixels, width, height, (x, y, channel) => ramp(...stored(x, y, w, h), channel))
  })

  test(`EXIF orientation ${orientation} is turned upright also while it is shrunk`, async () => {
    const [w, h] = [64, 32]
    const quadrant = (x: number, y: number) => (x < w / 2 ? 0 : 100) + (y < h / 2 ? 0 : 50)
    const bytes = await painted(w, h, 3, quadrant).withMetadata({ orientation }).jpeg({ quality: 100 }).toBuffer()
    const shrinkTo: DecodeOptions['shrinkTo'] = ({ width, height }) => ({ width: width / 4, height: height / 4 })
    const pixels = await decodeImage(bytes, { ...RGB, shrinkTo })
    const [width, height] = orientation < 5 ? [16, 8] : [8, 16]
    assert.deepEqual([pixels.width, pixels.height], [width, height])
    for (const [x, y] of [[1, 1], [width - 2, 1], [1, height - 2], [width - 2, height - 2]] as const) {
      const [red] = pixelAt(pixels, x, y)
      assert.ok(Math.abs(red! - quadrant(...stored(4 * x, 4 * y, w, h))) < 5, `(${x}, ${y})`)
    }
  })
}

test('what is not a picture of these formats is refused', async () => {
  const red = () => painted(8, 8, 3, () => 99)
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'
  const refused: Record<string, Uint8Array> = {
    nothing: new Uint8Array(0),
    text: Buffer.from('this is no picture'),
    svg: Buffer.from(svg),
    gif: await red().gif().toBuffer(),
    tiff: await red().tiff().toBuffer(),
    avif: await red().avif().toBuffer(),
    pdf: Buffer.from('%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF'),
    bmp: Buffer.concat([Buffer.from('BM'), Buffer.alloc(100)]),
    'JPEG magic': Buffer.from([0xff, 0xd8, 0xff]),
    'PNG magic': Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  }
  for (const [name, bytes] of Object.entries(refused)) {
    await assert.rejects(decodeImage(bytes, RGB), (error: BankswitchError) => {
      assert.equal(typeof error.details.received, 'string', name)
      return hasCode('IMAGE_UNREADABLE', { expected: ['jpeg', 'png', 'webp'] })(error)
    })
  }
})

for (const format of ['jpeg', 'png', 'webp'] as const) {
  test(`a ${format} that was cut off or spoilt is refused or read, never worse`, async () => {
    const noisy = painted(64, 64, 3, (x, y, channel) => (x * 7919 + y * 104729 + channel * 31) % 251)
    const bytes = await noisy[format]().toBuffer()
    for (const part of [0.1, 0.5, 0.9]) {
      const cut = bytes.subarray(0, Math.floor(part * bytes.length))
      await assert.rejects(decodeImage(cut, RGB), hasCode('IMAGE_UNREADABLE'))
      const shrinkTo = () => ({ width: 8, height: 8 })
      await assert.rejects(decodeImage(cut, { ...RGB, shrinkTo }), hasCode('IMAGE_UNREADABLE'))
    }
    const flip = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }))
    const flips = fc.array(flip, { minLength: 1, maxLength: 4 })
    await fc.assert(fc.asyncProperty(flips, async (changes) => {
      const spoilt = Buffer.from(bytes)
      for (const [index, mask] of changes) spoilt[index]! ^= mask
      try {
        const { width, height, data } = await decodeImage(spoilt, RGB)
        assert.equal(data.length, 3 * width * height)
      } catch (error) {
        assert.ok(error instanceof BankswitchError)
        assert.match(error.code, /^IMAGE_(UNREADABLE|TOO_LARGE)$/)
      }
    }), { seed: runSeed, numRuns: 100 })
  })
}

test('as many pixels as allowed are decoded, one more are not', async () => {
  const bytes = await painted(20, 10, 3, ramp).png().toBuffer()
  assert.equal((await decodeImage(bytes, { ...RGB, pixelsMax: 200 })).width, 20)
  await assert.rejects(decodeImage(bytes, { ...RGB, pixelsMax: 199 }), hasCode('IMAGE_TOO_LARGE', {
    expected: 'at most 199 pixels', received: '20 x 10'
  }))
})

test('a header that claims a giant is refused before anything is allocated', async () => {
  const png = await painted(8, 8, 3, ramp).png().toBuffer()
  const header = Buffer.from(png)
  const IHDR = 16
  header.writeUInt32BE(100_000, IHDR)
  header.writeUInt32BE(100_000, IHDR + 4)
  header.writeUInt32BE(crc32(header.subarray(IHDR - 4, IHDR + 13)), IHDR + 13)
  await assert.rejects(decodeImage(header, { ...RGB, pixelsMax: 2 ** 31 - 1 }), hasCode('IMAGE_TOO_LARGE', {
    received: '100000 x 100000'
  }))

  const jpeg = Buffer.from(await painted(8, 8, 3, ramp).jpeg().toBuffer())
  const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]))
  assert.notEqual(frame, -1)
  jpeg.writeUInt16BE(65_500, frame + 5)
  jpeg.writeUInt16BE(65_500, frame + 7)
  await assert.rejects(decodeImage(jpeg, { ...RGB, pixelsMax: 2 ** 31 - 1 }), hasCode('IMAGE_TOO_LARGE', {
    received: '65500 x 65500'
  }))
})

/** ISO 3309, bit by bit. */
function crc32 (bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}

test('the header tells what decoding holds besides the pixels: frames that are interlaced, in scans, or turned', async () => {
  const held = async (bytes: Buffer) => (await readPictureHeader(bytes, 1_000_000)).decodingBytes / 48
  const picture = () => painted(8, 6, 3, ramp)
  const deep = () => picture().toColourspace('rgb16')
  assert.equal(await held(await picture().png().toBuffer()), 0)
  assert.equal(await held(await deep().png().toBuffer()), 0)
  assert.equal(await held(await picture().png({ progressive: true }).toBuffer()), 3)
  assert.equal(await held(await deep().png({ progressive: true }).toBuffer()), 6)
  assert.equal(await held(await painted(8, 6, 4, ramp).webp({ lossless: true }).toBuffer()), 4)
  assert.equal(await held(await picture().jpeg().toBuffer()), 0)
  assert.equal(await held(await picture().jpeg({ progressive: true }).toBuffer()), 6)
  assert.equal(await held(await picture().withMetadata({ orientation: 2 }).jpeg().toBuffer()), 0)
  assert.equal(await held(await picture().withMetadata({ orientation: 3 }).jpeg().toBuffer()), 3)
  assert.equal(await held(await picture().withMetadata({ orientation: 6 }).jpeg({ progressive: true }).toBuffer()), 9)
})

test('what decoding holds, and gives, is asked for before it is decoded', async () => {
  const bytes = await painted(8, 6, 3, ramp).png({ progressive: true }).toBuffer()
  const asked: number[] = []
  const inRoom = async <T>(count: number, work: () => Promise<T>) => { asked.push(count); return await work() }
  await decodeImage(bytes, { ...RGB, inRoom })
  await decodeImage(bytes, { ...RGB, inRoom, shrinkTo: () => ({ width: 4, height: 2 }) })
  assert.deepEqual(asked, [2 * 3 * 48, 3 * 48 + 3 * 8])
  const refused = async () => { throw new BankswitchError('FULL', 'exhausted', 'full') }
  await assert.rejects(decodeImage(bytes, { ...RGB, inRoom: refused }), hasCode('FULL'))
})
