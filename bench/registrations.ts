/**
 * What registrations do to inference: latency of single rows at a steady pace, in turns without and with 100
 * registrations a second, each followed by an activation, while other domains are inferred.
 *
 *   npm run bench -- registrations [--seconds 8 --rounds 4]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { quantile } from '#src/cli/measure.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { signsRequest, startBenchServer } from './server.js'

/** `load` is for the process that it starts itself: the server to load, as JSON. */
const { values, publish } = openBench('registrations', { seconds: '8', rounds: '4', load: '' })

const PACE_MS = 10
const REGISTRATIONS_PER_SECOND = 100
const DOMAINS = ['day', 'lowlight', 'fog']

if (values.load === '') await compare()
else await register(JSON.parse(values.load) as Target, Number(values.seconds))

interface Target {
  address: string
  adminKey: string
}

async function compare (): Promise<void> {
  const server = await startBenchServer()
  const target = { address: server.address, adminKey: server.adminKey }
  const client = new Client(server, 16)
  try {
    await latencies(client, 2)
    const rounds: Array<{ quiet: number[], busy: number[] }> = []
    let registered = 0
    for (let round = 0; round < Number(values.rounds); round++) {
      const quiet = await latencies(client, Number(values.seconds))
      const child = fork(fileURLToPath(import.meta.url), ['--load', JSON.stringify(target), '--seconds', String(Number(values.seconds) + 1)])
      await once(child, 'message')
      const busy = await latencies(client, Number(values.seconds))
      const [count] = await once(child, 'message') as [number]
      registered += count
      rounds.push({ quiet, busy })
    }
    const row = (share: number) => {
      const [quiet, busy] = (['quiet', 'busy'] as const).map((which) => {
        return quantile(rounds.map((round) => quantile(round[which], share)), 0.5)
      })
      const ratio = quantile(rounds.map(({ quiet, busy }) => quantile(busy, share) / quantile(quiet, share)), 0.5)
      return `| ${100 * share} % | ${quiet!.toFixed(2)} | ${busy!.toFixed(2)} | ${ratio.toFixed(2)}x |`
    }
    const perSecond = registered / Number(values.rounds) / (Number(values.seconds) + 1)
    const text = `traffic-signs, one row every ${PACE_MS} ms; ${perSecond.toFixed(0)} registrations a second; medians of ` +
      `${values.rounds} rounds of ${values.seconds} s.\n\n` +
      '| quantile | without, ms | with registrations, ms | ratio |\n| --- | --- | --- | --- |\n' +
      [0.5, 0.9, 0.99].map(row).join('\n')
    await publish(text)
  } finally {
    client.close()
    await server.stop()
  }
}

/** Sends at a steady pace, whether answers came or not. */
async function latencies (client: Client, seconds: number): Promise<number[]> {
  const { body, headers } = signsRequest(1)
  const pending: Array<Promise<number>> = []
  const begin = performance.now()
  for (let at = 0; at * PACE_MS < seconds * 1000; at++) {
    const wait = begin + at * PACE_MS - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const sent = performance.now()
    pending.push(client.call('POST', '/v2/models/traffic-signs/infer', body, { ...headers, 'x-domain': DOMAINS[at % DOMAINS.length]! })
      .then(() => performance.now() - sent))
  }
  return await Promise.all(pending)
}

/** In a process of its own: new versions of ten domains in turn; tells when it has begun, and how many it made. */
async function register (target: Target, seconds: number): Promise<void> {
  const client = new Client(target, 8)
  const bank = await client.call('GET', '/admin/models/traffic-signs/domains/fog/versions/1')
  const path = (at: number) => `/admin/models/traffic-signs/domains/load-${at % 10}`
  process.send!('begun')
  const begin = performance.now()
  const pending: Array<Promise<unknown>> = []
  for (let at = 0; performance.now() - begin < seconds * 1000; at++) {
    const wait = begin + at * 1000 / REGISTRATIONS_PER_SECOND - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    pending.push(client.call('PUT', path(at), bank, { 'content-type': 'application/octet-stream' }))
  }
  await Promise.all(pending)
  process.send!(pending.length)
  client.close()
}
