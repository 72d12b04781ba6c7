/**
 * Encoded picture -> 8-bit sRGB pixels, through sharp (libvips), which works on its own threads.
 *
 * The picture is turned upright (EXIF), converted to sRGB, and laid over black where it is transparent. Its size is
 * read from the header and bounded before any pixel is decoded.
 */
import sharp from 'sharp'
import { BankswitchError } from '../base/errors.js'
import { imagingErrors } from './errors.js'

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
}

/** EXIF orientations from 5 on lie on their side. */
const FIRST_SIDEWAYS_ORIENTATION = 5

/** Throws IMAGE_UNREADABLE (no picture, a broken one, another format) or IMAGE_TOO_LARGE. */
export async function decodeImage (bytes: Uint8Array, options: DecodeOptions): Promise<Pixels> {
  try {
    const size = await readSize(bytes, options.pixelsMax)
    const image = sharp(bytes, { limitInputPixels: options.pixelsMax, failOn: 'error', pages: 1 })
    image.autoOrient().flatten({ background: '#000' }).toColourspace('srgb')
    const target = options.shrinkTo?.(size) ?? size
    if (target.width < size.width || target.height < size.height) {
      image.resize(target.width, target.height, { fit: 'fill', kernel: 'linear' })
    }
    const { data, info: { width, height } } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
    return options.isGrey ? { width, height, channels: 1, data: luma(data) } : { width, height, channels: 3, data }
  } catch (cause) {
    if (cause instanceof BankswitchError) throw cause
    throw imagingErrors.IMAGE_UNREADABLE('the picture cannot be decoded', {
      expected: IMAGE_FORMATS, received: firstLine((cause as Error).message)
    }, cause)
  }
}

/**
 * Interleaved RGB -> grey by ITU-R BT.601 on the encoded values, as Pillow, OpenCV and torchvision have it. libvips
 * weighs light instead, which makes pure red 127 where a model was trained on 76. The integer arithmetic is Pillow's.
 */
function luma (rgb: Uint8Array): Uint8Array {
  const grey = new Uint8Array(rgb.length / 3)
  for (let at = 0, from = 0; at < grey.length; at++, from += 3) {
    grey[at] = (19595 * rgb[from]! + 38470 * rgb[from + 1]! + 7471 * rgb[from + 2]! + 0x8000) >> 16
  }
  return grey
}

/** Upright width and height, from the header alone. */
async function readSize (bytes: Uint8Array, pixelsMax: number): Promise<{ width: number, height: number }> {
  const { width, height, orientation = 1 } = await sharp(bytes, { limitInputPixels: false, pages: 1 }).metadata()
  if (width * height > pixelsMax) {
    throw imagingErrors.IMAGE_TOO_LARGE('the picture has too many pixels', {
      expected: `at most ${pixelsMax} pixels`, received: `${width} x ${height}`
    })
  }
  return orientation >= FIRST_SIDEWAYS_ORIENTATION ? { width: height, height: width } : { width, height }
}

function firstLine (text: string): string {
  return (text.split('\n')[0] ?? '').slice(0, 200)
}
