/** How the service itself fares: queue, threads, memory, latency by stage, jobs, who changed what. */
import { Heading } from '../frame/frame.js'
import { Fault } from '../parts/dialog.js'
import { Plot } from '../parts/plot.js'
import { usePolled } from '../service/poll.js'
import { useSession } from '../service/session.js'
import { bytes, count, milliseconds, rate } from '../service/words.js'
import { Calls } from './calls.js'
import { Jobs } from './jobs.js'
import type { History } from '../../../clients/typescript/src/index.js'

const EVERY_MS = 5_000
const STAGES = ['total', 'infer', 'queue', 'decode', 'read', 'encode'] as const

export function HealthPage () {
  const { caller } = useSession()
  const may = caller?.may
  const { data: history, error } = usePolled(may?.observe === true ? 'history' : undefined, EVERY_MS, (client, signal) => {
    return client.request('GET /metrics/history', {}, { signal })
  })
  return (
    <>
      <Heading title='Health' />
      {may?.observe !== true && (
        <p class='empty'>Metrics need a key that may read, or are served at another address.</p>
      )}
      {error !== undefined && history === undefined && <Fault error={error} />}
      {history !== undefined && <Figures history={history} />}
      {history !== undefined && <Plots history={history} />}
      {may?.read === true
        ? <>{caller?.key?.models === undefined && <><Jobs /><Calls /></>}</>
        : may?.observe === true && <p class='muted'>Jobs and the log of admin calls need a key that may read.</p>}
    </>
  )
}

function Figures ({ history: { present, limits } }: { history: History }) {
  const of = (name: string, told: (value: number) => string) => {
    const [value, limit] = [present[name], limits[name]]
    if (value === undefined) return '–'
    return limit === undefined ? told(value) : `${told(value)} of ${told(limit)}`
  }
  return (
    <dl class='figures'>
      <div><dt>Rows waiting</dt><dd>{of('queueRows', count)}</dd></div>
      <div><dt>Threads at work</dt><dd>{of('workersBusy', count)}</dd></div>
      <div><dt>Memory of the process</dt><dd>{of('memoryBytes', bytes)}</dd></div>
      <div><dt>Bank cache</dt><dd>{of('cachedBankBytes', bytes)}</dd></div>
      <div><dt>Banks in threads</dt><dd>{of('workerBankBytes', bytes)}</dd></div>
      <div><dt>Hot networks</dt><dd>{limits.hotBytes === 0 ? 'off' : of('hotBytes', bytes)}</dd></div>
    </dl>
  )
}

function Plots ({ history: { slotSeconds, requests, stages, gauges } }: { history: History }) {
  const axis = { slotSeconds }
  const pace = requests.map((requests, at, all) => at === all.length - 1 ? null : requests / slotSeconds)
  const gauge = (name: string, key: string) => ({ name, values: gauges[key] ?? [] })
  return (
    <div class='plots'>
      <Plot
        {...axis} title='Latency by stage, median' told={milliseconds} isSkewed
        lines={STAGES.map((name) => ({ name, values: stages[name]?.p50Ms ?? [] }))}
      />
      <Plot
        {...axis} title='Latency by stage, 99th percentile' told={milliseconds} isSkewed
        lines={STAGES.map((name) => ({ name, values: stages[name]?.p99Ms ?? [] }))}
      />
      <Plot {...axis} title='Inferences a second' told={rate} lines={[{ name: 'answered', values: pace }]} />
      <Plot {...axis} title='Queue and threads' told={count} lines={[gauge('rows waiting', 'queueRows'), gauge('threads at work', 'workersBusy')]} />
      <Plot {...axis} title='Memory of the process' told={bytes} lines={[gauge('resident', 'memoryBytes')]} />
      <Plot
        {...axis} title='Banks in memory' told={bytes}
        lines={[gauge('in the cache', 'cachedBankBytes'), gauge('in threads', 'workerBankBytes')]}
      />
    </div>
  )
}
