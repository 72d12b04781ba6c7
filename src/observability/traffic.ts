/**
 * What each version of each domain has been asked and how long it took, as the statistics extension of the Open
 * Inference Protocol reports it. A run that requests share counts once, each of them by its share of the rows.
 */

import { RecentTraffic } from './recent-traffic.js'

/** How many versions are counted; beyond, what was used longest ago is forgotten. */
const COUNTED_MAX = 10_000

export interface AnsweredRequest {
  rows: number
  queueMs: number
  /** Reading and checking the request. */
  inputMs: number
  /** In all its runs. */
  inferMs: number
  runs: ReadonlyArray<{ rows: number, runRows: number, inferMs: number }>
}

export interface Counted {
  count: number
  ms: number
}

export interface Traffic {
  /** Milliseconds since 1970; 0 for never. */
  lastInference: number
  rows: number
  runs: number
  success: Counted
  fail: Counted
  queue: Counted
  input: Counted
  infer: Counted
  output: Counted
  /** By rows of a run. */
  byRunRows: Map<number, Counted>
}

export class TrafficBook {
  /** The last hour of it. */
  readonly recent = new RecentTraffic()
  readonly #entries = new Map<string, Traffic>()

  /** The key names model, domain and version. */
  countAnswered (key: string, { rows, queueMs, inputMs, inferMs: runMs, runs }: AnsweredRequest): void {
    this.recent.countAnswered(key, inputMs + queueMs + runMs)
    const entry = this.#entryOf(key)
    entry.lastInference = Date.now()
    entry.rows += rows
    let inferMs = 0
    for (const run of runs) {
      const share = run.rows / run.runRows
      entry.runs += share
      inferMs += run.inferMs * share
      let batch = entry.byRunRows.get(run.runRows)
      if (batch === undefined) entry.byRunRows.set(run.runRows, batch = { count: 0, ms: 0 })
      add(batch, run.inferMs * share, share)
    }
    add(entry.success, queueMs + inputMs + inferMs)
    add(entry.queue, queueMs)
    add(entry.input, inputMs)
    add(entry.infer, inferMs)
  }

  /** The answer follows the request that was counted, unless its version was removed meanwhile. */
  countOutput (key: string, ms: number): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    add(entry.output, ms)
    add(entry.success, ms, 0)
  }

  countFailed (key: string, ms: number): void {
    this.recent.countFailed(key)
    add(this.#entryOf(key).fail, ms)
  }

  /** All zero for what was never asked. */
  of (key: string): Traffic {
    return this.#entries.get(key) ?? noTraffic()
  }

  forget (key: string): void {
    this.recent.forget(key)
    this.#entries.delete(key)
  }

  #entryOf (key: string): Traffic {
    const entry = this.#entries.get(key) ?? noTraffic()
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    if (this.#entries.size > COUNTED_MAX) this.#entries.delete(this.#entries.keys().next().value!)
    return entry
  }
}

/** The sum over several versions. */
export function sumOfTraffic (all: readonly Traffic[]): Traffic {
  const sum = noTraffic()
  for (const one of all) {
    sum.lastInference = Math.max(sum.lastInference, one.lastInference)
    sum.rows += one.rows
    sum.runs += one.runs
    for (const part of ['success', 'fail', 'queue', 'input', 'infer', 'output'] as const) {
      add(sum[part], one[part].ms, one[part].count)
    }
    for (const [rows, { count, ms }] of one.byRunRows) {
      const batch = sum.byRunRows.get(rows) ?? { count: 0, ms: 0 }
      add(batch, ms, count)
      sum.byRunRows.set(rows, batch)
    }
  }
  return sum
}

function add (counted: Counted, ms: number, count = 1): void {
  counted.count += count
  counted.ms += ms
}

function noTraffic (): Traffic {
  const nothing = () => ({ count: 0, ms: 0 })
  return {
    lastInference: 0,
    rows: 0,
    runs: 0,
    success: nothing(),
    fail: nothing(),
    queue: nothing(),
    input: nothing(),
    infer: nothing(),
    output: nothing(),
    byRunRows: new Map()
  }
}
