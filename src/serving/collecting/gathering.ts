/**
 * What is kept of a stream whose pictures may fit no domain: whether they do, and the sums of those that do not.
 * Pictures themselves stay only until the next batch of them is observed.
 */
import { termsOf } from '../../drift/bets.js'
import { ChangeDetector, logThreshold } from '../../drift/change-detector.js'
import { cellOf } from '../../drift/reference-band.js'
import { counts, newThinning } from '../../drift/thinning.js'
import { byteLength, shapeKey, type Tensors } from '../../ort/rows.js'
import { deviationsOf, scoreOf } from '../../signature/signature.js'
import type { Contribution } from '../../calibration/contributions.js'
import type { LookedAt } from '../watching/drift.js'

/** Counted pictures without an alarm after which a stream fits again. */
const CALM = 256

/** Rows of features that a candidate's signature is made of. */
const FEATURE_ROWS_MAX = 512

/** Pictures that are observed at once, by which each layer is normalised meanwhile. No more of a stream wait for it. */
export const BATCH = 64

/** How a version reads in texts. */
export interface BaseVersion {
  domain: string
  version: number
}

export class Gathering {
  readonly #logThreshold: number
  readonly #thinning = newThinning()
  #detector: ChangeDetector | undefined
  #unrest = 0
  /** The version that the sums were taken under. */
  base: BaseVersion | undefined
  sums: Contribution | undefined
  #features: Float64Array[] = []
  #waiting: Tensors[] = []
  /** When the first of the rows that wait came. */
  waitingSince = 0

  /** `dial` is in pictures for each stream that is wrongly found to fit no domain. */
  constructor (dial: number) {
    this.#logThreshold = logThreshold(dial)
  }

  /** Takes a row in; true when it counts and belongs to pictures that fit no domain. */
  isStrange ({ features, values, nearest, at }: LookedAt): boolean {
    const z = deviationsOf(nearest, features)
    const score = scoreOf(nearest, features)
    if (!Number.isFinite(score) || !z.every(Number.isFinite) || !counts(this.#thinning, z, values)) return false
    const { band, bets } = termsOf(nearest.scores)
    this.#detector ??= new ChangeDetector(bets)
    this.#detector.add(cellOf(band, score), at, bets)
    if (this.#detector.logStatistic >= this.#logThreshold) {
      this.#detector.reset()
      this.#unrest = CALM
    } else if (this.#unrest > 0) {
      this.#unrest--
    }
    return this.#unrest > 0
  }

  /**
   * Keeps a row for the next batch, in which all have one size, if `hasRoom` for all bytes of the batch when this is
   * its first. Sums under another version begin anew.
   */
  keep ({ resolved, feeds, features, at }: LookedAt, hasRoom: (bytes: number) => boolean): void {
    const { record: { domain }, version: { version } } = resolved
    if (this.base?.domain !== domain || this.base.version !== version) {
      this.base = { domain, version }
      this.sums = undefined
      this.#features = []
      this.#waiting = []
    }
    const [first] = this.#waiting
    if (first === undefined) {
      if (!hasRoom(BATCH * byteLength(feeds))) return
      this.waitingSince = at
    } else if (this.#waiting.length >= BATCH || shapeKey(first) !== shapeKey(feeds)) {
      return
    }
    this.#waiting.push(feeds)
    if (this.#features.length < FEATURE_ROWS_MAX) this.#features.push(features)
  }

  /** The next batch, when there are enough rows of one size for it; they are not kept any longer. */
  takeBatch (): Tensors[] | undefined {
    return this.#waiting.length < BATCH ? undefined : this.#waiting.splice(0, BATCH)
  }

  /** Of the whole batch that rows wait for; 0 while none do. */
  get batchBytes (): number {
    const [first] = this.#waiting
    return first === undefined ? 0 : BATCH * byteLength(first)
  }

  /** Whether pictures fit no domain, or begin to look so. */
  get isTelling (): boolean {
    return this.#unrest > 0 || this.#detector?.isTelling === true
  }

  /** Forgets rows that wait. */
  drop (): void {
    this.#waiting = []
  }

  get features (): readonly Float64Array[] {
    return this.#features
  }

  get images (): number {
    return this.sums?.images ?? 0
  }
}
