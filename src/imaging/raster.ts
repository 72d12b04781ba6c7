/** Pixels of a whole picture in 8 bits, cut into input tensors and assembled from output tensors. */
import { imagingErrors } from './errors.js'
import type { Tile } from './tiles.js'

export interface Raster {
  width: number
  height: number
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; interleaved, alpha last and not multiplied in. */
  channels: 1 | 2 | 3 | 4
  data: Uint8ClampedArray<ArrayBuffer>
}

/** A picture, or a tile of one, as a model takes it. */
export interface ImageTensor {
  /** Batch axis 1. */
  dims: number[]
  data: Float32Array<ArrayBuffer>
}

/** How pixel values become tensor values. */
export interface CutRules {
  colour: 'rgb' | 'bgr' | 'grey'
  layout: 'NCHW' | 'NHWC'
  mean: readonly number[]
  std: readonly number[]
}

/** How tensor values become pixel values. */
export interface PlaceRules extends Pick<CutRules, 'colour' | 'layout'> {
  scale: number
  /** Tensor values of pixels 0 and 255; what lies beyond is clamped. */
  black: number
  white: number
}

export function hasAlpha ({ channels }: Pick<Raster, 'channels'>): boolean {
  return channels % 2 === 0
}

export function isGrey ({ channels }: Pick<Raster, 'channels'>): boolean {
  return channels < 3
}

/** The window of a tile as a tensor of one row; beyond the picture its last pixels are repeated. */
export function cutTile (source: Raster, { x, y }: Tile, rules: CutRules): ImageTensor {
  const [width, height] = [x.window.end - x.window.begin, y.window.end - y.window.begin]
  const channels = rules.colour === 'grey' ? 1 : 3
  const tensor = new Float32Array(width * height * channels)
  const isPlanar = rules.layout === 'NCHW'
  const stride = source.channels
  for (let channel = 0; channel < channels; channel++) {
    const from = sourceChannel(source, rules, channel)
    const values = tableOf(rules.mean[channel]!, rules.std[channel]!)
    for (let row = 0; row < height; row++) {
      const line = Math.min(y.window.begin + row, source.height - 1) * source.width
      for (let column = 0; column < width; column++) {
        const at = line + Math.min(x.window.begin + column, source.width - 1)
        const target = row * width + column
        tensor[isPlanar ? channel * width * height + target : target * channels + channel] =
          values[source.data[at * stride + from]!]!
      }
    }
  }
  return { dims: isPlanar ? [1, channels, height, width] : [1, height, width, channels], data: tensor }
}

/** A grey picture has one channel to give to all three of a model. */
function sourceChannel (source: Raster, { colour }: CutRules, channel: number): number {
  if (isGrey(source)) return 0
  return colour === 'bgr' ? 2 - channel : channel
}

/** (value / 255 - mean) / std of all 256 values. */
function tableOf (mean: number, std: number): Float32Array {
  return Float32Array.from({ length: 256 }, (_, value) => (value / 255 - mean) / std)
}

/**
 * Writes the core of a tile's result into `canvas`, rounded to the nearest of 256 values, halves to even. A grey canvas
 * takes the luma of a coloured result. Throws OUTPUT_SHAPE_UNEXPECTED, and OUTPUT_PIXELS_NOT_FINITE for NaN and
 * infinite values.
 */
export function placeTile (canvas: Raster, { x, y }: Tile, { dims, data }: ImageTensor, rules: PlaceRules): void {
  const { scale, black, white, colour, layout } = rules
  const channels = colour === 'grey' ? 1 : 3
  const height = scale * (y.window.end - y.window.begin)
  const width = scale * (x.window.end - x.window.begin)
  const expected = layout === 'NCHW' ? [1, channels, height, width] : [1, height, width, channels]
  if (dims.join() !== expected.join()) {
    throw imagingErrors.OUTPUT_SHAPE_UNEXPECTED('the model\'s output has another shape than the manifest says', {
      expected, received: dims
    })
  }
  const step = layout === 'NCHW' ? { pixel: 1, channel: width * height } : { pixel: channels, channel: 1 }
  const factor = 255 / (white - black)
  const [red, blue] = colour === 'bgr' ? [2 * step.channel, 0] : [0, 2 * step.channel]
  const isLuma = channels === 3 && isGrey(canvas)
  const columns = scale * (x.core.end - x.core.begin)
  let sum = 0
  for (let row = scale * y.core.begin; row < scale * y.core.end; row++) {
    let from = ((row - scale * y.window.begin) * width + scale * (x.core.begin - x.window.begin)) * step.pixel
    let to = (row * canvas.width + scale * x.core.begin) * canvas.channels
    for (let column = 0; column < columns; column++, from += step.pixel, to += canvas.channels) {
      const first = (data[from + (channels === 3 ? red : 0)]! - black) * factor
      sum += first
      if (channels === 1) {
        canvas.data[to] = first
        continue
      }
      const second = (data[from + step.channel]! - black) * factor
      const third = (data[from + blue]! - black) * factor
      sum += second + third
      if (isLuma) {
        canvas.data[to] = LUMA.red * clamp(first) + LUMA.green * clamp(second) + LUMA.blue * clamp(third)
      } else {
        canvas.data[to] = first
        canvas.data[to + 1] = second
        canvas.data[to + 2] = third
      }
    }
  }
  // A float64 sum of float32 numbers is finite only when all of them are.
  if (Number.isFinite(sum)) return
  throw imagingErrors.OUTPUT_PIXELS_NOT_FINITE('the model has no finite pixels for this picture under this bank', {
    expected: 'finite pixels', received: String(sum)
  })
}

/** ITU-R BT.601, as in decode.ts. */
const LUMA = { red: 0.299, green: 0.587, blue: 0.114 } as const

function clamp (value: number): number {
  return Math.max(0, Math.min(value, 255))
}
