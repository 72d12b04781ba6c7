/**
 * What PostgreSQL costs as a store: inference beside a server on files, in turns; how soon three servers know what one of
 * them was told; and what many domains take: the start, a look at the database without and with a change.
 *
 *   npm run bench -- postgres [--chunks 12 --requests 2000 --changes 200 --domains 10000]
 */
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '#src/base/digest.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { openPostgres } from '#src/store/postgres/open.js'
import { startPostgres, type Postgres } from '../test/support/postgres.js'
import { variantOf } from '../test/support/signs.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { memoryOf, signsRequest, startBenchServer, type BenchServer } from './server.js'

const { values, publish } = openBench('postgres', { chunks: '12', requests: '2000', changes: '200', domains: '10000' })
const SIGNS = 'traffic-signs'
const ROOT = new URL('../../', import.meta.url).pathname
const ADMIN = `/admin/models/${SIGNS}/domains`
const CONNECTIONS = 8
const REPLICAS = 3
const LOOKS = 200
const REQUEST = signsRequest(1)
const OCTETS = { 'content-type': 'application/octet-stream' }

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-postgres-'))
const postgres = await startPostgres(true)
try {
  await mkdir(join(folder, 'models'))
  await symlink(join(ROOT, 'models', SIGNS), join(folder, 'models', SIGNS))
  await publish([await speed(), await spread(), await many(postgres)].join('\n\n'))
} finally {
  await postgres.close()
  await rm(folder, { recursive: true, force: true })
}

function start (name: string, store: string): Promise<BenchServer> {
  return startBenchServer({
    BANKSWITCH_MODELS_DIR: join(folder, 'models'),
    BANKSWITCH_DOMAINS_DIR: join(ROOT, 'domains'),
    BANKSWITCH_STORE: store,
    BANKSWITCH_JOBS_DIR: join(folder, name, 'jobs'),
    BANKSWITCH_CACHE_DIR: join(folder, 'cache'),
    BANKSWITCH_AUDIT_FILE: join(folder, name, 'audit.jsonl')
  })
}

/** The same requests to either, in turns. */
async function speed (): Promise<string> {
  const servers = [await start('files', join(folder, 'store')), await start('database', await postgres.createPlace())]
  const clients = servers.map((server) => new Client(server, CONNECTIONS))
  const rates: number[][] = [[], []]
  try {
    for (let chunk = -1; chunk < Number(values.chunks); chunk++) {
      for (const at of chunk % 2 === 0 ? [0, 1] : [1, 0]) {
        const begin = performance.now()
        let left = Number(values.requests)
        await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
          while (left-- > 0) await infer(clients[at]!, 'day')
        }))
        // The first of each warms up.
        if (chunk >= 0) rates[at]!.push(Number(values.requests) / (performance.now() - begin) * 1000)
      }
    }
  } finally {
    for (const client of clients) client.close()
    for (const server of servers) await server.stop()
  }
  const ratios = rates[1]!.map((rate, at) => rate / rates[0]![at]!)
  const middle = (numbers: number[]) => quantile(numbers, 0.5)
  return `Inference, ${values.chunks} interleaved chunks of ${values.requests} requests: files ${middle(rates[0]!).toFixed(0)} a second, ` +
    `PostgreSQL ${middle(rates[1]!).toFixed(0)}; median ratio of neighbouring chunks ${quantile(ratios, 0.5).toFixed(3)}.`
}

/** From the acknowledgement at one server until the others answer by it. */
async function spread (): Promise<string> {
  const url = await postgres.createPlace()
  const servers: BenchServer[] = []
  for (let at = 0; at < REPLICAS; at++) servers.push(await start(`replica-${at}`, url))
  const clients = servers.map((server) => new Client(server, 1))
  const times: number[] = []
  const named: number[] = []
  try {
    const own = await clients[0]!.call('GET', `${ADMIN}/day/versions/1`)
    for (let change = 0; change < Number(values.changes); change++) {
      const at = change % REPLICAS
      const { version } = JSON.parse((await clients[at]!.call('PUT', `${ADMIN}/spread`, variantOf(own, change / 1e4), OCTETS)).toString()) as { version: number }
      const begin = performance.now()
      // Not both at one server: what is asked for by a name that it does not know makes it look at once.
      const [asked, looked] = clients.filter((_, index) => index !== at) as [Client, Client]
      await Promise.all([
        infer(asked, `spread:${version}`).then(() => named.push(performance.now() - begin)),
        isActive(looked, version).then(() => times.push(performance.now() - begin))
      ])
    }
  } finally {
    for (const client of clients) client.close()
    for (const server of servers) await server.stop()
  }
  const told = (numbers: number[]) => {
    return `median ${quantile(numbers, 0.5).toFixed(0)} ms, 99th percentile ${quantile(numbers, 0.99).toFixed(0)} ms, ` +
      `longest ${Math.max(...numbers).toFixed(0)} ms`
  }
  return `${values.changes} registrations at one of ${REPLICAS} servers, looked at four times a second: the first answer by the version's name at ` +
    `a second after ${told(named)}; active at the third, which nobody asks for it, after ${told(times)}.`
}

/** Of a server after one inference. */
async function startOver (url: string): Promise<{ seconds: number, residentMiB: number }> {
  const begin = performance.now()
  const server = await start('started', url)
  const seconds = (performance.now() - begin) / 1000
  const client = new Client(server)
  try {
    await infer(client, 'day')
    return { seconds, residentMiB: Math.round(memoryOf(server).rss) }
  } finally {
    client.close()
    await server.stop()
  }
}

/** A store of many domains, of one version each. */
async function many (postgres: Postgres): Promise<string> {
  const url = await postgres.createPlace()
  const quiet = { info: () => {}, warn: () => {} }
  const options = { url, pollMs: 60_000, logger: quiet }
  const writer = await openPostgres(options)
  const count = Number(values.domains)
  const file = Buffer.alloc(4096, 'a bank')
  const added = { file, digest: sha256('digest'), fingerprint: sha256('fingerprint'), source: 'safetensors', isActivated: true }
  let next = 0
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (next < count) await writer.store.publish(SIGNS, `domain-${next++}`, added)
  }))
  const begin = performance.now()
  const reader = await openPostgres(options)
  const startMs = performance.now() - begin
  const looks = async (change: () => Promise<unknown>) => {
    const [all, cpu] = [[] as number[], process.cpuUsage()]
    for (let look = 0; look < LOOKS; look++) {
      await change()
      // Beyond the gap between two looks.
      await new Promise((resolve) => setTimeout(resolve, 60))
      const began = performance.now()
      await reader.store.catchUp()
      all.push(performance.now() - began)
    }
    const { user, system } = process.cpuUsage(cpu)
    return { ms: quantile(all, 0.5), cpuMs: (user + system) / 1000 / LOOKS }
  }
  const idle = await looks(async () => {})
  const busy = await looks(() => writer.store.activate(SIGNS, 'domain-7', 1))
  await reader.close()
  await writer.close()
  const [none, all] = [await startOver(await postgres.createPlace()), await startOver(url)]
  return `${count.toLocaleString('en')} domains of one version:\n\n${markdownTable(['what', 'takes'], [
    ['opening the store', `${startMs.toFixed(0)} ms`],
    ['start of a server until it is ready', `${(all.seconds - none.seconds).toFixed(1)} s more than the ${none.seconds.toFixed(1)} s over an empty database`],
    ['memory of that server, resident', `${all.residentMiB - none.residentMiB} MiB more than the ${none.residentMiB} MiB over an empty database`],
    ['a look without a change', `${idle.ms.toFixed(1)} ms, ${idle.cpuMs.toFixed(2)} ms of processor time`],
    ['a look after a change of one domain', `${busy.ms.toFixed(1)} ms, ${busy.cpuMs.toFixed(2)} ms of processor time with the change itself`]
  ])}`
}

async function infer (client: Client, domain: string): Promise<void> {
  await client.call('POST', `/v2/models/${SIGNS}/infer`, REQUEST.body, { ...REQUEST.headers, 'x-domain': domain })
}

async function isActive (client: Client, version: number): Promise<void> {
  while (activeOf(await client.call('GET', `/v1/models/${SIGNS}/domains/spread`)) !== version) await new Promise((resolve) => setTimeout(resolve, 5))
}

function activeOf (bytes: Uint8Array): number | null {
  return (JSON.parse(Buffer.from(bytes).toString()) as { active: number | null }).active
}
