/** Pixels -> an encoded picture, through sharp, on its own threads. */
import sharp from 'sharp'
import { imagingErrors } from './errors.js'
import { isGrey, type Raster } from './raster.js'

export const ENCODED_FORMATS = ['png', 'jpeg', 'webp'] as const
export type EncodedFormat = typeof ENCODED_FORMATS[number]

/** What the formats themselves can hold. PNG: libpng's own limit. */
const SIDE_MAX: Readonly<Record<EncodedFormat, number>> = { png: 1_000_000, jpeg: 65_535, webp: 16_383 }

export function carriesAlpha (format: EncodedFormat): boolean {
  return format !== 'jpeg'
}

/** Throws IMAGE_TOO_LARGE for a picture that the format cannot hold. */
export function requireFits (format: EncodedFormat, { width, height }: { width: number, height: number }): void {
  if (Math.max(width, height) <= SIDE_MAX[format]) return
  throw imagingErrors.IMAGE_TOO_LARGE(`the answer would be too large for ${format}`, {
    expected: `sides of at most ${SIDE_MAX[format]}`, received: `${width} x ${height}`
  })
}

/**
 * PNG is lossless; `quality`, 1 to 100, is that of JPEG (without chroma subsampling, which would halve what
 * super-resolution has doubled) and WebP.
 */
export async function encodeRaster (picture: Raster, format: EncodedFormat, quality: number): Promise<Buffer> {
  const { width, height, channels, data } = picture
  const image = sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
    .toColourspace(isGrey(picture) ? 'b-w' : 'srgb')
  if (format === 'jpeg') return await image.jpeg({ quality, chromaSubsampling: '4:4:4' }).toBuffer()
  return await (format === 'webp' ? image.webp({ quality }) : image.png()).toBuffer()
}

/** An empty picture `scale` times the size of another. */
export function canvasFor ({ width, height, channels }: Omit<Raster, 'data'>, scale: number): Raster {
  const size = { width: scale * width, height: scale * height }
  return { ...size, channels, data: new Uint8ClampedArray(size.width * size.height * channels) }
}
