/** A picture as the input tensor of a model, by the rules of its manifest. */
import { decodeImage } from './decode.js'
import { resizePixels, type Fit, type Kernel, type Resized, type Size } from './resize.js'

export interface PreprocessRules {
  size: Size
  colour: 'rgb' | 'bgr' | 'grey'
  layout: 'NCHW' | 'NHWC'
  /** Per channel, in the order of `colour`, of values scaled to 0..1. */
  mean: readonly number[]
  std: readonly number[]
  resize: { fit: Fit, kernel: Kernel }
}

export interface ImageTensor {
  /** Batch axis 1. */
  dims: number[]
  data: Float32Array<ArrayBuffer>
}

/**
 * A picture more than this many times the wanted size is shrunk to it while it is decoded. What is left for the exact
 * kernel is small, and the difference to the exact kernel on the whole picture far below one grey level.
 */
const OVERSAMPLING = 4

/** Decodes, resizes and normalises. Throws IMAGE_UNREADABLE or IMAGE_TOO_LARGE. */
export async function preprocessImage (
  bytes: Uint8Array, rules: PreprocessRules, pixelsMax: number
): Promise<ImageTensor> {
  const pixels = await decodeImage(bytes, {
    pixelsMax,
    isGrey: rules.colour === 'grey',
    shrinkTo: (size) => shrunk(size, rules)
  })
  const { fit, kernel } = rules.resize
  return normalise(await resizePixels(pixels, rules.size, fit, kernel), rules)
}

/** Both sides by one factor unless the aspect ratio goes anyway. */
function shrunk ({ width, height }: Size, { size, resize }: PreprocessRules): Size {
  const factors = [width / (OVERSAMPLING * size.width), height / (OVERSAMPLING * size.height)] as const
  const isFree = resize.fit === 'fill'
  const common = Math.max(1, resize.fit === 'cover' ? Math.min(...factors) : Math.max(...factors))
  const [x, y] = isFree ? [Math.max(1, factors[0]), Math.max(1, factors[1])] : [common, common]
  return { width: Math.max(1, Math.round(width / x)), height: Math.max(1, Math.round(height / y)) }
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
