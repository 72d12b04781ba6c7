/**
 * The metric catalogue. Names are public API: prefix, noun, unit.
 *
 * Labels must be bounded, and domains are not: the first DOMAIN_LABELS_MAX of them keep their name, all others count
 * under OVERFLOW_LABEL.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { History } from './history.js'
import { createRecognisedCounter, type CountRecognised } from './recognised-counter.js'
import { createWatchedMetrics, type DomainLabels, type LabelsOf, type WatchedMetrics } from './watched-metrics.js'
import type { Stage } from './stages.js'

export type { Stage } from './stages.js'
export type { ShadowCounts } from './watched-metrics.js'

const DOMAIN_LABELS_MAX = 200
export const OVERFLOW_LABEL = '(other)'

/** From a small net's 0.2 ms to a queue's 30 s. */
const SECONDS_BUCKETS = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const ROWS_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

const MODEL_STATES = ['loading', 'ready', 'failed'] as const

/** Read when the metrics are scraped. */
export interface Gauges {
  queueRows (): number
  queueRowsMax (): number
  queueDomains (): number
  workers (): number
  workersReady (): number
  workersBusy (): number
  workersStuck (): number
  cachedBanks (): number
  cachedBankBytes (): number
  workerBanks (): number
  workerBankBytes (): number
  hotBanks (): number
  hotBytes (): number
  storeAgeSeconds (): number
  models (): ReadonlyArray<{ state: typeof MODEL_STATES[number] }>
}

/** What has a budget of bytes while it is in memory. */
const HELD = {
  body: 'Bytes of request bodies in memory',
  answer: 'Bytes of inference answers in memory, until the client has taken them',
  picture: 'Bytes held for pictures under way'
}

export type HeldKind = keyof typeof HELD

export interface HeldBytes {
  readonly bytes: number
  readonly bytesMax: number
}

export interface Metrics extends WatchedMetrics {
  readonly registry: Registry
  /** The last hour. */
  readonly history: History
  countRequest (route: string, method: string, status: number, seconds: number): void
  countInference (model: string, domain: string, rows: number, outcome: 'ok' | 'error'): void
  observeStage (model: string, stage: Stage, seconds: number): void
  observeRun (model: string, rows: number): void
  countBankLookup (outcome: 'hit' | 'miss'): void
  countBankEviction (): void
  countWorkerRestart (): void
  countDropped (): void
  countRegistration (model: string): void
  /** What was counted of a domain goes with it, and its place among the domains that have labels of their own. */
  forgetDomain (model: string, domain: string): void
  countHotBuild (model: string, outcome: 'ok' | 'error'): void
  countHotRows (model: string, rows: number): void
  countRecognised: CountRecognised
  setGauges (gauges: Gauges): void
  /** What is read for the gauges of what a budget bounds; 0 before. */
  showHeld (what: HeldKind, held: HeldBytes): void
}

/** `version` is that of the service, for the build's own metric. */
export function createMetrics (version = 'unknown'): Metrics {
  const registry = new Registry()
  const registers = [registry]
  // Without our prefix: dashboards for Node look for these names.
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'bankswitch_build_info',
    help: 'Always 1; the labels say which build runs',
    labelNames: ['version', 'node'],
    registers
  }).set({ version, node: process.versions.node }, 1)
  const counter = (name: string, help: string, ...labelNames: string[]) => {
    return new Counter({ name, help, labelNames, registers })
  }
  const histogram = (name: string, help: string, buckets: number[], ...labelNames: string[]) => {
    return new Histogram({ name, help, buckets, labelNames, registers })
  }
  const requests = counter('bankswitch_http_requests_total', 'HTTP requests answered', 'route', 'method', 'status')
  const requestSeconds = histogram(
    'bankswitch_http_request_seconds', 'Time to answer an HTTP request, of any status', SECONDS_BUCKETS, 'route'
  )
  const stageSeconds = histogram(
    'bankswitch_stage_seconds', 'Time of an answered inference request by stage', SECONDS_BUCKETS, 'model', 'stage'
  )
  const runRows = histogram('bankswitch_run_rows', 'Rows of one run of the network', ROWS_BUCKETS, 'model')
  const lookups = counter('bankswitch_bank_lookups_total', 'Folded banks looked up in the cache', 'outcome')
  const evictions = counter('bankswitch_bank_evictions_total', 'Folded banks dropped from the cache for want of room')
  const restarts = counter('bankswitch_worker_restarts_total', 'Inference threads replaced after they ended')
  const dropped = counter(
    'bankswitch_dropped_requests_total', 'Requests dropped while they waited: client gone or deadline passed'
  )
  const registrations = counter('bankswitch_bank_registrations_total', 'Bank versions registered', 'model')
  const history = new History()
  const domainLabel = createBoundedLabels(DOMAIN_LABELS_MAX)
  const labelsOf = (model: string, domain: string) => ({ model, domain: domainLabel.of(`${model}@${domain}`, domain) })
  const inferences = createInferenceCounter(counter, labelsOf)
  const { forget: forgetWatched, ...watched } = createWatchedMetrics(registry, labelsOf)
  const recognised = createRecognisedCounter(counter, labelsOf)
  return {
    registry,
    history,
    ...watched,
    countRequest (route, method, status, seconds) {
      requests.inc({ route, method, status })
      requestSeconds.observe({ route }, seconds)
    },
    countInference: inferences.count,
    observeStage (model, stage, seconds) {
      stageSeconds.observe({ model, stage }, seconds)
      history.observeStage(stage, seconds * 1000)
    },
    observeRun: (model, count) => runRows.observe({ model }, count),
    countBankLookup: (outcome) => lookups.inc({ outcome }),
    countBankEviction: () => evictions.inc(),
    countWorkerRestart: () => restarts.inc(),
    countDropped: () => dropped.inc(),
    countRegistration: (model) => registrations.inc({ model }),
    forgetDomain (model, domain) {
      if (!domainLabel.forget(`${model}@${domain}`)) return
      inferences.forget({ model, domain })
      forgetWatched({ model, domain })
      recognised.forget({ model, domain })
    },
    ...createHotCounters(counter),
    countRecognised: recognised.count,
    setGauges: (gauges) => registerGauges(registry, gauges),
    showHeld: createHeldGauges(registry)
  }
}

type MakeCounter = (name: string, help: string, ...labelNames: string[]) => Counter

function createHotCounters (counter: MakeCounter): Pick<Metrics, 'countHotBuild' | 'countHotRows'> {
  const builds = counter(
    'bankswitch_hot_builds_total', 'Networks of single domains made, proven and opened', 'model', 'outcome'
  )
  const rows = counter('bankswitch_hot_rows_total', 'Rows run by networks of single domains', 'model')
  return {
    countHotBuild: (model, outcome) => builds.inc({ model, outcome }),
    countHotRows: (model, count) => rows.inc({ model }, count)
  }
}

function createInferenceCounter (
  counter: MakeCounter, labelsOf: LabelsOf
): { count: Metrics['countInference'], forget (labels: DomainLabels): void } {
  const requests = counter(
    'bankswitch_inference_requests_total',
    'Inference requests by domain; a request whose rows have several domains counts once for each',
    'model', 'domain', 'outcome'
  )
  const rows = counter(
    'bankswitch_inference_rows_total', 'Rows inferred, or tiles of a picture', 'model', 'domain', 'outcome'
  )
  return {
    count (model, domain, count, outcome) {
      const labels = { model, domain: labelsOf(model, domain).domain, outcome }
      requests.inc(labels)
      rows.inc(labels, count)
    },
    forget ({ model, domain }) {
      for (const outcome of ['ok', 'error']) {
        requests.remove({ model, domain, outcome })
        rows.remove({ model, domain, outcome })
      }
    }
  }
}

function createHeldGauges (registry: Registry): Metrics['showHeld'] {
  const held = new Map<HeldKind, HeldBytes>()
  for (const [what, help] of Object.entries(HELD) as Array<[HeldKind, string]>) {
    const name = `bankswitch_${what}_bytes`
    registerGauge(registry, name, help, () => held.get(what)?.bytes ?? 0)
    registerGauge(registry, `${name}_max`, 'Bytes that they may have', () => held.get(what)?.bytesMax ?? 0)
  }
  return (what, shown) => held.set(what, shown)
}

function registerGauge (registry: Registry, name: string, help: string, read: () => number): void {
  registry.registerMetric(new Gauge({ name, help, registers: [], collect () { this.set(read()) } }))
}

function registerGauges (registry: Registry, gauges: Gauges): void {
  const gauge = (name: string, help: string, read: () => number) => registerGauge(registry, name, help, read)
  gauge('bankswitch_queue_rows', 'Rows waiting', gauges.queueRows)
  gauge('bankswitch_queue_rows_max', 'Rows that may wait', gauges.queueRowsMax)
  gauge('bankswitch_queue_domains', 'Domains with rows waiting', gauges.queueDomains)
  gauge('bankswitch_workers', 'Inference threads that there should be', gauges.workers)
  gauge('bankswitch_workers_ready', 'Inference threads ready to take work', gauges.workersReady)
  gauge('bankswitch_workers_busy', 'Inference threads at work', gauges.workersBusy)
  gauge('bankswitch_workers_stuck', 'Inference threads set aside because their run takes too long', gauges.workersStuck)
  gauge('bankswitch_cached_banks', 'Folded banks in the cache', gauges.cachedBanks)
  gauge('bankswitch_cached_bank_bytes', 'Bytes of folded banks in the cache', gauges.cachedBankBytes)
  gauge('bankswitch_worker_banks', 'Packed banks in all inference threads together', gauges.workerBanks)
  gauge('bankswitch_worker_bank_bytes', 'Bytes of packed banks in all inference threads', gauges.workerBankBytes)
  gauge('bankswitch_hot_banks', 'Banks that have a network of their own', gauges.hotBanks)
  gauge('bankswitch_hot_bytes', 'Bytes of networks of single banks and their sessions', gauges.hotBytes)
  gauge(
    'bankswitch_store_age_seconds', 'Time since the domains served were surely those of the database; 0 without one',
    gauges.storeAgeSeconds
  )
  registry.registerMetric(new Gauge({
    name: 'bankswitch_models',
    help: 'Models by state: loading, ready or failed',
    labelNames: ['state'],
    registers: [],
    collect () {
      const models = gauges.models()
      for (const state of MODEL_STATES) this.set({ state }, models.filter((model) => model.state === state).length)
    }
  }))
}

export interface BoundedLabels {
  /** The label of a key, or OVERFLOW_LABEL when as many keys as there may be have labels of their own. */
  of (key: string, label: string): string
  /** Makes room for another key; tells whether this one had a label of its own. */
  forget (key: string): boolean
}

export function createBoundedLabels (labelsMax: number): BoundedLabels {
  const seen = new Set<string>()
  return {
    of (key, label) {
      if (!seen.has(key)) {
        if (seen.size >= labelsMax) return OVERFLOW_LABEL
        seen.add(key)
      }
      return label
    },
    forget: (key) => seen.delete(key)
  }
}
