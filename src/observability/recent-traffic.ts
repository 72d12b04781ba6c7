/** What versions of domains were asked in the last hour, and how long it took: what the page shows, kept in memory. */
import { BUCKETS, bucketOf, quantileOf } from './latency-histogram.js'
import { TimeRing } from './time-ring.js'

export const SLOT_MS = 15_000
/** One hour. */
export const SLOTS = 240

/** Latencies are told of the last 15 minutes and what has begun of the next five. */
const LATENCY_SLOT_MS = 300_000
const LATENCY_SLOTS = 4

/** How many versions are counted, in 3 kB each; beyond, what was used longest ago is forgotten. */
const COUNTED_MAX = 2_000

/** Slots of which the present pace is the mean. */
const PACE_SLOTS = 4

interface VersionRings {
  /** Answered and failed. */
  counts: TimeRing<Uint32Array>
  latencies: TimeRing<Uint32Array>
}

export interface RecentCounts {
  /** In the last hour, failed ones too. */
  requests: number
  failures: number
  /** Over the last minute. */
  perSecond: number
  /** Of answered requests of the last quarter of an hour: reading, waiting and running. */
  p50Ms?: number
  p99Ms?: number
  /** Requests by slot, the present one last. */
  series: number[]
}

export class RecentTraffic {
  readonly #versions = new Map<string, VersionRings>()
  readonly #now: () => number

  /** `now` gives ms since some beginning, and never goes back. */
  constructor (now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** `key` names model, domain and version. */
  countAnswered (key: string, ms: number): void {
    const now = this.#now()
    const { counts, latencies } = this.#ringsOf(key)
    counts.count(now, 0)
    latencies.count(now, bucketOf(ms))
  }

  countFailed (key: string): void {
    this.#ringsOf(key).counts.count(this.#now(), 1)
  }

  forget (key: string): void {
    this.#versions.delete(key)
  }

  /** Of several versions together, with the last `slots` slots; undefined when none of them was ever asked. */
  of (keys: readonly string[], slots = SLOTS): RecentCounts | undefined {
    const known = keys.flatMap((key) => this.#versions.get(key) ?? [])
    if (known.length === 0) return undefined
    const now = this.#now()
    const counts = new Float64Array(SLOTS * 2)
    const bySlot = new Float64Array(LATENCY_SLOTS * BUCKETS)
    let length = 0
    for (const rings of known) {
      length = rings.counts.addLast(now, SLOTS, counts)
      rings.latencies.addLast(now, LATENCY_SLOTS, bySlot)
    }
    const first = SLOTS - length
    const series = Array.from({ length }, (_, at) => counts[2 * (first + at)]! + counts[2 * (first + at) + 1]!)
    let failures = 0
    for (let at = 1; at < counts.length; at += 2) failures += counts[at]!
    const latencies = new Float64Array(BUCKETS)
    for (let at = 0; at < bySlot.length; at++) latencies[at % BUCKETS]! += bySlot[at]!
    const [p50Ms, p99Ms] = [quantileOf(latencies, 0.5), quantileOf(latencies, 0.99)]
    const paceMs = Math.min(now, (PACE_SLOTS - 1) * SLOT_MS + now % SLOT_MS)
    return {
      requests: sumOf(series),
      failures,
      perSecond: sumOf(series.slice(-PACE_SLOTS)) / (Math.max(paceMs, 1) / 1000),
      ...(p50Ms === undefined ? {} : { p50Ms, p99Ms: p99Ms! }),
      series: series.slice(-slots)
    }
  }

  #ringsOf (key: string): VersionRings {
    const rings = this.#versions.get(key) ?? {
      counts: new TimeRing(SLOT_MS, SLOTS, new Uint32Array(SLOTS * 2)),
      latencies: new TimeRing(LATENCY_SLOT_MS, LATENCY_SLOTS, new Uint32Array(LATENCY_SLOTS * BUCKETS))
    }
    this.#versions.delete(key)
    this.#versions.set(key, rings)
    if (this.#versions.size > COUNTED_MAX) this.#versions.delete(this.#versions.keys().next().value!)
    return rings
  }
}

function sumOf (counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
