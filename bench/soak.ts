/**
 * Many requests at saturation, one in twenty of them hostile. Every good answer is compared byte for byte with the one
 * that the same domain gave before. Promised: no 5xx, no wrong answer, memory that no longer grows in the second half.
 * Exit code 1 when a promise is broken.
 *
 *   npm run bench -- soak [--requests 100000 --connections 64 --domains 50 --seed 1]
 */
import { Agent } from 'node:http'
import { quantile } from '#src/cli/measure.js'
import { seededUniform } from '#src/compiler/sample-inputs.js'
import { variantOf } from '../test/support/signs.js'
import { ask } from './ask.js'
import { Client } from './client.js'
import { sendHostile } from './hostile.js'
import { openBench } from './report.js'
import { memoryOf, signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('soak', { requests: '100000', connections: '64', domains: '50', seed: '1' })
const requests = Number(values.requests)
const random = seededUniform(Number(values.seed))

const HOSTILE_SHARE = 1 / 20
const PAUSE_MS = 50
const LIVEZ_P99_MS_MAX = 20

/** Above what the second half may grow: the first fifth of it is not looked at, fragmentation settles late. */
const GROWTH_MAX = 0.02

/** As docs/operations.md has it, and the container. */
const ALLOCATOR = { MALLOC_MMAP_THRESHOLD_: String(2 ** 17), MALLOC_TRIM_THRESHOLD_: String(2 ** 17) }

const server = await startBenchServer({ BANKSWITCH_BODY_BYTES: String(2 ** 20), ...ALLOCATOR })
const agent = new Agent({ keepAlive: true, maxSockets: Number(values.connections) })
const statuses = new Map<number, number>()
const memory: number[] = []
const livez: number[] = []
let wrong = 0
let lost = 0
let hostile = 0
let sent = 0
const over = new AbortController()
try {
  const expected = await registerDomains(Number(values.domains))
  const begin = performance.now()
  const watch = watchServer()
  await Promise.all(Array.from({ length: Number(values.connections) }, () => client(expected)))
  const seconds = (performance.now() - begin) / 1000
  over.abort()
  await watch
  process.exitCode = await report(seconds) ? 0 : 1
} finally {
  agent.destroy()
  console.error(`SIGTERM: exit code ${await server.stop()}`)
}

/** What each domain answers; the domains have banks that differ in their first mean. */
async function registerDomains (count: number): Promise<Map<string, Buffer>> {
  const admin = new Client(server)
  const bank = await admin.call('GET', '/admin/models/traffic-signs/domains/fog/versions/1')
  const expected = new Map<string, Buffer>()
  for (let index = 0; index < count; index++) {
    const domain = `soak-${index}`
    const type = { 'content-type': 'application/octet-stream' }
    await admin.call('PUT', `/admin/models/traffic-signs/domains/${domain}`, variantOf(bank, index / 10), type)
    expected.set(domain, (await infer(domain)).body)
  }
  admin.close()
  if (new Set([...expected.values()].map((body) => body.toString('latin1'))).size < count) throw new Error('domains answer alike')
  return expected
}

async function client (expected: ReadonlyMap<string, Buffer>): Promise<void> {
  const domains = [...expected.keys()]
  while (sent < requests) {
    sent++
    if (random() < HOSTILE_SHARE) {
      hostile++
      count(await sendHostile(server.address, random()))
      continue
    }
    const domain = domains[Math.floor(random() * domains.length)]!
    try {
      const { status, body } = await infer(domain)
      count(status)
      if (status === 200 && !body.equals(expected.get(domain)!)) wrong++
    } catch {
      lost++
    }
  }
}

function infer (domain: string): Promise<{ status: number, body: Buffer }> {
  const { body, headers } = signsRequest(1)
  const url = `${server.address}/v2/models/traffic-signs/infer`
  return ask({ method: 'POST', url, headers: { ...headers, 'x-domain': domain }, body, agent })
}

function count (status: number): void {
  statuses.set(status, (statuses.get(status) ?? 0) + 1)
}

/** Looks at memory and /livez until all is sent, over a connection of its own. */
async function watchServer (): Promise<void> {
  const own = new Agent({ keepAlive: true })
  while (!over.signal.aborted) {
    const begin = performance.now()
    await ask({ method: 'GET', url: `${server.address}/livez`, agent: own })
    livez.push(performance.now() - begin)
    memory.push(memoryOf(server).rss)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  own.destroy()
}

/** Whether all promises were kept. */
async function report (seconds: number): Promise<boolean> {
  const failures = [...statuses].filter(([status]) => status >= 500).reduce((sum, [, many]) => sum + many, 0)
  const half = memory.length >> 1
  const second = memory.slice(half)
  const settled = second.slice(Math.floor(second.length / 5))
  const middle = settled.length >> 1
  const growth = quantile(settled.slice(middle), 0.5) / quantile(settled.slice(0, middle), 0.5) - 1
  const p99 = quantile(livez, 0.99)
  const span = (all: number[]) => `${all[0]!.toFixed(0)} to ${all.at(-1)!.toFixed(0)}, most ${Math.max(...all).toFixed(0)}`
  const share = ([status, many]: [number, number]) => `${status === 0 ? 'no answer' : status} ${many}`
  const kept = { 'no 5xx': failures === 0, 'no wrong answer': wrong === 0, 'none lost': lost === 0, 'flat memory': growth < GROWTH_MAX }
  const lines = [
    `${requests.toLocaleString('en')} requests over ${values.connections} connections to ${values.domains} domains in ${seconds.toFixed(0)} s, ` +
      `${(requests / seconds).toFixed(0)} a second, ${hostile} of them hostile`,
    `answers: ${[...statuses].toSorted(([a], [b]) => a - b).map(share).join(', ')}`,
    `5xx: ${failures}; wrong answers: ${wrong}; good requests without an answer: ${lost}`,
    `memory, MiB: first half ${span(memory.slice(0, half))}; second half ${span(second)}; growth at the end ${(growth * 100).toFixed(1)} %`,
    `\`/livez\` median ${quantile(livez, 0.5).toFixed(1)} ms, 99th percentile ${p99.toFixed(1)} ms (wished: below ${LIVEZ_P99_MS_MAX} ms)`,
    `promises: ${Object.entries(kept).map(([promise, isKept]) => `${promise} ${isKept ? 'kept' : 'BROKEN'}`).join(', ')}`
  ]
  await publish(lines.map((line) => `- ${line}`).join('\n'))
  return Object.values(kept).every(Boolean)
}
