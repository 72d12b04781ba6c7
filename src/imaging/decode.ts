/**
 * Encoded picture -> 8-bit sRGB pixels, through sharp (libvips), which works on its own threads.
 *
 * The picture is turned upright (EXIF), converted to sRGB from whatever profile it has, and laid over black where it is
 * transparent, unless its alpha is asked for. Its size is read from the header and bounded before any pixel is decoded.
 */
import sharp, { type Metadata, type Sharp } from 'sharp'
import { BankswitchError } from '../base/errors.js'
import { imagingErrors } from './errors.js'
import type { Raster } from './raster.js'

// Nothing but these formats is parsed at all: what a client sends must not choose among all that libvips can read.
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({ operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'] })

// One picture is small work; parallelism comes from the requests. The cache would keep decoded files alive.
sharp.concurrency(1)
sharp.cache(false)

export const IMAGE_FORMATS = ['jpeg', 'png', 'webp'] as const

export interface Pixels {
  width: number
  height: number
  /** 3 for RGB, 1 for grey; interleaved. */
  channels: 1 | 3
  data: Uint8Array
}

export interface DecodeOptions {
  /** Largest width x height. */
  pixelsMax: number
  isGrey: boolean
  /** Given the upright size, the size to shrink to while decoding, so that a large picture is never held whole. */
  shrinkTo? (size: { width: number, height: number }): { width: number, height: number }
  /** Does the work that takes so many bytes, when there is room for them. */
  inRoom?: InRoom
}

export type InRoom = <T>(bytes: number, work: () => Promise<T>) => Promise<T>

/** EXIF orientations from 3 on turn the order of rows around or lie on their side; the latter from 5 on. */
const FIRST_TURNED_ORIENTATION = 3
const FIRST_SIDEWAYS_ORIENTATION = 5

/** A JPEG in several scans is kept as coefficients, of 16 bits, until the last scan has come. */
const BYTES_PER_COEFFICIENT = 2

const CHANNELS = 3

/** Throws what `inRoom` throws, and IMAGE_UNREADABLE (no picture, a broken one, another format) or IMAGE_TOO_LARGE. */
export async function decodeImage (bytes: Uint8Array, options: DecodeOptions): Promise<Pixels> {
  return await readable(async () => {
    const size = await readHeader(bytes, options.pixelsMax)
    const image = open(bytes, options.pixelsMax).flatten({ background: '#000' }).toColourspace('srgb')
    const target = options.shrinkTo?.(size) ?? size
    if (target.width < size.width || target.height < size.height) {
      image.resize(target.width, target.height, { fit: 'fill', kernel: 'linear' })
    }
    const bytesHeld = size.decodingBytes + CHANNELS * target.width * target.height
    const work = async () => await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
    const { data, info: { width, height } } = await (options.inRoom?.(bytesHeld, work) ?? work())
    return options.isGrey ? { width, height, channels: 1, data: luma(data) } : { width, height, channels: 3, data }
  })
}

export interface RasterOptions {
  pixelsMax: number
  /** Luma of a coloured picture too. */
  isGrey: boolean
  /** Keep the alpha of a picture that has any; otherwise it is laid over black. */
  isAlphaKept: boolean
}

/** The whole picture: grey where it or the wish is grey, with alpha where it has some and that is wanted. */
export async function decodeRaster (bytes: Uint8Array, options: RasterOptions): Promise<Raster> {
  return await readable(async () => {
    const header = await readHeader(bytes, options.pixelsMax)
    const image = open(bytes, options.pixelsMax).toColourspace('srgb')
    const hasAlpha = header.hasAlpha && options.isAlphaKept
    if (!hasAlpha) image.flatten({ background: '#000' })
    const { data, info: { width, height, channels } } = await image.raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (options.isGrey || header.isGrey) {
      return { width, height, channels: hasAlpha ? 2 : 1, data: clamped(luma(data, channels === 4 ? 4 : 3)) }
    }
    return { width, height, channels: channels === 4 ? 4 : 3, data: clamped(data) }
  })
}

function open (bytes: Uint8Array, pixelsMax: number): Sharp {
  return sharp(bytes, { limitInputPixels: pixelsMax, failOn: 'error', pages: 1 }).autoOrient()
}

function clamped ({ buffer, byteOffset, length }: Uint8Array): Raster['data'] {
  return new Uint8ClampedArray(buffer as ArrayBuffer, byteOffset, length)
}

async function readable<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof BankswitchError) throw cause
    throw imagingErrors.IMAGE_UNREADABLE('the picture cannot be decoded', {
      expected: IMAGE_FORMATS, received: firstLine((cause as Error).message)
    }, cause)
  }
}

/**
 * Interleaved RGB -> grey by ITU-R BT.601 on the encoded values, as Pillow, OpenCV and torchvision have it; alpha
 * stays. libvips weighs light instead, which makes pure red 127 where a model was trained on 76. The integer
 * arithmetic is Pillow's.
 */
function luma (pixels: Uint8Array, channels: 3 | 4 = 3): Uint8Array {
  const step = channels - 2
  const grey = new Uint8Array(pixels.length / channels * step)
  for (let at = 0, from = 0; at < grey.length; at += step, from += channels) {
    grey[at] = (19595 * pixels[from]! + 38470 * pixels[from + 1]! + 7471 * pixels[from + 2]! + 0x8000) >> 16
    if (step === 2) grey[at + 1] = pixels[from + 3]!
  }
  return grey
}

export interface PictureHeader {
  /** Upright. */
  width: number
  height: number
  isGrey: boolean
  hasAlpha: boolean
  /** What decoding holds besides the pixels that it gives: nothing where rows come one after another. */
  decodingBytes: number
}

/** The most that a decoder gives. */
const RAW_CHANNELS = 4

/** What decoding holds at most, with the pixels: of a coloured picture that is to be grey, all of its channels too. */
export function decodedBytes ({ width, height, decodingBytes }: PictureHeader): number {
  return decodingBytes + RAW_CHANNELS * width * height
}

/** What a picture is, from its header alone. Throws IMAGE_UNREADABLE or IMAGE_TOO_LARGE. */
export async function readPictureHeader (bytes: Uint8Array, pixelsMax: number): Promise<PictureHeader> {
  return await readable(() => readHeader(bytes, pixelsMax))
}

async function readHeader (bytes: Uint8Array, pixelsMax: number): Promise<PictureHeader> {
  const header = await sharp(bytes, { limitInputPixels: false, pages: 1 }).metadata()
  const { width, height, orientation = 1, space, hasAlpha = false } = header
  if (width * height > pixelsMax) {
    throw imagingErrors.IMAGE_TOO_LARGE('the picture has too many pixels', {
      expected: `at most ${pixelsMax} pixels`, received: `${width} x ${height}`
    })
  }
  const upright = orientation >= FIRST_SIDEWAYS_ORIENTATION ? { width: height, height: width } : { width, height }
  return {
    ...upright, isGrey: space === 'b-w' || space === 'grey16', hasAlpha, decodingBytes: decodingBytes(header)
  }
}

/** WebP, interlaced PNG and JPEG in several scans are held whole, and once more whatever is to be turned. */
function decodingBytes (
  { format, width, height, channels, depth, isProgressive, orientation = 1 }: Metadata
): number {
  const samples = width * height * channels
  const frame = samples * (depth === 'uchar' ? 1 : 2)
  const whole = format === 'jpeg' ? samples * BYTES_PER_COEFFICIENT : frame
  const isWhole = isProgressive || format === 'webp'
  return (isWhole ? whole : 0) + (orientation >= FIRST_TURNED_ORIENTATION ? frame : 0)
}

function firstLine (text: string): string {
  return (text.split('\n')[0] ?? '').slice(0, 200)
}
