/** Shrinking fresh statistics towards those of a base bank, when images are few. */
import type { LayerStatistics } from '../bank/bank.js'

export const PRIOR_KINDS = ['schneider', 'mixture'] as const

export interface Prior {
  /**
   * `schneider` weighs means and variances alike (Schneider et al. 2020, equation 2); `mixture` gives the exact moments
   * of base and target mixed, whose variance has the spread between the two means as well.
   */
  kind: typeof PRIOR_KINDS[number]
  /** How many images the base bank counts as. */
  images: number
}

export interface Estimate {
  mean: Float64Array
  variance: Float64Array
}

/**
 * With w = N / (N + n) for N pseudo-images of the base and n real ones:
 *
 *   mean = w m_b + (1 - w) m_t        variance = w v_b + (1 - w) v_t  [+ w (1 - w) (m_b - m_t)^2 for a mixture]
 */
export function shrink (target: Estimate, base: LayerStatistics, prior: Prior | undefined, images: number): Estimate {
  if (prior === undefined || prior.images === 0) return target
  const weight = prior.images / (prior.images + images)
  const cross = prior.kind === 'mixture' ? weight * (1 - weight) : 0
  return {
    mean: target.mean.map((mean, channel) => weight * base.mean[channel]! + (1 - weight) * mean),
    variance: target.variance.map((variance, channel) => {
      const distance = base.mean[channel]! - target.mean[channel]!
      return weight * base.variance[channel]! + (1 - weight) * variance + cross * distance * distance
    })
  }
}
