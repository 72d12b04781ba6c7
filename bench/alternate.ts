/**
 * Does switching leave a trace? Sends requests that alternate between two domains, and compares every answer byte for
 * byte with what the domain answers alone. Then registers new domains and measures the first inference under each.
 *
 *   npm run bench -- alternate [--requests 10000]
 */
import { quantile } from '#src/cli/measure.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('alternate', { requests: '10000' })

const DOMAINS = ['day', 'lowlight'] as const
const REGISTRATIONS = 50

const server = await startBenchServer()
const client = new Client(server)
try {
  const lines = [await alternate(Number(values.requests)), await register()]
  await publish(lines.map((line) => `- ${line}`).join('\n'))
} finally {
  client.close()
  await server.stop()
}

async function alternate (count: number): Promise<string> {
  const alone = new Map<string, Buffer>()
  for (const domain of DOMAINS) alone.set(domain, await infer(domain))
  let different = 0
  for (let at = 0; at < count; at++) {
    const domain = DOMAINS[at % DOMAINS.length]!
    if (!(await infer(domain)).equals(alone.get(domain)!)) different++
  }
  return `${count.toLocaleString('en')} requests over one connection, alternating between ${DOMAINS.join(' and ')}: ${different} answers differ by a byte from ` +
    'the domain\'s answer alone'
}

async function register (): Promise<string> {
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
  const show = (times: number[]) => `${quantile(times, 0.5).toFixed(1)} ms (median; at most ${Math.max(...times).toFixed(1)} ms)`
  return `${REGISTRATIONS} registrations: answered in ${show(answered)}; first inference under the new domain, after that: ${show(inferred)}`
}

async function infer (domain: string): Promise<Buffer> {
  const { body, headers } = signsRequest(1)
  const answer = await client.call('POST', '/v2/models/traffic-signs/infer', body, { ...headers, 'x-domain': domain })
  // The tensor alone: the JSON before it names the domain.
  return answer.subarray(answer.length - 43 * 4)
}
