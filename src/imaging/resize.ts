/**
 * Pixels -> the size that a model wants.
 *
 * `area` averages the source pixels under each target pixel, weighted by how much of them it covers: what training code
 * calls area interpolation, and what libvips does not offer as a kernel. The other kernels are libvips' own, which
 * widen themselves when they shrink, so nothing aliases. When they enlarge, the result lies half an enlarged pixel to
 * the right and below where Pillow and PyTorch have it.
 */
import sharp from 'sharp'
import type { Pixels } from './decode.js'

export type Fit = 'fill' | 'cover' | 'contain'
export type Kernel = 'area' | 'bilinear' | 'cubic' | 'lanczos3'

export interface Size { width: number, height: number }

/** A part of the picture, or of the result. */
interface Region extends Size { left: number, top: number }

export interface Resized extends Size {
  channels: 1 | 3
  /** Interleaved, 0 to 255, not rounded where the kernel does not round. */
  data: Float32Array
}

/** `contain` fills the border with NaN, for the caller to replace by what is neutral to the model. */
export async function resizePixels (pixels: Pixels, size: Size, fit: Fit, kernel: Kernel): Promise<Resized> {
  const { source, target } = regionsOf(pixels, size, fit)
  const part = crop(pixels, source)
  const scaled = part.width === target.width && part.height === target.height
    ? Float32Array.from(part.data)
    : kernel === 'area' ? areaAverage(part, target) : await resizeBySharp(part, target, kernel)
  const { channels } = pixels
  if (target.width === size.width && target.height === size.height) return { ...size, channels, data: scaled }
  return { ...size, channels, data: place(scaled, target, size, channels) }
}

function regionsOf (pixels: Pixels, size: Size, fit: Fit): { source: Region, target: Region } {
  const whole = { left: 0, top: 0, width: pixels.width, height: pixels.height }
  const full = { left: 0, top: 0, ...size }
  if (fit === 'fill') return { source: whole, target: full }
  const scales = [size.width / pixels.width, size.height / pixels.height]
  if (fit === 'cover') {
    const scale = Math.max(...scales)
    return { source: centred(whole, size.width / scale, size.height / scale), target: full }
  }
  const scale = Math.min(...scales)
  return { source: whole, target: centred(full, pixels.width * scale, pixels.height * scale) }
}

/** The middle part of a region, in whole pixels, at least one. */
function centred (region: Region, width: number, height: number): Region {
  const whole = {
    width: Math.min(region.width, Math.max(1, Math.round(width))),
    height: Math.min(region.height, Math.max(1, Math.round(height)))
  }
  return {
    ...whole, left: Math.floor((region.width - whole.width) / 2), top: Math.floor((region.height - whole.height) / 2)
  }
}

function crop (pixels: Pixels, { left, top, width, height }: Region): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels
  const { channels } = pixels
  const data = new Uint8Array(width * height * channels)
  for (let row = 0; row < height; row++) {
    const begin = ((top + row) * pixels.width + left) * channels
    data.set(pixels.data.subarray(begin, begin + width * channels), row * width * channels)
  }
  return { width, height, channels, data }
}

function place (data: Float32Array, { left, top, width, height }: Region, size: Size, channels: number): Float32Array {
  const canvas = new Float32Array(size.width * size.height * channels).fill(NaN)
  for (let row = 0; row < height; row++) {
    const from = data.subarray(row * width * channels, (row + 1) * width * channels)
    canvas.set(from, ((top + row) * size.width + left) * channels)
  }
  return canvas
}

async function resizeBySharp (pixels: Pixels, { width, height }: Size, kernel: Kernel): Promise<Float32Array> {
  const raw = { width: pixels.width, height: pixels.height, channels: pixels.channels }
  const name = kernel === 'bilinear' ? 'linear' : kernel as 'cubic' | 'lanczos3'
  const image = sharp(pixels.data, { raw, limitInputPixels: false })
  // Without the colour space, one channel comes back as three.
  image.resize(width, height, { fit: 'fill', kernel: name }).toColourspace(pixels.channels === 1 ? 'b-w' : 'srgb')
  return Float32Array.from(await image.raw().toBuffer())
}

/** Separable: each source row along its columns, then rows into rows; in float64. */
function areaAverage ({ width: sourceWidth, height: sourceHeight, channels, data }: Pixels, size: Size): Float32Array {
  const columns = coverage(sourceWidth, size.width)
  const rows = coverage(sourceHeight, size.height)
  const line = size.width * channels
  const narrow = new Float64Array(line)
  const small = new Float64Array(line * size.height)
  let narrowed = -1
  for (const [y, { first, weights }] of rows.entries()) {
    for (let at = 0; at < weights.length; at++) {
      const row = data.subarray((first + at) * sourceWidth * channels, (first + at + 1) * sourceWidth * channels)
      // The last row under one target row may be the first under the next.
      if (narrowed !== first + at) averageRow(row, columns, channels, narrow)
      narrowed = first + at
      const weight = weights[at]!
      for (let x = 0; x < line; x++) small[y * line + x]! += weight * narrow[x]!
    }
  }
  return Float32Array.from(small)
}

function averageRow (row: Uint8Array, columns: readonly Coverage[], channels: number, result: Float64Array): void {
  for (let x = 0; x < columns.length; x++) {
    const { first, weights } = columns[x]!
    for (let channel = 0; channel < channels; channel++) {
      let sum = 0
      for (let at = 0; at < weights.length; at++) sum += weights[at]! * row[(first + at) * channels + channel]!
      result[x * channels + channel] = sum
    }
  }
}

/** The source positions under a target position, and their weights, which sum to 1. */
interface Coverage {
  first: number
  weights: Float64Array
}

function coverage (sourceLength: number, targetLength: number): Coverage[] {
  const scale = sourceLength / targetLength
  return Array.from({ length: targetLength }, (_, target) => {
    const begin = target * scale
    const end = begin + scale
    const first = Math.floor(begin)
    const length = Math.min(Math.ceil(end), sourceLength) - first
    const weights = Float64Array.from({ length }, (_, at) => {
      return (Math.min(end, first + at + 1) - Math.max(begin, first + at)) / scale
    })
    return { first, weights }
  })
}
