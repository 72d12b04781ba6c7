/**
 * Bets against "pictures are still those of the domain", as e-values: what a stake of 1 becomes, at most 1 on average
 * while nothing has changed. A bet puts `share` of the stake down and keeps the rest.
 *
 *   power bets      on strange scores: what is put down pays by a power of the p-value, kappa p^(kappa - 1) (Vovk,
 *                   Nouretdinov & Gammerman 2003), averaged over each cell of the band. It falls with p, so it pays 1
 *                   or less on average where p-values are larger than they should be. Kappa 0 bets on the strangest
 *   histogram bets  on a middle region: what is put down pays 1 over the region's share. They find pictures that are
 *                   too much alike: darkness and noise may look more like a domain than its own pictures do
 *
 * Shares from small to large fit drift of a few pictures in a hundred up to all of them. Which bet applies need not be
 * known, because detectors add up over all of them by `weights` (change-detector.ts).
 */
import { referenceBand, type ReferenceBand, type Region } from './reference-band.js'

const POWERS = [0, 0.25, 0.5, 0.75]
const SHARES = [0.03, 0.1, 0.3, 0.9]
const MIDDLE_SHARES = [0.3, 0.9]

export interface Bets {
  readonly count: number
  /** ln of the weight of each bet; the weights sum to 1. */
  readonly logWeights: Float64Array
  /** ln of what each bet pays, by cell: cells x bets. */
  readonly logPays: Float64Array
  /** ln of what all bets by their weights pay together, by cell. */
  readonly logMean: Float64Array
}

export function betsAgainst ({ thresholds, tails, middles }: ReferenceBand): Bets {
  const cells = thresholds.length + 1
  const powers = POWERS.flatMap((power) => {
    const paid = powerPays(tails, cells, power)
    return SHARES.map((share) => paid.map((pay) => 1 - share + share * pay))
  })
  const histograms = middles.flatMap(({ first, end, share: mass }) => MIDDLE_SHARES.map((share) => {
    return Array.from({ length: cells }, (_, cell) => 1 - share + (cell >= first && cell < end ? share / mass : 0))
  }))
  const pays = [...powers, ...histograms]
  const weights = pays.map((_, bet) => 0.5 / (bet < powers.length ? powers.length : histograms.length))
  const byCell = Array.from({ length: cells }, (_, cell) => pays.map((paid) => paid[cell]!))
  return {
    count: pays.length,
    logWeights: Float64Array.from(weights, Math.log),
    logPays: Float64Array.from(byCell.flat(), Math.log),
    logMean: Float64Array.from(byCell, (paid) => {
      return Math.log(paid.reduce((sum, pay, bet) => sum + weights[bet]! * pay, 0))
    })
  }
}

/** By cell: the power bet averaged between the bounds of the tails, of which the last is 1. */
function powerPays (tails: readonly Region[], cells: number, power: number): number[] {
  let low = 0
  return [...tails, { first: 0, end: cells, share: 1 }].flatMap(({ end, share: high }, at) => {
    const pay = (integral(high, power) - integral(low, power)) / (high - low)
    low = high
    return Array<number>(end - (tails[at - 1]?.end ?? 0)).fill(pay)
  })
}

/** Of the power bet from 0 to p; with power 0 all of it lies in the first tail. */
function integral (p: number, power: number): number {
  if (power > 0) return p ** power
  return p > 0 ? 1 : 0
}

/** What pictures of a domain are held against. */
export interface Terms {
  readonly band: ReferenceBand
  readonly bets: Bets
}

const terms = new WeakMap<ArrayLike<number>, Terms>()

/** Of held-back scores as `referenceBand` takes them, which stay as they are; made once for each of them. */
export function termsOf (scores: ArrayLike<number>): Terms {
  let known = terms.get(scores)
  if (known === undefined) {
    const band = referenceBand(scores)
    terms.set(scores, known = { band, bets: betsAgainst(band) })
  }
  return known
}
