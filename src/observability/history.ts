/** The service's own last hour: latency by stage, and the highest of each gauge, in slots, kept in memory. */
import { BUCKETS, bucketOf, quantileOf } from './latency-histogram.js'
import { SLOT_MS, SLOTS } from './recent-traffic.js'
import { TimeRing } from './time-ring.js'
import { STAGES, type Stage } from './stages.js'

const SAMPLE_MS = 5_000

/** What is looked at, by name. */
export type Sampled = Readonly<Record<string, () => number>>

export interface StageHistory {
  /** In ms, by slot; null where no request was answered. */
  p50Ms: Array<number | null>
  p99Ms: Array<number | null>
}

export class History {
  readonly #now: () => number
  readonly #stages: TimeRing<Uint32Array>
  #sampled: Sampled = {}
  #gauges: TimeRing<Float64Array> | undefined
  #timer: NodeJS.Timeout | undefined

  /** `now` gives ms since some beginning, and never goes back. */
  constructor (now: () => number = () => performance.now()) {
    this.#now = now
    this.#stages = new TimeRing(SLOT_MS, SLOTS, new Uint32Array(SLOTS * BUCKETS * STAGES.length))
  }

  observeStage (stage: Stage, ms: number): void {
    this.#stages.count(this.#now(), STAGES.indexOf(stage) * BUCKETS + bucketOf(ms))
  }

  /** Looks at these from now on, until `stop`. */
  start (sampled: Sampled): void {
    this.stop()
    this.#sampled = sampled
    // Each beside a mark that there was a sample at all.
    this.#gauges = new TimeRing(SLOT_MS, SLOTS, new Float64Array(SLOTS * 2 * Object.keys(sampled).length))
    this.#timer = setInterval(() => this.sample(), SAMPLE_MS).unref()
    this.sample()
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  sample (): void {
    const slot = this.#gauges?.at(this.#now())
    for (const [at, read] of Object.values(this.#sampled).entries()) {
      slot![2 * at] = Math.max(slot![2 * at]!, read())
      slot![2 * at + 1] = 1
    }
  }

  /** Requests answered by slot, the present one last. */
  get requests (): number[] {
    const total = STAGES.indexOf('total') * BUCKETS
    return this.#stages.last(this.#now(), SLOTS).map((slot) => {
      return slot.subarray(total, total + BUCKETS).reduce((sum, count) => sum + count, 0)
    })
  }

  /** The present one last. */
  stage (stage: Stage): StageHistory {
    const begin = STAGES.indexOf(stage) * BUCKETS
    const slots = this.#stages.last(this.#now(), SLOTS).map((slot) => slot.subarray(begin, begin + BUCKETS))
    const quantiles = (q: number) => slots.map((counts) => {
      const ms = quantileOf(counts, q)
      return ms === undefined ? null : Number(ms.toPrecision(3))
    })
    return { p50Ms: quantiles(0.5), p99Ms: quantiles(0.99) }
  }

  /** By name and slot, the present one last; null where there was no sample. */
  get gauges (): Record<string, Array<number | null>> {
    const slots = this.#gauges?.last(this.#now(), SLOTS) ?? []
    return Object.fromEntries(Object.keys(this.#sampled).map((name, at) => {
      return [name, slots.map((slot) => slot[2 * at + 1] === 0 ? null : slot[2 * at]!)]
    }))
  }

  /** What is looked at, as it is now. */
  get present (): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#sampled).map(([name, read]) => [name, read()]))
  }
}
