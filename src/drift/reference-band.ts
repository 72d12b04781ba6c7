/**
 * What a finite held-back sample can promise of scores that come later.
 *
 * A p-value against a sample of n scores is uniform on average over samples, but not against the one sample that is
 * fixed: over a million pictures its error, of the order of 1 / sqrt(n), would be found as if it were drift. So
 * p-values are not used as they come. Between two held-back scores whose ranks lie m apart, the true share of in-domain
 * scores has the law Beta(m, n + 1 - m), whatever the scores' distribution, as long as it has no ties, which distances
 * of pictures do not have; its upper confidence bound (Clopper & Pearson 1934) stands for it. The bounds of all regions
 * that are bet on hold together with CONFIDENCE (Bonferroni), for as long as the sample is used. Beyond the largest
 * scores, where drift shows most, such bounds are far closer than those of Dvoretzky, Kiefer and Wolfowitz:
 * ln(1 / delta) / n where theirs is sqrt(ln(2 / delta) / 2n).
 */
import assert from 'node:assert'
import { LRUCache } from 'lru-cache'

/** Of all bounds of a sample together. The dial pays for the rest: see change-detector.ts. */
export const CONFIDENCE = 0.95

/** Fewer scores bound nothing that matters. */
export const SCORES_MIN = 32

/** Middle regions begin and end at multiples of this share; their lengths in such steps. */
const STEPS = 8
const LENGTHS = [2, 4, 6]

const BISECTIONS = 44

/** Numbers of scores that bounds are remembered of. */
const BOUNDS_MAX = 256

/** Scores that may be bet on together: the cells from `first` to before `end`. */
export interface Region {
  readonly first: number
  readonly end: number
  /** At most this share of in-domain scores lies in it. */
  readonly share: number
}

export interface ReferenceBand {
  /** Falling held-back scores, which part the cells: cell 0 is beyond the first, the last one below all. */
  readonly thresholds: Float64Array
  /** The strangest scores: each begins at cell 0 and holds the one before. */
  readonly tails: readonly Region[]
  /** Scores that are neither the strangest nor all of the others. */
  readonly middles: readonly Region[]
}

/** By number of scores and how far apart ranks lie: they depend on nothing else, and take long. */
const bounds = new LRUCache<number, Map<number, number>>({ max: BOUNDS_MAX })

/** Of at least SCORES_MIN finite scores, larger being stranger, in any order. */
export function referenceBand (scores: ArrayLike<number>): ReferenceBand {
  const falling = Float64Array.from(scores).sort().reverse()
  const { length } = falling
  assert(length >= SCORES_MIN && falling.every(Number.isFinite), 'a reference has enough finite scores')
  const tailRanks: number[] = []
  for (let rank = 1; rank <= length / 2; rank *= 2) tailRanks.push(rank)
  const stepRanks = Array.from({ length: STEPS - 1 }, (_, at) => Math.round((at + 1) * length / STEPS))
  const ranks = [...new Set([...tailRanks, ...stepRanks])].sort((a, b) => a - b)
  const edges = [...stepRanks, length + 1]
  const middles = LENGTHS.flatMap((steps) => edges.slice(steps).map((end, at) => ({ begin: edges[at]!, end })))
  const missed = (1 - CONFIDENCE) / (tailRanks.length + middles.length)
  let known = bounds.get(length)
  if (known === undefined) bounds.set(length, known = new Map())
  const share = (apart: number) => {
    if (!known.has(apart)) known.set(apart, upperBound(apart, length, missed))
    return known.get(apart)!
  }
  const cellFrom = (rank: number) => rank > length ? ranks.length + 1 : ranks.indexOf(rank) + 1
  return {
    thresholds: Float64Array.from(ranks, (rank) => falling[rank - 1]!),
    tails: tailRanks.map((rank) => ({ first: 0, end: cellFrom(rank), share: share(rank) })),
    middles: middles.map(({ begin, end }) => {
      return { first: cellFrom(begin), end: cellFrom(end), share: share(end - begin) }
    })
  }
}

/** The cell that a finite score lies in. */
export function cellOf ({ thresholds }: Pick<ReferenceBand, 'thresholds'>, score: number): number {
  let cell = 0
  while (cell < thresholds.length && !(score > thresholds[cell]!)) cell++
  return cell
}

/** The share u at which fewer than `hits` of `count` draws fall into it with probability `missed`. */
function upperBound (hits: number, count: number, missed: number): number {
  let [low, high] = [0, 1]
  for (let step = 0; step < BISECTIONS; step++) {
    const middle = (low + high) / 2
    if (logBinomialBelow(hits, count, middle) > Math.log(missed)) low = middle
    else high = middle
  }
  return high
}

/** ln P(Binomial(count, share) < hits), for a share in (0, 1) and at least one hit. */
export function logBinomialBelow (hits: number, count: number, share: number): number {
  const logOdds = Math.log(share) - Math.log1p(-share)
  let term = count * Math.log1p(-share)
  let sum = term
  for (let hit = 1; hit < hits; hit++) {
    term += Math.log((count - hit + 1) / hit) + logOdds
    sum = logAdd(sum, term)
  }
  return sum
}

/** ln(e^a + e^b). */
export function logAdd (a: number, b: number): number {
  const [small, large] = a < b ? [a, b] : [b, a]
  return large === -Infinity ? large : large + Math.log1p(Math.exp(small - large))
}
