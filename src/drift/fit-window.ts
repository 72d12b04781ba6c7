/**
 * Whether the last pictures of a stream, taken together, are those of one domain. Each alone may be: dark, noisy ones
 * lie where many of the domain's own do, and give themselves away by lying nowhere else.
 *
 *   each picture   an e-value for every bet (bets.ts): at most 1 on average while the picture is one of the domain's
 *   together       E = the weighted mean over the bets of the product of their e-values over the last LAST pictures
 *                  that count (thinning.ts); an e-value as long as those do not depend on each other (Vovk & Wang,
 *                  E-values: calibration, combination and applications, Annals of Statistics 49 (2021), section 4)
 *   p-value        ALLOWANCE / E, at most 1: below p with probability p / ALLOWANCE at most (Markov), at any one time,
 *                  for a signature whose band holds, as that of 19 in 20 does (reference-band.ts)
 *
 * What holds under any dependence cannot tell: twice the mean of p-values (Vovk & Wang, Combining p-values via
 * averaging, Biometrika 107 (2020)) is 0.8 for dark, noisy pictures, whose median is 0.42, and the mean of e-values is
 * no larger than the largest, about 4 in the middle. So the assumption is thinning's: that pictures that count are as
 * good as independent. ALLOWANCE is for what it misses of that. Which pictures are given to a window must not depend on
 * themselves: of those that were chosen for being nearest to a domain more lie in its middle than of all its own.
 */
import { cellOf } from './reference-band.js'
import { termsOf, type Terms } from './bets.js'
import { counts, newThinning, type Thinning } from './thinning.js'
import type { SeenPicture } from './domain-watch.js'
import type { Signature } from '../signature/signature.js'

/** Counted pictures that are judged together. */
export const LAST = 64

/**
 * By how much more evidence is asked for. With it verdicts on streams of consecutive pictures of all shipped domains
 * keep to the threshold, also on those of fog that was drawn anew for each frame, which thinning takes for less alike
 * than they are. Verdicts on each picture alone come on top: the two add up, for that fog to more than the threshold.
 */
export const ALLOWANCE = 100

export class FitWindow {
  readonly #terms: Terms
  readonly #thinning: Thinning = newThinning()
  /** Of the pictures that counted, the latest last. */
  readonly #cells: number[] = []
  #p = 1

  /** For pictures of the domain with this signature, which is not kept: it may go with its version. */
  constructor (signature: Signature) {
    this.#terms = termsOf(signature.scores)
  }

  /** Takes a picture in, as the signature sees it; what is no number goes nowhere. */
  add ({ score, z, values }: Pick<SeenPicture, 'score' | 'z' | 'values'>): void {
    if (!Number.isFinite(score) || !z.every(Number.isFinite) || !counts(this.#thinning, z, values)) return
    this.#cells.push(cellOf(this.#terms.band, score))
    if (this.#cells.length > LAST) this.#cells.shift()
    this.#p = Math.min(1, ALLOWANCE * Math.exp(-this.#logEvidence()))
  }

  isFor (signature: Signature): boolean {
    return this.#terms === termsOf(signature.scores)
  }

  /** Of the last pictures together, in (0, 1]; 1 before there are any. */
  get p (): number {
    return this.#p
  }

  /** ln E. */
  #logEvidence (): number {
    const { count, logWeights, logPays } = this.#terms.bets
    const logs = logWeights.map((weight, bet) => {
      return this.#cells.reduce((sum, cell) => sum + logPays[cell * count + bet]!, weight)
    })
    const largest = Math.max(...logs)
    return largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0))
  }
}
