/** Pictures of one size beside each other, from left to right, for a person to compare. */
import { isGrey, type Raster } from './raster.js'
import type { Sliced } from '../base/slices.js'

/** Pixels of white between two pictures. */
const GAP = 8
const WHITE = 255

/** Size of the sheet of `count` pictures. */
export function sheetSize (count: number, { width, height }: Pick<Raster, 'width' | 'height'>): {
  width: number, height: number
} {
  return { width: count * width + (count - 1) * GAP, height }
}

/** The sheet of at least one picture, none of which has alpha; grey where all are. */
export function * contactSheet (pictures: readonly Raster[]): Sliced<Raster> {
  const [first] = pictures as [Raster]
  const size = sheetSize(pictures.length, first)
  const channels = pictures.every(isGrey) ? 1 : 3
  const data = new Uint8ClampedArray(size.width * size.height * channels).fill(WHITE)
  for (let row = 0; row < first.height; row++) {
    for (const [at, picture] of pictures.entries()) {
      const to = (row * size.width + at * (first.width + GAP)) * channels
      const line = picture.data.subarray(row * lineOf(picture), (row + 1) * lineOf(picture))
      data.set(picture.channels === channels ? line : tripled(line), to)
    }
    yield
  }
  return { ...size, channels, data }
}

/** Grey as colour. */
function tripled (line: Uint8ClampedArray): Uint8ClampedArray {
  return Uint8ClampedArray.from({ length: 3 * line.length }, (_, at) => line[Math.floor(at / 3)]!)
}

function lineOf ({ width, channels }: Raster): number {
  return width * channels
}
