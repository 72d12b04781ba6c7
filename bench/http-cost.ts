/**
 * What HTTP costs: requests per second through a server in a process of its own over the same inferences by an engine
 * in this process, without HTTP, in turns. Both have the same workers; this process is also the client. Then, for the
 * small network, where the server's main thread spends its time.
 *
 *   npm run bench -- http-cost [--chunks 6]
 */
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { loadSettings } from '#src/config/load.js'
import { createEngine, type Engine } from '#src/engine.js'
import { createLogger } from '#src/observability/logger.js'
import { createMetrics } from '#src/observability/metrics.js'
import { openStore } from '#src/store/open-store.js'
import { Client } from './client.js'
import { profileByPlace } from './cpu-profile.js'
import { openBench } from './report.js'
import { RESNET, RESNET_SIZE, writeResnetModel } from './resnet-model.js'
import { pictureRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('http-cost', { chunks: '6' })
const chunks = Number(values.chunks)

const SIGNS = 'traffic-signs'
/** As many as requests may share in a run: such a request is a run of its own, so both ways do the same runs. */
const RUN_ROWS = 4

const SUBJECTS = [
  { model: RESNET, input: 'x', size: RESNET_SIZE, rows: RUN_ROWS, domain: 'own', connections: 4, requests: 60 },
  { model: SIGNS, input: 'input', size: 32, rows: RUN_ROWS, domain: 'day', connections: 16, requests: 2000 },
  { model: SIGNS, input: 'input', size: 32, rows: 1, domain: 'day', connections: 16, requests: 4000 }
].map((subject) => ({ ...subject, ...pictureRequest(subject.input, subject.rows, subject.size) }))
type Subject = typeof SUBJECTS[number]

const ROOT = new URL('../../', import.meta.url).pathname
const PLACES_SHOWN = 16

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-http-cost-'))
const settings = (name: string) => ({
  BANKSWITCH_MODELS_DIR: join(folder, 'models'),
  BANKSWITCH_DOMAINS_DIR: join(ROOT, 'domains'),
  BANKSWITCH_STORE: join(folder, name, 'store'),
  BANKSWITCH_JOBS_DIR: join(folder, name, 'jobs'),
  BANKSWITCH_CACHE_DIR: join(folder, 'cache'),
  BANKSWITCH_AUDIT_FILE: join(folder, name, 'audit.jsonl')
})
try {
  await writeResnetModel(join(folder, 'models'))
  await cp(join(ROOT, 'models', SIGNS), join(folder, 'models', SIGNS), { recursive: true })
  const table = await compare()
  const profile = await profileServer(SUBJECTS[2]!)
  await publish(`${table}\n\n${profile}`)
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function compare (): Promise<string> {
  const server = await startBenchServer(settings('server'))
  const logger = createLogger('error', process.stderr)
  const own = loadSettings({ ...process.env, ...settings('engine') }, [])
  const engine = await createEngine({
    settings: own, logger, metrics: createMetrics(), store: (await openStore(own, logger)).store
  })
  await engine.prepared
  const rows: string[][] = []
  try {
    for (const subject of SUBJECTS) {
      const client = new Client(server, subject.connections)
      rows.push(await compareOne(subject, () => throughHttp(client, subject), () => withoutHttp(engine, subject), server.pid))
      console.error(rows.at(-1)!.join('  '))
      client.close()
    }
  } finally {
    await engine.close()
    await server.stop()
  }
  return `${chunks} interleaved chunks each; the ratio is the median of neighbouring chunks.\n\n${markdownTable(
    ['model', 'rows', 'in process, requests/s', 'over HTTP, requests/s', 'ratio', 'CPU ms per request: in process', 'server', 'client'], rows
  )}`
}

async function compareOne (
  { model, rows, requests, connections }: Subject, overHttp: () => Promise<unknown>, inProcess: () => Promise<unknown>, pid: number
): Promise<string[]> {
  const [http, direct]: [number[], number[]] = [[], []]
  const cpu: Record<'direct' | 'server' | 'client', number[]> = { direct: [], server: [], client: [] }
  const measureDirect = async () => {
    const own = process.cpuUsage()
    direct.push(await rate(requests, connections, inProcess))
    cpu.direct.push(cpuMs(own))
  }
  const measureHttp = async () => {
    const [own, before] = [process.cpuUsage(), await cpuMsOf(pid)]
    http.push(await rate(requests, connections, overHttp))
    cpu.client.push(cpuMs(own))
    cpu.server.push(await cpuMsOf(pid) - before)
  }
  for (let chunk = 0; chunk <= chunks; chunk++) {
    if (chunk % 2 === 0) await measureDirect()
    await measureHttp()
    if (chunk % 2 === 1) await measureDirect()
  }
  // The first is the warm-up.
  for (const all of [http, direct, ...Object.values(cpu)]) all.shift()
  const perRequest = (ms: number[]) => (quantile(ms, 0.5) / requests).toFixed(2)
  const ratio = quantile(http.map((value, at) => value / direct[at]!), 0.5)
  return [
    model, String(rows), quantile(direct, 0.5).toFixed(1), quantile(http, 0.5).toFixed(1), ratio.toFixed(3),
    perRequest(cpu.direct), perRequest(cpu.server), perRequest(cpu.client)
  ]
}

/** Requests per second. */
async function rate (requests: number, connections: number, ask: () => Promise<unknown>): Promise<number> {
  let left = requests
  const begin = performance.now()
  await Promise.all(Array.from({ length: connections }, async () => {
    while (left-- > 0) await ask()
  }))
  return requests / (performance.now() - begin) * 1000
}

function throughHttp (client: Client, { model, domain, body, headers }: Subject): Promise<unknown> {
  return client.call('POST', `/v2/models/${model}/infer`, body, { ...headers, 'x-domain': domain })
}

function withoutHttp (engine: Engine, { model, domain, input, rows, size, body, headers }: Subject): Promise<unknown> {
  const bytes = Uint8Array.from(body.subarray(Number(headers['inference-header-content-length'])))
  const data = new Float32Array(bytes.buffer)
  const feeds = { [input]: { type: 'float32' as const, dims: [rows, 3, size, size], data } }
  return engine.answering.infer(model, { wish: { header: domain }, feeds })
}

/** Of all threads of this process. */
function cpuMs (since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1000
}

/** Of all threads of a process, in the kernel's ticks of 10 ms. */
async function cpuMsOf (pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Runs a server under V8's profiler; the main thread's own time per request, by place. */
async function profileServer (subject: Subject): Promise<string> {
  const server = await startBenchServer(settings('profiled'), ['--cpu-prof', `--cpu-prof-dir=${join(folder, 'profile')}`])
  const client = new Client(server, subject.connections)
  const asked = subject.requests * chunks
  await rate(asked, subject.connections, () => throughHttp(client, subject))
  client.close()
  await server.stop()
  const names = await readdir(join(folder, 'profile'))
  // CPU.<date>.<time>.<pid>.<thread>.<number>.cpuprofile; thread 0 is the main one.
  const main = names.find((name) => name.split('.')[4] === '0')!
  const { places, busyMs } = profileByPlace(await readFile(join(folder, 'profile', main), 'utf8'))
  const shown = places.slice(0, PLACES_SHOWN).map(({ place, ms }) => {
    return [place, (ms / asked * 1000).toFixed(0), `${(100 * ms / busyMs).toFixed(1)} %`]
  })
  return `The server's main thread for \`${subject.model}\`, ${subject.rows} row a request, its start included: ` +
    `${(busyMs / asked * 1000).toFixed(0)} µs per request.\n\n${markdownTable(['place', 'µs per request', 'share'], shown)}`
}
