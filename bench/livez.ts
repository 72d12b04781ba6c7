/**
 * Does inference starve the event loop? Saturates every worker of a server in a process of its own and measures how
 * `/livez` answers meanwhile, from this process: first with as much as the queue takes, then with a flood of which nearly
 * everything is refused and sent again at once.
 *
 *   npm run bench:livez [-- --seconds 10]
 */
import { parseArgs } from 'node:util'
import { ask } from './ask.js'
import { makeLoad } from './load.js'
import { quantile } from '#src/cli/measure.js'
import { signsRequest, startBenchServer } from './server.js'

const { values: { seconds } } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } })

const ROWS = 32
const SATURATING_CONNECTIONS = 16
const FLOODING_CONNECTIONS = 64
const PAUSE_MS = 5
const IDLE_SECONDS = 3

const server = await startBenchServer()
try {
  report('idle', await livezLatencies(IDLE_SECONDS))
  await underLoad('saturated', SATURATING_CONNECTIONS)
  await underLoad('flooded', FLOODING_CONNECTIONS)
} finally {
  await server.stop()
}

async function underLoad (name: string, connections: number): Promise<void> {
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
  report(name, latencies)
  console.log(`  meanwhile ${connections} connections of ${ROWS}-row requests: ${(answered * ROWS).toFixed(0)} rows/s ` +
    `answered, ${refused} requests refused, ${errors} errors`)
}

function report (name: string, latencies: number[]): void {
  console.log(`/livez ${name}: p50 ${quantile(latencies, 0.5).toFixed(2)} ms, ` +
    `p99 ${quantile(latencies, 0.99).toFixed(2)} ms, max ${Math.max(...latencies).toFixed(2)} ms, ${latencies.length} requests`)
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
