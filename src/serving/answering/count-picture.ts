/** What a picture that one version answers counts for, in metrics and figures, and for a network of its own. */
import { leaseKey } from '../leases.js'
import type { Metrics } from '../../observability/metrics.js'
import type { TrafficBook } from '../../observability/traffic.js'
import type { ChosenVersion } from '../blends.js'
import type { HotDomains } from '../heating/hot-domains.js'
import type { ReadyModel } from '../model-states.js'
import type { Progress } from './progress.js'
import type { TileTimes } from './run-tiles.js'

/** What counting pictures needs. */
export interface CountingNeeds {
  metrics: Pick<Metrics, 'countInference'>
  traffic: Pick<TrafficBook, 'countAnswered' | 'countOutput' | 'countFailed'>
  hot: Pick<HotDomains, 'count'>
}

/** Where the picture was decoded for this answer alone, and encoded. */
interface Answer extends TileTimes {
  decodeMs?: number
  encodeMs?: number
}

/** Gives the answer that `work` makes of the tiles in `progress`, and counts it; what it throws counts as a failure. */
export async function countPicture<T extends Answer> (
  { metrics, traffic, hot }: CountingNeeds, model: ReadyModel, resolved: ChosenVersion, progress: Progress,
  work: () => Promise<T>
): Promise<T> {
  const { name } = model.entry.manifest
  const { record: { domain }, version: { version }, blend } = resolved
  const key = leaseKey(name, domain, version)
  const begin = performance.now()
  try {
    const answer = await work()
    const rows = progress.tilesTotal
    metrics.countInference(name, domain, rows, 'ok')
    traffic.countAnswered(key, { rows, inputMs: answer.decodeMs ?? 0, ...answer })
    if (answer.encodeMs !== undefined) traffic.countOutput(key, answer.encodeMs)
    if (blend === undefined) hot.count(model, resolved, rows)
    return answer
  } catch (error) {
    metrics.countInference(name, domain, progress.tilesDone, 'error')
    traffic.countFailed(key, performance.now() - begin)
    throw error
  }
}
