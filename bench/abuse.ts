/**
 * Requests that were made to hurt, all kinds at once over many connections, against a server with a heap of 1 GiB, beside
 * honest requests whose answers are known. Promised: the process lives, nothing fails but by 503, no wrong answer, less than
 * 2 GiB resident, every budget back at 0 afterwards. Exit code 1 when a promise is broken.
 *
 *   npm run bench -- abuse [--minutes 5 --connections 16 --seed 1]
 */
import { Agent } from 'node:http'
import { quantile } from '#src/cli/measure.js'
import { seededUniform } from '#src/compiler/sample-inputs.js'
import { makeAbuses, send } from './abuses.js'
import { ask } from './ask.js'
import { openBench } from './report.js'
import { memoryOf, signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('abuse', { minutes: '5', connections: '16', seed: '1' })

const HEAP_MIB = 1024
const RESIDENT_MIB_MAX = 2048
const PAUSE_MS = 20
const LIVEZ_P99_MS_MAX = 50

/** For what is under way to end. */
const SETTLING_MS = 120_000

/** As docs/operations.md has it for a container of 2 GiB. */
const SETTINGS = {
  BANKSWITCH_BODIES_BYTES: String(2 ** 28),
  BANKSWITCH_ANSWERS_BYTES: String(2 ** 27),
  BANKSWITCH_PICTURE_BYTES: String(2 ** 29),
  BANKSWITCH_RUN_BYTES: String(2 ** 27)
}

const HELD = ['bankswitch_body_bytes', 'bankswitch_answer_bytes', 'bankswitch_picture_bytes', 'bankswitch_queue_rows']
const DOMAINS = ['day', 'lowlight', 'fog', 'lowres']

const random = seededUniform(Number(values.seed))
const server = await startBenchServer(SETTINGS, [`--max-old-space-size=${HEAP_MIB}`])
const honest = new Agent({ keepAlive: true, maxSockets: 4 })
const own = new Agent({ keepAlive: true, maxSockets: 1 })
const statuses = new Map<string, Map<number, number>>()
const livez: number[] = []
let wrong = 0
let lost = 0
let peakMiB = 0
let hasEnded = false
try {
  const expected = new Map(await Promise.all(DOMAINS.map(async (domain) => [domain, (await infer(domain)).body] as const)))
  const abuses = Object.entries(await makeAbuses())
  const end = performance.now() + Number(values.minutes) * 60_000
  const isOver = () => performance.now() >= end
  await Promise.all([
    watchServer(isOver), ...DOMAINS.map((domain) => askHonestly(domain, expected.get(domain)!, isOver)),
    ...Array.from({ length: Number(values.connections) }, async () => {
      while (!isOver()) {
        const [kind, abuse] = abuses[Math.floor(random() * abuses.length)]!
        for (const status of await send(server.address, abuse(random), random)) count(kind, status)
      }
    })
  ])
  process.exitCode = await report(await heldInTheEnd()) ? 0 : 1
} finally {
  honest.destroy()
  own.destroy()
  const code = await server.stop()
  console.error(`SIGTERM: exit code ${code}`)
  if (hasEnded || code !== 0) process.exitCode = 1
}

function infer (domain: string): Promise<{ status: number, body: Buffer }> {
  const { body, headers } = signsRequest(1)
  const url = `${server.address}/v2/models/traffic-signs/infer`
  return ask({ method: 'POST', url, headers: { ...headers, 'x-domain': domain }, body, agent: honest })
}

async function askHonestly (domain: string, expected: Buffer, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    try {
      const { status, body } = await infer(domain)
      count('honest', status)
      if (status === 200 && !body.equals(expected)) wrong++
    } catch {
      lost++
    }
    await pause()
  }
}

function count (kind: string, status: number): void {
  const of = statuses.get(kind) ?? new Map<number, number>()
  of.set(status, (of.get(status) ?? 0) + 1)
  statuses.set(kind, of)
}

async function watchServer (isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const begin = performance.now()
    try {
      await ask({ method: 'GET', url: `${server.address}/livez`, agent: own })
      livez.push(performance.now() - begin)
      peakMiB = Math.max(peakMiB, memoryOf(server).peak)
    } catch {
      hasEnded = true
    }
    await pause()
  }
}

function pause (): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, PAUSE_MS) })
}

/** What the budgets still count when nothing is under way any more. */
async function heldInTheEnd (): Promise<Record<string, number>> {
  const end = performance.now() + SETTLING_MS
  for (;;) {
    const { body } = await ask({ method: 'GET', url: `${server.address}/metrics`, agent: own })
    const held = Object.fromEntries(HELD.map((name) => [name, Number(new RegExp(`^${name} (.*)$`, 'm').exec(body.toString())?.[1])]))
    if (performance.now() > end || Object.values(held).every((bytes) => bytes === 0)) return held
    await pause()
  }
}

/** Whether all promises were kept. */
async function report (held: Record<string, number>): Promise<boolean> {
  const all = [...statuses.values()].flatMap((of) => [...of])
  const failures = all.filter(([status]) => status >= 500 && status !== 503).reduce((sum, [, many]) => sum + many, 0)
  const p99 = quantile(livez, 0.99)
  const kept = {
    'process alive': !hasEnded,
    'no 5xx but 503': failures === 0,
    'no wrong answer': wrong === 0,
    'none lost': lost === 0,
    'memory bounded': peakMiB < RESIDENT_MIB_MAX,
    'budgets at 0': Object.values(held).every((bytes) => bytes === 0)
  }
  const lines = [...statuses].toSorted(([a], [b]) => a < b ? -1 : 1).map(([kind, of]) => {
    return `${kind}: ${[...of].toSorted(([a], [b]) => a - b).map(([status, many]) => `${status} ${many}`).join(', ')}`
  })
  await publish([
    `${values.minutes} minutes, ${values.connections} connections, seed ${values.seed}; answers by kind, of clients that waited for one:`,
    ...lines,
    `wrong answers: ${wrong}; honest requests without an answer: ${lost}; 5xx but 503: ${failures}`,
    `resident at most ${peakMiB.toFixed(0)} MiB; in the end ${Object.entries(held).map(([name, bytes]) => `${name} ${bytes}`).join(', ')}`,
    `\`/livez\` median ${quantile(livez, 0.5).toFixed(1)} ms, 99th percentile ${p99.toFixed(1)} ms (wished: below ${LIVEZ_P99_MS_MAX} ms)`,
    `promises: ${Object.entries(kept).map(([promise, isKept]) => `${promise} ${isKept ? 'kept' : 'BROKEN'}`).join(', ')}`
  ].map((line) => `- ${line}`).join('\n'))
  return Object.values(kept).every(Boolean)
}
