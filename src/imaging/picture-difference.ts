/** How far two pictures of one size lie apart, pixel by pixel. */
import { isGrey, type Raster } from './raster.js'
import type { Sliced } from '../base/slices.js'

export interface PictureDifference {
  /** Peak signal-to-noise ratio in dB, of the values of all channels; null for pictures without a difference. */
  psnr: number | null
  /** Of the values, 0 to 255. */
  meanDifference: number
  largestDifference: number
}

const PEAK = 255

/** PSNR = 10 log10(255² / mean squared error). A grey picture has one value for all channels of a coloured one. */
export function * pictureDifference (one: Raster, other: Raster): Sliced<PictureDifference> {
  const channels = isGrey(one) && isGrey(other) ? 1 : 3
  const pixels = one.width * one.height
  let [sum, squares, largest] = [0, 0, 0]
  for (let row = 0; row < one.height; row++) {
    for (let pixel = row * one.width; pixel < (row + 1) * one.width; pixel++) {
      for (let channel = 0; channel < channels; channel++) {
        const difference = Math.abs(valueAt(one, pixel, channel) - valueAt(other, pixel, channel))
        sum += difference
        squares += difference ** 2
        if (difference > largest) largest = difference
      }
    }
    yield
  }
  const values = pixels * channels
  return {
    psnr: squares === 0 ? null : 10 * Math.log10(PEAK ** 2 / (squares / values)),
    meanDifference: sum / values,
    largestDifference: largest
  }
}

function valueAt ({ channels, data }: Raster, pixel: number, channel: number): number {
  return channels === 1 ? data[pixel]! : data[pixel * channels + channel]!
}
