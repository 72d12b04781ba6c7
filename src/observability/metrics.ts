/**
 * The metric catalogue. Names are public API: prefix, noun, unit.
 *
 * Labels must be bounded, and domains are not: the first DOMAIN_LABELS_MAX of them keep their name, all others count
 * under OVERFLOW_LABEL.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

const DOMAIN_LABELS_MAX = 200
export const OVERFLOW_LABEL = '(other)'

/** From a small net's 0.2 ms to a queue's 30 s. */
const SECONDS_BUCKETS = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const ROWS_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128]

export type Stage = 'decode' | 'queue' | 'infer' | 'encode'

/** Read when the metrics are scraped. */
export interface Gauges {
  queueRows (): number
  workersReady (): number
  workersBusy (): number
  workersStuck (): number
  cachedBanks (): number
  cachedBankBytes (): number
}

export interface Metrics {
  readonly registry: Registry
  countRequest (route: string, method: string, status: number, seconds: number): void
  countInference (model: string, domain: string, rows: number, outcome: 'ok' | 'error'): void
  observeStage (model: string, stage: Stage, seconds: number): void
  observeRun (model: string, rows: number): void
  countBankLookup (outcome: 'hit' | 'miss'): void
  countBankEviction (): void
  countWorkerRestart (): void
  countDropped (): void
  countRegistration (model: string): void
  setGauges (gauges: Gauges): void
}

export function createMetrics (): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'bankswitch_process_' })
  const counter = (name: string, help: string, ...labelNames: string[]) => {
    return new Counter({ name, help, labelNames, registers })
  }
  const histogram = (name: string, help: string, buckets: number[], ...labelNames: string[]) => {
    return new Histogram({ name, help, buckets, labelNames, registers })
  }
  const requests = counter('bankswitch_http_requests_total', 'HTTP requests answered', 'route', 'method', 'status')
  const requestSeconds = histogram(
    'bankswitch_http_request_seconds', 'Time to answer an HTTP request', SECONDS_BUCKETS, 'route'
  )
  const rows = counter('bankswitch_inference_rows_total', 'Rows inferred', 'model', 'domain', 'outcome')
  const stageSeconds = histogram(
    'bankswitch_stage_seconds', 'Time of an inference request by stage', SECONDS_BUCKETS, 'model', 'stage'
  )
  const runRows = histogram('bankswitch_run_rows', 'Rows that shared a run', ROWS_BUCKETS, 'model')
  const lookups = counter('bankswitch_bank_lookups_total', 'Packed banks looked up', 'outcome')
  const evictions = counter('bankswitch_bank_evictions_total', 'Packed banks dropped for want of room')
  const restarts = counter('bankswitch_worker_restarts_total', 'Inference threads replaced after they ended')
  const dropped = counter(
    'bankswitch_dropped_requests_total', 'Requests dropped while they waited: client gone or deadline passed'
  )
  const registrations = counter('bankswitch_bank_registrations_total', 'Bank versions registered', 'model')
  const domainLabel = createBoundedLabels(DOMAIN_LABELS_MAX)
  return {
    registry,
    countRequest (route, method, status, seconds) {
      requests.inc({ route, method, status })
      requestSeconds.observe({ route }, seconds)
    },
    countInference: (model, domain, count, outcome) => {
      rows.inc({ model, domain: domainLabel(`${model}@${domain}`, domain), outcome }, count)
    },
    observeStage: (model, stage, seconds) => stageSeconds.observe({ model, stage }, seconds),
    observeRun: (model, count) => runRows.observe({ model }, count),
    countBankLookup: (outcome) => lookups.inc({ outcome }),
    countBankEviction: () => evictions.inc(),
    countWorkerRestart: () => restarts.inc(),
    countDropped: () => dropped.inc(),
    countRegistration: (model) => registrations.inc({ model }),
    setGauges: (gauges) => registerGauges(registry, gauges)
  }
}

function registerGauges (registry: Registry, gauges: Gauges): void {
  const gauge = (name: string, help: string, read: () => number) => new Gauge({
    name, help, registers: [registry], collect () { this.set(read()) }
  })
  gauge('bankswitch_queue_rows', 'Rows waiting', gauges.queueRows)
  gauge('bankswitch_workers_ready', 'Inference threads ready to take work', gauges.workersReady)
  gauge('bankswitch_workers_busy', 'Inference threads at work', gauges.workersBusy)
  gauge('bankswitch_workers_stuck', 'Inference threads set aside because their run takes too long', gauges.workersStuck)
  gauge('bankswitch_cached_banks', 'Packed banks in memory', gauges.cachedBanks)
  gauge('bankswitch_cached_bank_bytes', 'Bytes of packed banks in memory', gauges.cachedBankBytes)
}

/** The label of a key: itself for the first `labelsMax` keys ever seen, OVERFLOW_LABEL for the rest. */
export function createBoundedLabels (labelsMax: number): (key: string, label: string) => string {
  const seen = new Set<string>()
  return (key, label) => {
    if (!seen.has(key)) {
      if (seen.size >= labelsMax) return OVERFLOW_LABEL
      seen.add(key)
    }
    return label
  }
}
