/** What the metrics and the last hour show of the parts of a service; read when they are asked. */
import type { Metrics } from '../observability/metrics.js'
import type { BankCache } from '../runtime/bank-cache.js'
import type { InferencePool } from '../runtime/pool.js'
import type { BankStore } from '../store/bank-store.js'
import type { ModelStates } from './model-states.js'

export interface ShownParts {
  /** Rows that may wait. */
  queueRows: number
  models: Pick<ModelStates, 'all'>
  store: Pick<BankStore, 'ageMs'>
  pool: Pick<InferencePool, 'backlog' | 'workers'>
  banks: Pick<BankCache, 'size'>
  /** Networks of single domains. */
  hot: { readonly size: { readonly count: number, readonly bytes: number } }
}

/** Shows them from now on, and begins the last hour. */
export function showParts (metrics: Metrics, { queueRows, models, store, pool, banks, hot }: ShownParts): void {
  const shared = {
    queueRows: () => pool.backlog.rows,
    workersBusy: () => pool.workers.busy,
    cachedBankBytes: () => banks.size.bytes,
    workerBankBytes: () => pool.workers.bankBytes,
    hotBytes: () => hot.size.bytes
  }
  metrics.history.start({ ...shared, memoryBytes: () => process.memoryUsage.rss() })
  metrics.setGauges({
    ...shared,
    queueRowsMax: () => queueRows,
    queueDomains: () => pool.backlog.domains,
    workers: () => pool.workers.wanted,
    workersReady: () => pool.workers.ready,
    workersStuck: () => pool.workers.stuck,
    cachedBanks: () => banks.size.count,
    workerBanks: () => pool.workers.banks,
    hotBanks: () => hot.size.count,
    storeAgeSeconds: () => store.ageMs / 1000,
    models: () => models.all()
  })
}
