/**
 * The detector: a Shiryaev-Roberts sum over betting martingales, one begun at every picture, for every bet.
 *
 *   R_0 = 0,  R_t = (1 + R_(t-1)) e_t  for each bet,  M_t = the weighted mean of R_t over the bets
 *
 * While nothing has changed E[e_t | past] <= 1, so M_t - t is a supermartingale and the time N at which M reaches A has
 * E[N] >= E[M_N] >= A: the average run length to a false alarm is at least A, whatever the scores' distribution (Shin,
 * Ramdas & Rinaldo, E-detectors, New England Journal of Statistics in Data Science 2 (2024), section 2: such sums are
 * e-detectors, and mixtures of e-detectors are). An alarm sets M to 0, which lowers A times the alarms plus M minus t
 * no less than that: by t pictures there are at most t / A false alarms on average, and over several detectors whose
 * pictures are counted together at most that many in all.
 *
 * The bound on e_t holds for a held-back sample of which the band holds, with CONFIDENCE. So A is the dial over
 * CONFIDENCE: averaged over samples, E[N] >= CONFIDENCE x A = the dial.
 *
 * Everything is kept as logarithms: a stream that drifts would leave float64 within a hundred pictures.
 */
import { CONFIDENCE, logAdd } from './reference-band.js'
import type { Bets } from './bets.js'

/** ln A, of a dial in pictures per false alarm. */
export function logThreshold (pictures: number): number {
  return Math.log(pictures / CONFIDENCE)
}

/** An e-value of this size comes up at most one time in twenty while nothing has changed (Markov). */
const TELLING = 20

export class ChangeDetector {
  readonly #bets: Bets
  /** ln R of each bet. */
  readonly #logR: Float64Array
  /** ln of the CUSUM of all bets together, which tells since when it speaks for a change. */
  #logCusum = 0
  #begin: number | undefined
  #logStatistic = -Infinity
  #pictures = 0

  constructor (bets: Bets) {
    this.#bets = bets
    this.#logR = new Float64Array(bets.count).fill(-Infinity)
  }

  /**
   * Takes the cell of the next picture in; `at` is its time, in any unit. Other bets, as many, are for a picture that
   * is compared with another sample.
   */
  add (cell: number, at: number, bets = this.#bets): void {
    const { count, logWeights, logPays, logMean } = bets
    let largest = -Infinity
    for (let bet = 0; bet < count; bet++) {
      const logR = logAdd(0, this.#logR[bet]!) + logPays[cell * count + bet]!
      this.#logR[bet] = logR
      if (logR > largest) largest = logR
    }
    let sum = 0
    for (let bet = 0; bet < count; bet++) sum += Math.exp(this.#logR[bet]! - largest + logWeights[bet]!)
    this.#logStatistic = largest + Math.log(sum)
    this.#logCusum = Math.max(0, this.#logCusum + logMean[cell]!)
    if (this.#logCusum === 0) this.#begin = undefined
    else this.#begin ??= at
    this.#pictures++
  }

  /** ln M. */
  get logStatistic (): number {
    return this.#logStatistic
  }

  /** M over the pictures so far: an e-value, at most 1 on average at any fixed time while nothing has changed. */
  get eValue (): number {
    return this.#pictures === 0 ? 0 : Math.exp(this.#logStatistic - Math.log(this.#pictures))
  }

  /** Whether there is some evidence for a change, if no alarm. */
  get isTelling (): boolean {
    return this.eValue >= TELLING
  }

  /** Since the beginning, or the last reset. */
  get pictures (): number {
    return this.#pictures
  }

  /** The time of the picture that the present run of evidence begins with (Page's CUSUM); undefined without any. */
  get since (): number | undefined {
    return this.#begin
  }

  /** After an alarm. */
  reset (): void {
    this.#logR.fill(-Infinity)
    this.#logStatistic = -Infinity
    this.#logCusum = 0
    this.#begin = undefined
    this.#pictures = 0
  }
}
