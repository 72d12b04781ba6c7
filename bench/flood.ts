/**
 * What does one domain's flood cost the others? A quiet client of one domain sends single rows, first alone, then while
 * another domain is flooded with many times what the server can do, sent again the moment it is refused.
 *
 *   npm run bench:flood [-- --seconds 10 --connections 256]
 */
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { parseArgs } from 'node:util'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { makeLoad } from './load.js'
import { signsRequest, startBenchServer } from './server.js'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, connections: { type: 'string', default: '256' } }
})
const seconds = Number(values.seconds)
const connections = Number(values.connections)

const ROWS = 32
const PAUSE_MS = 5
const WARM_UP_MS = 2000

const server = await startBenchServer()
const agent = new Agent({ keepAlive: true })
const url = `${server.address}/v2/models/traffic-signs/infer`
const rows: string[][] = []
try {
  await observe('alone')
  // As much as keeps the workers busy and is never refused: what they can do is what the flood is measured against.
  const capacity = await withLoad('busy', 16)
  const offered = await withLoad('flooded', connections)
  console.log(markdownTable(['', 'quiet p50 ms', 'quiet p99 ms', 'not 200', '/livez p50 ms', '/livez p99 ms', 'memory MiB'], rows))
  console.log(`\nthe flood: ${(offered / capacity).toFixed(1)} times what the server can do (${capacity.toFixed(0)} rows/s)`)
} finally {
  agent.destroy()
  console.log(`SIGTERM: exit code ${await server.stop()}`)
}

/** Rows per second that were offered. */
async function withLoad (name: string, count: number): Promise<number> {
  const { body, headers } = signsRequest(ROWS)
  const load = makeLoad({ url, connections: count, seconds: seconds + WARM_UP_MS / 1000 + 1, body, headers: { ...headers, 'x-domain': 'day' } })
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS))
  await observe(name)
  const { requestsPerSecond, refused, errors } = await load
  console.log(`${name}: ${count} connections of ${ROWS}-row requests, ${refused} refused, ${errors} errors`)
  return requestsPerSecond * ROWS
}

async function observe (name: string): Promise<void> {
  const end = performance.now() + seconds * 1000
  const { body, headers } = signsRequest(1)
  const [quiet, livez] = await Promise.all([
    latencies(end, () => send('POST', url, { ...headers, 'x-domain': 'fog' }, body)),
    latencies(end, () => send('GET', `${server.address}/livez`, {}))
  ])
  const memory = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))![1]
  const times = [quiet, livez].map((all) => [quantile(all.ms, 0.5).toFixed(1), quantile(all.ms, 0.99).toFixed(1)])
  rows.push([name, ...times[0]!, String(quiet.failed), ...times[1]!, (Number(memory) / 1024).toFixed(0)])
}

async function latencies (end: number, ask: () => Promise<number>): Promise<{ ms: number[], failed: number }> {
  const ms: number[] = []
  let failed = 0
  while (performance.now() < end) {
    const begin = performance.now()
    if (await ask() !== 200) failed++
    ms.push(performance.now() - begin)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  return { ms, failed }
}

function send (method: string, to: string, headers: Record<string, string>, body?: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    request(to, { method, headers, agent }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode!))
    }).on('error', reject).end(body)
  })
}
