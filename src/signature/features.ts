/**
 * What a signature is made of: a row of numbers per image, taken from what enters the first batch norms.
 *
 * For C observed channels these are their C means over the image's positions, then their C log-variances.
 */

/** Channels observed at most: the covariance of a signature grows with their square. */
export const CHANNELS_MAX = 128

/** What a stem gives of each channel. */
export const MOMENTS = ['mean', 'residual', 'squares'] as const

/** Below it a variance is rounding, or a picture of one colour: its logarithm stays a number. */
const VARIANCE_MIN = 1e-12

/**
 * The features of every row of what a stem gives, float32 [rows, 3 C]: of C channels the means m, the averages r of
 * what these left, which is what rounding kept from them, and the averages s of squares around them. In float64 the
 * mean is m + r and the population variance s - r^2. What is no number stays one that is no number.
 */
export function featuresOfRows (moments: Float32Array, channels: number): Float64Array[] {
  return Array.from({ length: moments.length / (MOMENTS.length * channels) }, (_, row) => {
    const features = new Float64Array(2 * channels)
    const begin = MOMENTS.length * channels * row
    for (let channel = 0; channel < channels; channel++) {
      const at = begin + channel
      const residual = moments[at + channels]!
      features[channel] = moments[at]! + residual
      features[channels + channel] = logVarianceOf(moments[at + 2 * channels]! - residual * residual)
    }
    return features
  })
}

/** NaN stays NaN. */
export function logVarianceOf (variance: number): number {
  return Math.log(Math.max(variance, VARIANCE_MIN))
}

export function isFinite (features: Float64Array): boolean {
  return features.every(Number.isFinite)
}
