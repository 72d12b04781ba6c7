/** A picture as the input tensor of a model, by the rules of its manifest. */
import { decodeImage, readPictureHeader, type InRoom, type Pixels } from './decode.js'
import { resizePixels, type Fit, type Kernel, type Resized, type Size } from './resize.js'
import type { ImageTensor } from './raster.js'

export interface PreprocessRules {
  size: Size
  colour: 'rgb' | 'bgr' | 'grey'
  layout: 'NCHW' | 'NHWC'
  /** Per channel, in the order of `colour`, of values scaled to 0..1. */
  mean: readonly number[]
  std: readonly number[]
  resize: { fit: Fit, kernel: Kernel }
}

/**
 * A picture of up to this many pixels is decoded whole, and its resize is exact: 3 MiB of memory and a few ms. A larger
 * one is shrunk to about as many while it is decoded, but not below OVERSAMPLING_MIN times the wanted size. libvips
 * shrinks with a kernel that blurs a sharp edge by one shrunk pixel: with k of them to a wanted pixel, the pixels at a
 * straight edge of full contrast are off by 255 / 8k grey levels, 1 for a 32 x 32 input.
 */
const EXACT_PIXELS = 2 ** 20
const OVERSAMPLING_MIN = 4

/** Of a tensor: three channels in float32. */
const BYTES_PER_PIXEL = 12

/** Decodes, resizes and normalises. Throws IMAGE_UNREADABLE, IMAGE_TOO_LARGE, and what `inRoom` throws. */
export async function preprocessImage (
  bytes: Uint8Array, rules: PreprocessRules, pixelsMax: number, inRoom?: InRoom
): Promise<ImageTensor> {
  const pixels = await decodeImage(bytes, {
    pixelsMax,
    isGrey: rules.colour === 'grey',
    shrinkTo: (size) => shrunkSize(size, rules),
    ...(inRoom === undefined ? {} : { inRoom })
  })
  return await prepare(pixels, rules)
}

/**
 * The tensors that `preprocessImage` makes by each of several rules, of a picture that is decoded once, or once for
 * each of the sizes that rules want a large one shrunk to. `inRoom` is asked for the tensors too. Throws like
 * `preprocessImage`.
 */
export async function preprocessImages (
  bytes: Uint8Array, all: readonly PreprocessRules[], pixelsMax: number, inRoom?: InRoom
): Promise<ImageTensor[]> {
  const header = await readPictureHeader(bytes, pixelsMax)
  const tensorBytes = all.reduce((sum, { size }) => {
    return sum + size.width * size.height * BYTES_PER_PIXEL
  }, 0)
  const decoded = new Map<string, Pixels>()
  const tensors: ImageTensor[] = []
  for (const rules of all) {
    const target = shrunkSize(header, rules)
    const isGrey = rules.colour === 'grey'
    const key = `${target.width}x${target.height} ${isGrey}`
    let pixels = decoded.get(key)
    if (pixels === undefined) {
      pixels = await decodeImage(bytes, {
        pixelsMax,
        isGrey,
        shrinkTo: () => target,
        ...(inRoom === undefined ? {} : { inRoom: (held, work) => inRoom(held + tensorBytes, work) })
      })
      decoded.set(key, pixels)
    }
    tensors.push(await prepare(pixels, rules))
  }
  return tensors
}

async function prepare (pixels: Pixels, rules: PreprocessRules): Promise<ImageTensor> {
  const { fit, kernel } = rules.resize
  return normalise(await resizePixels(pixels, rules.size, fit, kernel), rules)
}

/** What to shrink a picture to while it is decoded: both sides by one factor unless the aspect ratio goes anyway. */
export function shrunkSize ({ width, height }: Size, { size, resize: { fit } }: PreprocessRules): Size {
  const wanted = width * height / EXACT_PIXELS
  const widthMax = width / (OVERSAMPLING_MIN * size.width)
  const heightMax = height / (OVERSAMPLING_MIN * size.height)
  let x = within(1, Math.sqrt(wanted), fit === 'cover' ? Math.min(widthMax, heightMax) : Math.max(widthMax, heightMax))
  let y = x
  if (fit === 'fill') {
    // What one side cannot give, the other makes up for.
    y = within(1, Math.sqrt(wanted), heightMax)
    x = within(1, wanted / y, widthMax)
    y = within(1, wanted / x, heightMax)
  }
  return { width: Math.max(1, Math.round(width / x)), height: Math.max(1, Math.round(height / y)) }
}

function within (least: number, value: number, most: number): number {
  return Math.max(least, Math.min(value, most))
}

/** (value / 255 - mean) / std per channel; NaN, the border of `contain`, becomes 0, which is the mean. */
function normalise ({ width, height, channels, data }: Resized, rules: PreprocessRules): ImageTensor {
  const area = width * height
  const tensor = new Float32Array(area * channels)
  const isPlanar = rules.layout === 'NCHW'
  for (let channel = 0; channel < channels; channel++) {
    const source = rules.colour === 'bgr' ? channels - 1 - channel : channel
    const mean = rules.mean[channel]!
    const std = rules.std[channel]!
    for (let at = 0; at < area; at++) {
      const value = data[at * channels + source]!
      const target = isPlanar ? channel * area + at : at * channels + channel
      tensor[target] = Number.isNaN(value) ? 0 : (value / 255 - mean) / std
    }
  }
  return { dims: isPlanar ? [1, channels, height, width] : [1, height, width, channels], data: tensor }
}
