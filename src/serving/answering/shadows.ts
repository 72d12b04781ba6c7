/**
 * Shadow runs: what the active version has answered is run once more under a candidate, and the answers are compared.
 *
 *  - a shadow runs when nothing waits and a thread is idle besides two that are kept free for requests, one run at a
 *    time; with a single thread a request may have to wait for one such run
 *  - what waits for that moment is a copy, bounded in rows and bytes; beyond, it is dropped and counted
 *  - nothing that goes wrong here reaches the request
 */
import { LRUCache } from 'lru-cache'
import { byteLength, concatenateRows, sliceRows, type Tensors } from '../../ort/rows.js'
import { resolveIn } from '../domain-reference.js'
import { bankToRun, type BankSources } from '../banks-to-run.js'
import { leaseKey } from '../leases.js'
import { loneRow } from '../lone-row.js'
import { addComparison, compareRows, NOTHING_COMPARED, type Comparison } from './compare-rows.js'
import type { Group } from './inference.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankStore } from '../../store/bank-store.js'
import type { Metrics } from '../../observability/metrics.js'
import type { ReadyModel } from '../model-states.js'

export const WAITING_ROWS_MAX = 256
export const WAITING_BYTES_MAX = 32 * 2 ** 20

/** Threads, where there are as many; an express one may be among them. */
const KEPT_FREE = 2

/** Domains whose comparison is remembered; the one not seen for longest goes. */
const REPORTS_MAX = 1000

export interface ShadowReport extends Comparison {
  version: number
  /** The version that it was compared with. */
  active: number
  droppedRows: number
  failedRows: number
  /** ISO 8601, UTC. */
  since: string
}

interface Trial {
  model: ReadyModel
  group: Group
  outputs: Tensors
  bytes: number
}

/** What shadow runs need. */
export interface ShadowNeeds extends BankSources {
  store: Pick<BankStore, 'domain' | 'read'>
  pool: Pick<InferencePool, 'submit' | 'backlog' | 'workers'>
  metrics: Pick<Metrics, 'countShadow'>
  runRows: number
}

export class Shadows {
  readonly #needs: ShadowNeeds
  readonly #random: () => number
  readonly #reports = new LRUCache<string, ShadowReport>({ max: REPORTS_MAX })
  readonly #waiting: Trial[] = []
  #rows = 0
  #bytes = 0
  #isRunning = false

  /** `random` gives numbers in [0, 1). */
  constructor (needs: ShadowNeeds, random: () => number = Math.random) {
    this.#needs = needs
    this.#random = random
  }

  /** Rows of the active version and their outputs, which are copied if they are to run again; never throws. */
  offer (model: ReadyModel, group: Group, outputs: Tensors): void {
    const { record: { shadow, active }, version } = group.resolved
    if (shadow === undefined || version.version !== active || this.#random() * 100 >= shadow.percent) return
    const runRows = this.#runRows(model, group)
    for (let first = 0; first < group.rows; first += runRows) {
      const rows = Math.min(runRows, group.rows - first)
      const cut = (all: Tensors) => rows === group.rows ? all : sliceRows(all, first, rows)
      this.#add(model, { ...group, feeds: cut(group.feeds), rows }, cut(outputs))
    }
    this.pump()
  }

  #runRows ({ artefact: { proof: { isRowInvariant } }, memory }: ReadyModel, { feeds, rows }: Group): number {
    if (!isRowInvariant) return rows
    return memory.keepsOf(feeds) === 'nothing' ? 1 : this.#needs.runRows
  }

  /** Runs the next trial if the pool has nothing better to do; to be called whenever it may have become idle. */
  pump (): void {
    const [trial] = this.#waiting
    if (trial === undefined || this.#isRunning) return
    const { backlog, workers: { ready, busy } } = this.#needs.pool
    const keptFree = Math.min(KEPT_FREE, ready - 1)
    if (backlog.rows > 0 || busy >= ready - keptFree) return
    this.#waiting.shift()
    this.#rows -= trial.group.rows
    this.#bytes -= trial.bytes
    this.#isRunning = true
    void this.#run(trial).finally(() => {
      this.#isRunning = false
      this.pump()
    })
  }

  /** What is known of a domain's shadow; undefined before the first row. */
  report (model: string, domain: string, version: number): ShadowReport | undefined {
    const report = this.#reports.get(leaseKey(model, domain, ''))
    return report?.version === version ? report : undefined
  }

  forget (model: string, domain: string): void {
    this.#reports.delete(leaseKey(model, domain, ''))
  }

  /** Trials that wait. */
  get backlog (): { rows: number, bytes: number } {
    return { rows: this.#rows, bytes: this.#bytes }
  }

  #add (model: ReadyModel, group: Group, outputs: Tensors): void {
    const { rows, feeds } = group
    const bytes = byteLength(feeds) + byteLength(outputs)
    if (this.#rows + rows > WAITING_ROWS_MAX || !(this.#bytes + bytes <= WAITING_BYTES_MAX)) {
      this.#note(model, group, 'dropped')
      return
    }
    const copy = { ...group, feeds: concatenateRows([feeds]) }
    this.#waiting.push({ model, group: copy, outputs: concatenateRows([outputs]), bytes })
    this.#rows += rows
    this.#bytes += bytes
  }

  async #run ({ model, group, outputs }: Trial): Promise<void> {
    const { pool, store } = this.#needs
    const { name } = model.entry.manifest
    const { record } = group.resolved
    try {
      const resolved = resolveIn(store.domain(name, record.domain) ?? record, {
        domain: record.domain, version: record.shadow!.version
      })
      const bank = await bankToRun(this.#needs, model, resolved)
      const job = { ...loneRow(model, '', bank, group.feeds, Object.keys(outputs)), rows: group.rows }
      const [result] = await pool.submit([job])
      if (this.#isGone(model, group)) return
      this.#compare(model, group, outputs, result!.outputs)
    } catch {
      if (!this.#isGone(model, group)) this.#note(model, group, 'failed')
    }
  }

  /** A domain that was removed meanwhile is not counted: it would have a report and metrics again. */
  #isGone ({ entry: { manifest: { name } } }: ReadyModel, { resolved: { record } }: Group): boolean {
    return this.#needs.store.domain(name, record.domain) === undefined
  }

  #compare (model: ReadyModel, group: Group, outputs: Tensors, received: Tensors): void {
    const { manifest } = model.entry
    const classOutput = manifest.task === 'classification' ? manifest.output.name : undefined
    const comparison = compareRows(outputs, received, group.rows, classOutput)
    addComparison(this.#reportOf(model, group), comparison)
    this.#needs.metrics.countShadow(manifest.name, group.resolved.record.domain, {
      ...comparison, droppedRows: 0, failedRows: 0
    })
  }

  #note (model: ReadyModel, group: Group, what: 'dropped' | 'failed'): void {
    const report = this.#reportOf(model, group)
    report[`${what}Rows`] += group.rows
    this.#needs.metrics.countShadow(model.entry.manifest.name, group.resolved.record.domain, {
      ...NOTHING_COMPARED, droppedRows: 0, failedRows: 0, [`${what}Rows`]: group.rows
    })
  }

  /** Another candidate, or another active version, begins from nothing. */
  #reportOf ({ entry: { manifest: { name } } }: ReadyModel, { resolved: { record, version } }: Group): ShadowReport {
    const key = leaseKey(name, record.domain, '')
    const known = this.#reports.get(key)
    if (known?.version === record.shadow!.version && known.active === version.version) return known
    const fresh = noReport(record.shadow!.version, version.version)
    this.#reports.set(key, fresh)
    return fresh
  }
}

/** A report of nothing yet. */
export function noReport (version: number, active: number): ShadowReport {
  return { version, active, ...NOTHING_COMPARED, droppedRows: 0, failedRows: 0, since: new Date().toISOString() }
}
