/**
 * What the observations of a layer become, by mode. All take the same thing, the moments of each image at one site in
 * one batch; they differ in how batches count.
 *
 *   pooled   every value counts once (sequential, fixed, fvcore): fvcore's precise_bn.py without its cancellation
 *   torch    every batch counts once, variances unbiased: torch.optim.swa_utils.update_bn
 *   ema      s <- (1 - m) s + m new, variances unbiased: PyTorch's running averages; momentum null is cumulative
 */
import { calibrationErrors } from './errors.js'
import { addSet, emptyMoments, unbiasedVarianceOf, varianceOf, type Moments } from './moments.js'
import { Spread } from './spread.js'
import type { LayerStatistics } from '../bank/bank.js'
import type { Estimate } from './priors.js'

/** The moments of each image at one site in one batch: rows of `channels` numbers, one row an image. */
export interface BatchObservation {
  images: number
  /** Values per image and channel. */
  positions: number
  mean: Float64Array
  /** Population variance. */
  variance: Float64Array
}

/** Running averages of batches, in float64. */
export interface RunningAverage {
  estimate: Estimate
  /** Batches so far: `num_batches_tracked`. */
  batches: number
}

/** Everything that is kept of one layer's observations. */
export class LayerObserver {
  readonly moments: Moments
  readonly spread: Spread
  readonly running: RunningAverage | undefined
  readonly #key: string
  readonly #momentum: number | null

  /** With `running`, batches are averaged from that state on by `momentum`; null is the cumulative average. */
  constructor (key: string, channels: number, running?: RunningAverage, momentum: number | null = null) {
    this.#key = key
    this.moments = emptyMoments(channels)
    this.spread = new Spread(channels)
    this.running = running
    this.#momentum = momentum
  }

  /** Throws CALIBRATION_NOT_FINITE, and CALIBRATION_BATCH_TOO_SMALL where an unbiased variance needs two values. */
  add ({ images, positions, mean, variance }: BatchObservation): void {
    const channels = this.moments.mean.length
    const batch = emptyMoments(channels)
    for (let image = 0; image < images; image++) {
      const means = mean.subarray(image * channels, (image + 1) * channels)
      const variances = variance.subarray(image * channels, (image + 1) * channels)
      if (!means.every(Number.isFinite) || !variances.every(Number.isFinite)) {
        throw calibrationErrors.CALIBRATION_NOT_FINITE(
          `the input of layer "${this.#key}" is not finite for an image`, { layer: this.#key }
        )
      }
      addSet(batch, positions, means, variances)
      this.spread.add(means, variances)
    }
    addSet(this.moments, batch.count, batch.mean, varianceOf(batch))
    if (this.running !== undefined) this.#average(this.running, batch)
  }

  #average (running: RunningAverage, batch: Moments): void {
    if (batch.count < 2) {
      throw calibrationErrors.CALIBRATION_BATCH_TOO_SMALL(
        `layer "${this.#key}" sees one value per channel in a batch, which has no unbiased variance; use larger batches`,
        { layer: this.#key, expected: 'at least 2 values per channel', received: batch.count }
      )
    }
    running.batches++
    const weight = this.#momentum ?? 1 / running.batches
    const variance = unbiasedVarianceOf(batch)
    const { estimate } = running
    for (let channel = 0; channel < variance.length; channel++) {
      estimate.mean[channel]! += weight * (batch.mean[channel]! - estimate.mean[channel]!)
      estimate.variance[channel]! += weight * (variance[channel]! - estimate.variance[channel]!)
    }
  }

  /** Pooled, or the running average where there is one. */
  get estimate (): Estimate {
    return this.running?.estimate ?? { mean: this.moments.mean, variance: varianceOf(this.moments) }
  }
}

/** Where running averages begin: at given statistics, or at PyTorch's fresh buffers, 0 and 1. */
export function runningFrom (channels: number, start: LayerStatistics | undefined, batches: number): RunningAverage {
  return {
    estimate: start === undefined
      ? { mean: new Float64Array(channels), variance: new Float64Array(channels).fill(1) }
      : { mean: Float64Array.from(start.mean), variance: Float64Array.from(start.variance) },
    batches
  }
}
