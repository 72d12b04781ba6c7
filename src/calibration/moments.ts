/**
 * Count, mean and centred sum of squares per channel, in float64: sums that add up.
 *
 * The sum of squares is always taken around the mean of its own set, so nothing cancels: a channel whose mean is 10,000
 * standard deviations keeps its variance, where E[x^2] - E[x]^2 in float32 gives nonsense.
 */
import assert from 'node:assert'

export interface Moments {
  /** Values per channel: images times positions. */
  count: number
  readonly mean: Float64Array
  /** Sum over values of (value - mean)^2. */
  readonly squares: Float64Array
}

export function emptyMoments (channels: number): Moments {
  return { count: 0, mean: new Float64Array(channels), squares: new Float64Array(channels) }
}

/**
 * Adds to `into` a set of `count` values per channel with the given means and variances (population), changing it in
 * place: M = M_a + M_b + delta^2 n_a n_b / (n_a + n_b) (Chan, Golub & LeVeque 1979).
 */
export function addSet (into: Moments, count: number, mean: ArrayLike<number>, variance: ArrayLike<number>): void {
  const total = into.count + count
  if (total === 0) return
  for (let channel = 0; channel < into.mean.length; channel++) {
    const delta = mean[channel]! - into.mean[channel]!
    into.mean[channel]! += delta * (count / total)
    into.squares[channel]! += variance[channel]! * count + delta * delta * (into.count * (count / total))
  }
  into.count = total
}

/** The moments of both sets together; neither is changed. */
export function mergeMoments (a: Moments, b: Moments): Moments {
  assert(a.mean.length === b.mean.length, 'moments of one layer have one number of channels')
  const merged = copyMoments(a)
  const total = a.count + b.count
  if (total === 0) return merged
  for (let channel = 0; channel < merged.mean.length; channel++) {
    const delta = b.mean[channel]! - a.mean[channel]!
    merged.mean[channel]! += delta * (b.count / total)
    merged.squares[channel]! += b.squares[channel]! + delta * delta * (a.count * (b.count / total))
  }
  merged.count = total
  return merged
}

/**
 * What is left of `whole` without `part`: `mergeMoments` solved for one of its arguments, exact up to rounding. The
 * caller makes sure that `part` was merged into `whole` and that more than it is left.
 */
export function subtractMoments (whole: Moments, part: Moments): Moments {
  assert(whole.mean.length === part.mean.length, 'moments of one layer have one number of channels')
  const count = whole.count - part.count
  assert(count > 0, 'something is left')
  const left = copyMoments(whole)
  for (let channel = 0; channel < left.mean.length; channel++) {
    const mean = whole.mean[channel]! + (whole.mean[channel]! - part.mean[channel]!) * (part.count / count)
    const delta = part.mean[channel]! - mean
    left.mean[channel] = mean
    const squares = whole.squares[channel]! - part.squares[channel]! -
      delta * delta * (count * (part.count / whole.count))
    // Rounding may leave less than nothing of a constant channel.
    left.squares[channel] = Math.max(0, squares)
  }
  left.count = count
  return left
}

/** Population variance per channel; 0 for an empty set. */
export function varianceOf ({ count, squares }: Moments): Float64Array {
  return squares.map((sum) => count === 0 ? 0 : sum / count)
}

/** Unbiased variance per channel, for at least two values. */
export function unbiasedVarianceOf ({ count, squares }: Moments): Float64Array {
  assert(count > 1, 'an unbiased variance needs two values')
  return squares.map((sum) => sum / (count - 1))
}

function copyMoments ({ count, mean, squares }: Moments): Moments {
  return { count, mean: mean.slice(), squares: squares.slice() }
}
