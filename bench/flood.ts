/**
 * What does one domain's flood cost the others? A quiet client of one domain sends single rows, first alone, then while
 * another domain is flooded with many times what the server can do, sent again the moment it is refused.
 *
 *   npm run bench -- flood [--model traffic-signs|resnet50 --seconds 10 --connections 256]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { ask } from './ask.js'
import { Client } from './client.js'
import { makeLoad } from './load.js'
import { openBench } from './report.js'
import { RESNET, RESNET_SIZE, writeResnetModel } from './resnet-model.js'
import { memoryOf, pictureRequest, signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('flood', { model: 'traffic-signs', seconds: '10', connections: '256' })
const seconds = Number(values.seconds)
const connections = Number(values.connections)

const isLarge = values.model === RESNET
const ROWS = isLarge ? 4 : 32
const PAUSE_MS = 5
const WARM_UP_MS = 2000

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-flood-'))
if (isLarge) await writeResnetModel(join(folder, 'models'))
const server = await startBenchServer(isLarge ? { BANKSWITCH_MODELS_DIR: join(folder, 'models') } : {})
const agent = new Agent({ keepAlive: true })
const url = `${server.address}/v2/models/${values.model}/infer`
const [flooding, quiet] = isLarge ? ['own', 'quiet'] : ['day', 'fog']
const rows: string[][] = []
try {
  if (isLarge) await copyDomain(flooding, quiet)
  await observe('alone')
  // As much as keeps the workers busy and is never refused: what they can do is what the flood is measured against.
  const capacity = await withLoad('busy', 16)
  const offered = await withLoad('flooded', connections)
  const table = markdownTable(['', 'quiet p50 ms', 'quiet p99 ms', 'not 200', '/livez p50 ms', '/livez p99 ms', 'memory MiB'], rows)
  await publish(`${values.model}, requests of ${ROWS} rows; the flood is ${(offered / capacity).toFixed(1)} times what the server can do ` +
    `(${capacity.toFixed(0)} rows/s).\n\n${table}`)
} finally {
  agent.destroy()
  console.error(`SIGTERM: exit code ${await server.stop()}`)
  await rm(folder, { recursive: true, force: true })
}

async function copyDomain (from: string, to: string): Promise<void> {
  const client = new Client(server)
  const domains = `/admin/models/${values.model}/domains`
  const bank = await client.call('GET', `${domains}/${from}/versions/1`)
  await client.call('PUT', `${domains}/${to}`, bank, { 'content-type': 'application/octet-stream' })
  client.close()
}

function requestOf (rows: number): { body: Buffer, headers: Record<string, string> } {
  return isLarge ? pictureRequest('x', rows, RESNET_SIZE) : signsRequest(rows)
}

/** Rows per second that were offered. */
async function withLoad (name: string, count: number): Promise<number> {
  const { body, headers } = requestOf(ROWS)
  const load = makeLoad({ url, connections: count, seconds: seconds + WARM_UP_MS / 1000 + 1, body, headers: { ...headers, 'x-domain': flooding } })
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS))
  await observe(name)
  const { requestsPerSecond, refused, errors } = await load
  console.error(`${name}: ${count} connections of ${ROWS}-row requests, ${refused} refused, ${errors} errors`)
  return requestsPerSecond * ROWS
}

async function observe (name: string): Promise<void> {
  const end = performance.now() + seconds * 1000
  const { body, headers } = requestOf(1)
  const [own, livez] = await Promise.all([
    latencies(end, () => ask({ method: 'POST', url, headers: { ...headers, 'x-domain': quiet }, body, agent })),
    latencies(end, () => ask({ method: 'GET', url: `${server.address}/livez`, agent }))
  ])
  const times = [own, livez].map((all) => [quantile(all.ms, 0.5).toFixed(1), quantile(all.ms, 0.99).toFixed(1)])
  rows.push([name, ...times[0]!, String(own.failed), ...times[1]!, memoryOf(server).rss.toFixed(0)])
}

async function latencies (end: number, request: () => Promise<{ status: number }>): Promise<{ ms: number[], failed: number }> {
  const ms: number[] = []
  let failed = 0
  while (performance.now() < end) {
    const begin = performance.now()
    if ((await request()).status !== 200) failed++
    ms.push(performance.now() - begin)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  return { ms, failed }
}
