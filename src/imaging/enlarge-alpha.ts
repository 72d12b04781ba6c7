/**
 * Alpha by bicubic interpolation (Keys 1981, a = -0.5), tile by tile, because no model sees it. The centre of a source
 * pixel is the centre of its `scale` x `scale` pixels, as in the colours: libvips' own enlarging lies half a pixel
 * beside it.
 */
import type { Raster } from './raster.js'
import type { Tile } from './tiles.js'

const TAPS = 4
const A = -0.5

/** Which source pixels make the target pixel of a phase: from `first`, relative to the source pixel it lies in. */
interface Phase {
  first: number
  /** Sum to 1. */
  weights: Float64Array
}

/** Writes the alpha of `canvas` within the core of a tile; both pictures have alpha. */
export function enlargeAlpha (source: Raster, canvas: Raster, { x, y }: Tile, scale: number): void {
  const phases = phasesOf(scale)
  const left = x.core.begin - TAPS
  const line = new Float64Array(x.core.end - x.core.begin + 2 * TAPS)
  for (let row = scale * y.core.begin; row < scale * y.core.end; row++) {
    const { first, weights } = phases[row % scale]!
    line.fill(0)
    for (let tap = 0; tap < TAPS; tap++) {
      const from = within(Math.floor(row / scale) + first + tap, source.height) * source.width
      for (let at = 0; at < line.length; at++) {
        line[at]! += weights[tap]! * source.data[(from + within(left + at, source.width) + 1) * source.channels - 1]!
      }
    }
    for (let column = scale * x.core.begin; column < scale * x.core.end; column++) {
      const phase = phases[column % scale]!
      const at = Math.floor(column / scale) + phase.first - left
      let sum = 0
      for (let tap = 0; tap < TAPS; tap++) sum += phase.weights[tap]! * line[at + tap]!
      canvas.data[(row * canvas.width + column + 1) * canvas.channels - 1] = sum
    }
  }
}

function phasesOf (scale: number): Phase[] {
  return Array.from({ length: scale }, (_, phase) => {
    const position = (phase + 0.5) / scale - 0.5
    const first = Math.floor(position) - 1
    return { first, weights: Float64Array.from({ length: TAPS }, (_, tap) => kernel(position - first - tap)) }
  })
}

function kernel (signed: number): number {
  const x = Math.abs(signed)
  if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1
  return x < 2 ? ((A * x - 5 * A) * x + 8 * A) * x - 4 * A : 0
}

function within (at: number, length: number): number {
  return Math.max(0, Math.min(at, length - 1))
}
