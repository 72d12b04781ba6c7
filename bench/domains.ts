/**
 * A thousand domains of ResNet-50 on one server with two workers and a bounded bank cache: memory with 1, 10, 100 and
 * 1,000 registered domains, all of them used, and throughput of one domain over random rotation through all.
 *
 *   npm run bench -- domains [--domains 1,10,100,1000 --cache-mib 16]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSafetensors, serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { openSession } from '#src/ort/session.js'
import { resnet50 } from '../test/support/networks.js'
import { seededNormal } from '../test/support/random.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { RESNET, RESNET_SIZE, writeResnetModel } from './resnet-model.js'
import { mappedMemoryOf, pictureRequest, startBenchServer, type BenchServer } from './server.js'

/** `session` is for the processes that it starts itself: how many sessions to hold. */
const { values, publish } = openBench('domains', { domains: '1,10,100,1000', 'cache-mib': '16', session: '' })

const CONNECTIONS = 4
const CHUNKS = 6
const REQUESTS_PER_CHUNK = 120
const DEDICATED_MEASURED = [1, 10]
const WORKERS = 2

if (values.session === '') await compare()
else await holdSessions(Number(values.session))

async function compare (): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-domains-'))
  try {
    await writeResnetModel(join(folder, 'models'))
    const server = await startBenchServer({
      BANKSWITCH_MODELS_DIR: join(folder, 'models'),
      BANKSWITCH_STORE: join(folder, 'store'),
      BANKSWITCH_WORKERS: String(WORKERS),
      BANKSWITCH_BANK_CACHE_BYTES: String(Number(values['cache-mib']) * 2 ** 20)
    })
    try {
      await measureServer(server)
    } finally {
      await server.stop()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measureServer (server: BenchServer): Promise<void> {
  const client = new Client(server, CONNECTIONS)
  const counts = values.domains.split(',').map(Number)
  const rows: string[][] = []
  const dedicated = await dedicatedMemory()
  const perSession = (dedicated.at(-1)!.pss - dedicated[0]!.pss) / (DEDICATED_MEASURED.at(-1)! - 1)
  const own = await client.call('GET', `/admin/models/${RESNET}/domains/own/versions/1`)
  const domains = ['own']
  for (const count of counts) {
    while (domains.length < count) domains.push(await register(client, own, domains.length))
    await request(client, domains, Math.max(60, Math.min(count, 200)))
    const { rss, pss } = await mappedMemoryOf(server.pid)
    const at = DEDICATED_MEASURED.indexOf(count)
    rows.push([
      count.toLocaleString('en'), mib(rss), mib(pss),
      at >= 0 ? mib(dedicated[at]!.pss * WORKERS) : `${mib((dedicated[0]!.pss + (count - 1) * perSession) * WORKERS)} (extrapolated)`
    ])
    console.error(rows.at(-1)!.join('  '))
  }
  const { ratio, one, all } = await throughput(client, domains)
  client.close()
  const text = `ResNet-50, ${WORKERS} workers, bank cache of ${values['cache-mib']} MiB, every domain used; dedicated: one fused session per ` +
    `domain and worker.\n\n${markdownTable(
      ['domains', 'resident MiB', 'proportional MiB', 'dedicated sessions, proportional MiB'], rows
    )}\n\nThroughput, ${CHUNKS} interleaved chunks of ${REQUESTS_PER_CHUNK} requests over ${CONNECTIONS} connections: one domain ` +
    `${one.toFixed(1)} rows/s, ${domains.length.toLocaleString('en')} domains in random rotation ${all.toFixed(1)} rows/s; ` +
    `median ratio of neighbouring chunks ${ratio.toFixed(3)}.`
  await publish(text)
}

/** A bank near the model's own. */
async function register (client: Client, own: Uint8Array, seed: number): Promise<string> {
  const normal = seededNormal(seed)
  const { tensors } = parseSafetensors(own)
  const file = serializeSafetensors([...tensors].map(([name, { dtype, shape, bytes }]) => {
    const numbers = new Float32Array(Uint8Array.from(bytes).buffer)
    const moved = name.endsWith('.running_mean') ? numbers.map((value) => value + 0.01 * normal()) : numbers
    return { name, dtype: dtype as 'F32', shape, bytes: new Uint8Array(moved.buffer) }
  }), new Map())
  const domain = `domain-${seed}`
  await client.call('PUT', `/admin/models/${RESNET}/domains/${domain}`, file, { 'content-type': 'application/octet-stream' })
  return domain
}

/** `count` requests over all connections, each for a random domain; resolves with rows per second. */
async function request (client: Client, domains: readonly string[], count: number): Promise<number> {
  const { body, headers } = pictureRequest('x', 1, RESNET_SIZE)
  let left = count
  const begin = performance.now()
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (left-- > 0) {
      const domain = domains[Math.floor(Math.random() * domains.length)]!
      await client.call('POST', `/v2/models/${RESNET}/infer`, body, { ...headers, 'x-domain': domain })
    }
  }))
  return count / (performance.now() - begin) * 1000
}

async function throughput (client: Client, domains: readonly string[]) {
  const [one, all]: [number[], number[]] = [[], []]
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    one.push(await request(client, domains.slice(0, 1), REQUESTS_PER_CHUNK))
    all.push(await request(client, domains, REQUESTS_PER_CHUNK))
  }
  const ratio = quantile(all.map((rate, chunk) => rate / one[chunk]!), 0.5)
  return { ratio, one: quantile(one, 0.5), all: quantile(all, 0.5) }
}

/** Processes that hold so many fused sessions and ran each once. */
async function dedicatedMemory (): Promise<Array<{ pss: number }>> {
  const result: Array<{ pss: number }> = []
  for (const count of DEDICATED_MEASURED) {
    const child = fork(fileURLToPath(import.meta.url), ['--session', String(count)])
    await once(child, 'message')
    result.push(await mappedMemoryOf(child.pid!))
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return result
}

async function holdSessions (count: number): Promise<void> {
  const data = new Float32Array(3 * RESNET_SIZE ** 2)
  const sessions = []
  for (let at = 0; at < count; at++) {
    const session = await openSession(resnet50({ size: RESNET_SIZE }).bytes, { optimization: 'all' })
    await session.run({ x: { type: 'float32', dims: [1, 3, RESNET_SIZE, RESNET_SIZE], data } })
    sessions.push(session)
  }
  process.send!(sessions.length)
  setInterval(() => {}, 1000)
}

function mib (kib: number): string {
  return Math.round(kib / 1024).toLocaleString('en')
}
