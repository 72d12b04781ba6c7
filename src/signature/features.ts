/**
 * What a signature is made of: a row of numbers per image, taken from what enters the first batch norms.
 *
 * For C observed channels these are their C means over the image's positions, then their C log-variances.
 */

/** Of one image: mean and variance (population, over positions) of each observed channel. */
export interface ChannelMoments {
  readonly mean: ArrayLike<number>
  readonly variance: ArrayLike<number>
}

/** Channels observed at most: the covariance of a signature grows with their square. */
export const CHANNELS_MAX = 128

/** Below it a variance is rounding, or a picture of one colour: its logarithm stays a number. */
const VARIANCE_MIN = 1e-12

/** The features of every row of what a stem gives, [rows, 2 C]: the means of C channels, then their variances. */
export function featuresOfRows (values: Float32Array, channels: number): Float64Array[] {
  return Array.from({ length: values.length / (2 * channels) }, (_, row) => {
    const [begin, middle, end] = [2 * row, 2 * row + 1, 2 * row + 2].map((part) => part * channels)
    return featuresOf({ mean: values.subarray(begin, middle), variance: values.subarray(middle, end) })
  })
}

/** The features of one image, in float64. What is no number stays one that is no number. */
export function featuresOf ({ mean, variance }: ChannelMoments): Float64Array {
  const channels = mean.length
  const features = new Float64Array(2 * channels)
  for (let channel = 0; channel < channels; channel++) {
    features[channel] = mean[channel]!
    // Not Math.max alone: NaN must stay NaN, which it does.
    features[channels + channel] = Math.log(Math.max(variance[channel]!, VARIANCE_MIN))
  }
  return features
}

export function isFinite (features: Float64Array): boolean {
  return features.every(Number.isFinite)
}
