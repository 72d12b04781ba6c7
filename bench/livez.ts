/**
 * Does inference starve the event loop? Saturates every worker of a server in a process of its own and measures how
 * `/livez` answers meanwhile, from this process: first with as much as the queue takes, then with a flood of which nearly
 * everything is refused and sent again at once.
 *
 *   npm run bench -- livez [--seconds 10]
 */
import { ask } from './ask.js'
import { makeLoad } from './load.js'
import { openBench } from './report.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { signsRequest, startBenchServer } from './server.js'

const { values: { seconds }, publish } = openBench('livez', { seconds: '10' })

const ROWS = 32
const SATURATING_CONNECTIONS = 16
const FLOODING_CONNECTIONS = 64
const PAUSE_MS = 5
const IDLE_SECONDS = 3

const server = await startBenchServer()
try {
  const rows = [
    row('idle', await livezLatencies(IDLE_SECONDS)),
    await underLoad('saturated', SATURATING_CONNECTIONS),
    await underLoad('flooded, everything refused is sent again at once', FLOODING_CONNECTIONS)
  ]
  await publish(markdownTable([
    '', 'connections', 'rows/s answered', 'requests refused', 'errors', '/livez median ms', '99 % ms', 'most ms'
  ], rows))
} finally {
  await server.stop()
}

async function underLoad (name: string, connections: number): Promise<string[]> {
  const { body, headers } = signsRequest(ROWS)
  const load = makeLoad({
    url: `${server.address}/v2/models/traffic-signs/infer`,
    connections,
    seconds: Number(seconds),
    body,
    headers: { ...headers, 'x-domain': 'day' }
  })
  const latencies = await livezLatencies(Number(seconds) - 1)
  const { requestsPerSecond, errors, refused } = await load
  const answered = requestsPerSecond - refused / Number(seconds)
  return row(name, latencies, [connections, answered * ROWS, refused, errors].map((count) => count.toFixed(0)))
}

function row (name: string, latencies: number[], load = ['', '', '', '']): string[] {
  const times = [quantile(latencies, 0.5), quantile(latencies, 0.99), Math.max(...latencies)]
  return [name, ...load, ...times.map((ms) => ms.toFixed(1))]
}

async function livezLatencies (seconds: number): Promise<number[]> {
  const latencies: number[] = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const begin = performance.now()
    await ask({ method: 'GET', url: `${server.address}/livez` })
    latencies.push(performance.now() - begin)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  return latencies
}
