/**
 * Does switching leave a trace? Sends requests that alternate between two domains, and compares every answer byte for
 * byte with what the domain answers alone. Then registers new domains and measures the first inference under each.
 *
 *   npm run bench:alternate [-- --requests 10000]
 */
import { parseArgs } from 'node:util'
import { quantile } from '#src/cli/measure.js'
import { Client } from './client.js'
import { signsRequest, startBenchServer } from './server.js'

const { values } = parseArgs({ options: { requests: { type: 'string', default: '10000' } } })

const DOMAINS = ['day', 'lowlight'] as const
const REGISTRATIONS = 50

const server = await startBenchServer()
const client = new Client(server)
try {
  await alternate(Number(values.requests))
  await register()
} finally {
  client.close()
  await server.stop()
}

async function alternate (count: number): Promise<void> {
  const alone = new Map<string, Buffer>()
  for (const domain of DOMAINS) alone.set(domain, await infer(domain))
  let different = 0
  for (let at = 0; at < count; at++) {
    const domain = DOMAINS[at % DOMAINS.length]!
    if (!(await infer(domain)).equals(alone.get(domain)!)) different++
  }
  console.log(`${count} requests alternating between ${DOMAINS.join(' and ')}: ${different} differ from the domain alone`)
}

async function register (): Promise<void> {
  const bank = await client.call('GET', '/admin/models/traffic-signs/domains/fog/versions/1')
  const answered: number[] = []
  const inferred: number[] = []
  for (let at = 0; at < REGISTRATIONS; at++) {
    const begin = performance.now()
    await client.call('PUT', `/admin/models/traffic-signs/domains/new-${at}`, bank, { 'content-type': 'application/octet-stream' })
    const registered = performance.now()
    await infer(`new-${at}`)
    answered.push(registered - begin)
    inferred.push(performance.now() - registered)
  }
  const show = (times: number[]) => `median ${quantile(times, 0.5).toFixed(1)} ms, max ${Math.max(...times).toFixed(1)} ms`
  console.log(`${REGISTRATIONS} registrations: ${show(answered)}; first inference after the answer: ${show(inferred)}`)
}

async function infer (domain: string): Promise<Buffer> {
  const { body, headers } = signsRequest(1)
  const answer = await client.call('POST', '/v2/models/traffic-signs/infer', body, { ...headers, 'x-domain': domain })
  // The tensor alone: the JSON before it names the domain.
  return answer.subarray(answer.length - 43 * 4)
}
