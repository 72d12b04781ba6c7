/** Every metric of the service as the registry knows it, for the documents that speak of them. */
import { createMetrics } from '#src/observability/metrics.js'

export interface CataloguedMetric {
  name: string
  type: 'counter' | 'gauge' | 'histogram' | 'summary'
  help: string
  labels: string[]
}

/** In the order in which they are exposed. */
export function metricCatalogue (): CataloguedMetric[] {
  const metrics = createMetrics()
  const none = () => 0
  metrics.setGauges({
    queueRows: none,
    queueRowsMax: none,
    queueDomains: none,
    workers: none,
    workersReady: none,
    workersBusy: none,
    workersStuck: none,
    cachedBanks: none,
    cachedBankBytes: none,
    workerBanks: none,
    workerBankBytes: none,
    hotBanks: none,
    hotBytes: none,
    storeAgeSeconds: none,
    models: () => []
  })
  return metrics.registry.getMetricsAsArray().map((metric) => {
    const { name, type, help, labelNames } = metric as unknown as CataloguedMetric & { labelNames: string[] }
    return { name, type, help, labels: [...labelNames] }
  })
}

/** Labels by the names that can be queried: a histogram's buckets, sum and count have names of their own. */
export function queryableNames (): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>()
  for (const { name, type, labels } of metricCatalogue()) {
    if (type !== 'histogram') {
      names.set(name, new Set(labels))
      continue
    }
    names.set(`${name}_bucket`, new Set([...labels, 'le']))
    for (const part of ['sum', 'count']) names.set(`${name}_${part}`, new Set(labels))
  }
  return names
}
