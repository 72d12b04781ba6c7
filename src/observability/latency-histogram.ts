/**
 * Latencies counted in buckets whose bounds grow by one factor, so that any quantile is told within that factor,
 * whatever the latencies are.
 */

export const BUCKETS = 64

const LOWEST_MS = 0.05
/** The last bucket begins at 42 s. */
const GROWTH = 1.24

const LOG_GROWTH = Math.log(GROWTH)

/** The bucket of a latency in ms; the first takes all that are lower, the last all that are higher. */
export function bucketOf (ms: number): number {
  if (!(ms > LOWEST_MS)) return 0
  return Math.min(BUCKETS - 1, 1 + Math.floor(Math.log(ms / LOWEST_MS) / LOG_GROWTH))
}

/**
 * The latency in ms below which the share `q` (0 to 1) of what was counted lies, spread evenly on a logarithmic scale
 * within its bucket; undefined when nothing was counted.
 */
export function quantileOf (counts: ArrayLike<number>, q: number): number | undefined {
  let total = 0
  for (let at = 0; at < BUCKETS; at++) total += counts[at]!
  if (total === 0) return undefined
  let left = q * total
  for (let at = 0; at < BUCKETS; at++) {
    const count = counts[at]!
    if (count > 0 && left <= count) {
      return at === 0 ? LOWEST_MS : LOWEST_MS * GROWTH ** (at - 1 + Math.max(0, left) / count)
    }
    left -= count
  }
  return LOWEST_MS * GROWTH ** (BUCKETS - 1)
}
