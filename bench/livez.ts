/**
 * Does inference starve the event loop? Saturates every worker of a server in a process of its own and measures how
 * `/livez` answers meanwhile, from this process.
 *
 *   npm run bench:livez [-- --seconds 10 --connections 32]
 */
import { request } from 'node:http'
import { parseArgs } from 'node:util'
import { makeLoad } from './load.js'
import { quantile } from './measure.js'
import { signsRequest, startBenchServer } from './server.js'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, connections: { type: 'string', default: '32' } }
})

const ROWS = 32
const PAUSE_MS = 5
const IDLE_SECONDS = 2

const server = await startBenchServer()
try {
  const idle = await livezLatencies(IDLE_SECONDS)
  const load = makeLoad({
    url: `${server.address}/v2/models/traffic-signs/infer`,
    connections: Number(values.connections),
    seconds: Number(values.seconds),
    ...signsRequest(ROWS)
  })
  const saturated = await livezLatencies(Number(values.seconds) - 1)
  const { requestsPerSecond, errors, refused } = await load
  console.log(`load: ${values.connections} connections of ${ROWS}-row requests, ` +
    `${(requestsPerSecond * ROWS).toFixed(0)} rows/s, ${errors} errors, ${refused} refused`)
  for (const [name, latencies] of [['idle', idle], ['saturated', saturated]] as const) {
    console.log(`/livez ${name}: p50 ${quantile(latencies, 0.5).toFixed(2)} ms, ` +
      `p99 ${quantile(latencies, 0.99).toFixed(2)} ms, max ${Math.max(...latencies).toFixed(2)} ms, ${latencies.length} requests`)
  }
} finally {
  await server.stop()
}

async function livezLatencies (seconds: number): Promise<number[]> {
  const latencies: number[] = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const begin = performance.now()
    await get(`${server.address}/livez`)
    latencies.push(performance.now() - begin)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  return latencies
}

function get (url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    request(url, (response) => response.resume().on('end', resolve)).on('error', reject).end()
  })
}
