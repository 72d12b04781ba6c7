/**
 * Whether the last pictures of a stream, taken together, are those of one domain. Each alone may be: dark, noisy ones
 * lie where many of the domain's own do, and give themselves away by lying nowhere else.
 *
 *   each picture   an e-value for every bet (bets.ts): at most 1 on average while the picture is one of the domain's
 *   together       E = the weighted mean over the bets of the product of their e-values over the last LAST pictures
 *                  that count (thinning.ts); an e-value as long as those do not depend on each other (Vovk & Wang,
 *                  E-values: calibration, combination and applications, Annals of Statistics 49 (2021), section 4)
 *   p-value        ALLOWANCE / (CONFIDENCE x E), at most 1: below p with probability p / ALLOWANCE at most (Markov), at
 *                  any one time, over held-back samples of which the band holds with CONFIDENCE (reference-band.ts)
 *
 * What holds under any dependence cannot tell: twice the mean of p-values (Vovk & Wang, Combining p-values via
 * averaging, Biometrika 107 (2020)) is 0.8 for dark, noisy pictures, whose median is 0.42, and the mean of e-values is
 * no larger than the largest, about 4 in the middle. So the assumption is thinning's: that pictures that count are as
 * good as independent. ALLOWANCE is for what it misses of that.
 */
import { CONFIDENCE, cellOf } from './reference-band.js'
import { termsOf } from './bets.js'
import { counts, newThinning, type Thinning } from './thinning.js'
import { deviationsOf, scoreOf, type Signature } from '../signature/signature.js'

/** Counted pictures that are judged together. */
export const LAST = 64

/**
 * By how much more evidence is asked for. With it consecutive pictures of all shipped domains keep to the threshold,
 * also those of fog that was drawn anew for each frame, which thinning takes for less alike than they are.
 */
export const ALLOWANCE = 100

export class FitWindow {
  readonly #signature: Signature
  readonly #thinning: Thinning = newThinning()
  /** Of the pictures that counted, the latest last. */
  readonly #cells: number[] = []
  #p = 1

  /** For pictures of the domain with this signature. */
  constructor (signature: Signature) {
    this.#signature = signature
  }

  /** Takes a picture in, by its features and some of its values; what is no number goes nowhere. */
  add (features: Float64Array, values: Float32Array): void {
    const score = scoreOf(this.#signature, features)
    const z = deviationsOf(this.#signature, features)
    if (!Number.isFinite(score) || !z.every(Number.isFinite) || !counts(this.#thinning, z, values)) return
    const { band } = termsOf(this.#signature)
    this.#cells.push(cellOf(band, score))
    if (this.#cells.length > LAST) this.#cells.shift()
    this.#p = Math.min(1, ALLOWANCE / CONFIDENCE * Math.exp(-this.#logEvidence()))
  }

  isFor (signature: Signature): boolean {
    return this.#signature === signature
  }

  /** Of the last pictures together, in (0, 1]; 1 before there are any. */
  get p (): number {
    return this.#p
  }

  /** ln E. */
  #logEvidence (): number {
    const { bets: { count, logWeights, logPays } } = termsOf(this.#signature)
    const logs = logWeights.map((weight, bet) => {
      return this.#cells.reduce((sum, cell) => sum + logPays[cell * count + bet]!, weight)
    })
    const largest = Math.max(...logs)
    return largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0))
  }
}
