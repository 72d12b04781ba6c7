/** Metrics of what watches answers unseen: shadows of domains, drift from them, and candidates for new ones. */
import { Counter, Gauge, type Registry } from 'prom-client'

/** Of one run of a shadow, or of rows that did not get that far. */
export interface ShadowCounts {
  comparedRows: number
  disagreeingRows: number
  droppedRows: number
  failedRows: number
  largestRelativeDifference: number
}

/** Of pictures that drift was to be looked for in. */
export interface DriftCounts {
  lookedAt: number
  passedOver: number
  alarms: number
}

export interface DomainLabels {
  model: string
  domain: string
}

export type LabelsOf = (model: string, domain: string) => DomainLabels

export interface WatchedMetrics {
  countShadow (model: string, domain: string, counts: ShadowCounts): void
  countDrift (model: string, domain: string, counts: DriftCounts): void
  /** What is read for the gauges: of each domain under watch of which enough was seen; none before. */
  showDrift (read: () => readonly ShownDrift[]): void
  /** What is read for the gauge: of each model how many candidates wait; none before. */
  showCandidates (read: () => ReadonlyArray<{ model: string, count: number }>): void
}

export interface ShownDrift {
  model: string
  domain: string
  isDrifting: boolean
  eValue: number
}

/** `forget` removes the labels of a domain that is gone. */
export function createWatchedMetrics (
  registry: Registry, labelsOf: LabelsOf
): WatchedMetrics & { forget (labels: DomainLabels): void } {
  const shadows = createShadowCounter(registry, labelsOf)
  const drift = createDriftMetrics(registry, labelsOf)
  return {
    countShadow: shadows.count,
    countDrift: drift.count,
    showDrift: drift.show,
    showCandidates: createCandidatesGauge(registry),
    forget (labels) {
      shadows.forget(labels)
      drift.forget(labels)
    }
  }
}

function createShadowCounter (
  registry: Registry, labelsOf: LabelsOf
): { count: WatchedMetrics['countShadow'], forget (labels: DomainLabels): void } {
  const registers = [registry]
  const labelNames = ['model', 'domain'] as const
  const rows = new Counter({
    name: 'bankswitch_shadow_rows_total',
    help: 'Rows that a shadow was to run once more',
    labelNames: [...labelNames, 'outcome'],
    registers
  })
  const disagreeing = new Counter({
    name: 'bankswitch_shadow_disagreeing_rows_total',
    help: 'Rows for which a shadow has another best class than the active version',
    labelNames,
    registers
  })
  const difference = new Gauge({
    name: 'bankswitch_shadow_relative_difference_last',
    help: 'Largest difference between shadow and active version in the last run, relative to the row',
    labelNames,
    registers
  })
  return {
    count (model, domain, { comparedRows, disagreeingRows, droppedRows, failedRows, largestRelativeDifference }) {
      const labels = labelsOf(model, domain)
      const outcomes = { compared: comparedRows, dropped: droppedRows, failed: failedRows }
      for (const [outcome, count] of Object.entries(outcomes)) if (count > 0) rows.inc({ ...labels, outcome }, count)
      if (comparedRows === 0) return
      disagreeing.inc(labels, disagreeingRows)
      difference.set(labels, largestRelativeDifference)
    },
    forget (labels) {
      for (const outcome of ['compared', 'dropped', 'failed']) rows.remove({ ...labels, outcome })
      disagreeing.remove(labels)
      difference.remove(labels)
    }
  }
}

function createCandidatesGauge (registry: Registry): WatchedMetrics['showCandidates'] {
  let shown: Parameters<WatchedMetrics['showCandidates']>[0] = () => []
  registry.registerMetric(new Gauge({
    name: 'bankswitch_candidates',
    help: 'New domains of pictures that fitted none, which nobody has activated or removed',
    labelNames: ['model'],
    registers: [],
    collect () {
      for (const { model, count } of shown()) this.set({ model }, count)
    }
  }))
  return (read) => { shown = read }
}

function createDriftMetrics (
  registry: Registry, labelsOf: LabelsOf
): { count: WatchedMetrics['countDrift'], show: WatchedMetrics['showDrift'], forget (labels: DomainLabels): void } {
  const registers = [registry]
  const labelNames = ['model', 'domain'] as const
  const rows = new Counter({
    name: 'bankswitch_drift_rows_total',
    help: 'Rows that were looked at for drift, or passed over for want of room',
    labelNames: [...labelNames, 'outcome'],
    registers
  })
  const alarms = new Counter({
    name: 'bankswitch_drift_alarms_total',
    help: 'Alarms of drift, of single streams and of all together',
    labelNames,
    registers
  })
  let shown: () => readonly ShownDrift[] = () => []
  const gauge = (name: string, help: string, valueOf: (of: ShownDrift) => number) => {
    registry.registerMetric(new Gauge({
      name,
      help,
      labelNames,
      registers: [],
      collect () {
        this.reset()
        const largest = new Map<string, { labels: DomainLabels, value: number }>()
        // Of domains that share labels one that fits must not hide one that drifts.
        for (const one of shown()) {
          const labels = labelsOf(one.model, one.domain)
          const key = JSON.stringify(labels)
          largest.set(key, { labels, value: Math.max(valueOf(one), largest.get(key)?.value ?? 0) })
        }
        for (const { labels, value } of largest.values()) this.set({ ...labels }, value)
      }
    }))
  }
  gauge('bankswitch_drifting', '1 while pictures drift from the domain that answers them, else 0', ({ isDrifting }) => {
    return Number(isDrifting)
  })
  gauge(
    'bankswitch_drift_e_value', 'Evidence of drift over all streams: about 1 or less while there is none',
    ({ eValue }) => eValue
  )
  return {
    count (model, domain, { lookedAt, passedOver, alarms: raised }) {
      const labels = labelsOf(model, domain)
      if (lookedAt > 0) rows.inc({ ...labels, outcome: 'looked_at' }, lookedAt)
      if (passedOver > 0) rows.inc({ ...labels, outcome: 'passed_over' }, passedOver)
      if (raised > 0) alarms.inc(labels, raised)
    },
    show (read) { shown = read },
    forget (labels) {
      for (const outcome of ['looked_at', 'passed_over']) rows.remove({ ...labels, outcome })
      alarms.remove(labels)
    }
  }
}
