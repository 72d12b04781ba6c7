/**
 * What does X-Domain: auto cost over a domain that is named? Single rows over one connection, in turns with a named domain,
 * for traffic-signs and for ResNet-50 with random weights and two domains; and the same with several connections, where
 * what counts is the machine's time.
 *
 *   npm run bench -- auto [--rounds 400]
 */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf } from '#src/base/bytes.js'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { seededNormal } from '#src/compiler/sample-inputs.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { RESNET, RESNET_SIZE, writeResnetModel } from './resnet-model.js'
import { pictureRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('auto', { rounds: '400' })

const ROOT = new URL('../../', import.meta.url).pathname
const SIGNS = 'traffic-signs'
const CHUNKS = 10
const CONNECTIONS = 4
const SIGNATURE_IMAGES = 40
const SUBJECTS = [
  { model: SIGNS, input: 'input', size: 32, domains: ['day', 'fog'], rounds: Number(values.rounds) },
  { model: RESNET, input: 'x', size: RESNET_SIZE, domains: ['own', 'other'], rounds: Math.ceil(Number(values.rounds) / 4) }
]
type Subject = typeof SUBJECTS[number]

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-auto-'))
await writeResnetModel(join(folder, 'models'))
await cp(join(ROOT, 'models', SIGNS), join(folder, 'models', SIGNS), { recursive: true })
const server = await startBenchServer({ BANKSWITCH_MODELS_DIR: join(folder, 'models') })
const rows: string[][] = []
try {
  await secondDomain()
  for (const subject of SUBJECTS) {
    rows.push([subject.model, ...await oneByOne(subject), ...await together(subject)])
    console.error(rows.at(-1)!.join('  '))
  }
  await publish(`Medians; ratios are of neighbouring requests, or chunks, in turns.\n\n${markdownTable(
    ['model', 'named, ms', 'auto, ms', 'ratio', 'quartiles', `${CONNECTIONS} connections: named, requests/s`, 'auto, requests/s', 'time per request, ratio'], rows
  )}`)
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}

/** ResNet-50 gets a copy of its domain, and both a signature of noise. */
async function secondDomain (): Promise<void> {
  const client = new Client(server)
  const admin = `/admin/models/${RESNET}/domains`
  const own = await client.call('GET', `${admin}/own/versions/1`)
  await client.call('PUT', `${admin}/other`, own, { 'content-type': 'application/octet-stream' })
  for (const [seed, domain] of ['own', 'other'].entries()) {
    const normal = seededNormal(seed)
    const shape = [SIGNATURE_IMAGES, 3, RESNET_SIZE, RESNET_SIZE]
    const pixels = Float32Array.from({ length: shape.reduce((product, size) => product * size) }, () => seed + normal())
    const form = new FormData()
    form.append('mode', 'signature')
    form.append('tensors', new Blob([serializeSafetensors([{ name: 'x', dtype: 'F32', shape, bytes: bytesOf(pixels) }], new Map())]), 'x.safetensors')
    const { body, headers } = { body: new Response(form), headers: {} as Record<string, string> }
    headers['content-type'] = body.headers.get('content-type')!
    const started = await client.call('POST', `${admin}/${domain}/calibrations`, new Uint8Array(await body.arrayBuffer()), headers)
    const { id } = JSON.parse(started.toString()) as { id: string }
    for (let state = ''; state !== 'succeeded';) {
      await new Promise((resolve) => setTimeout(resolve, 200))
      const job = JSON.parse((await client.call('GET', `/admin/jobs/${id}`)).toString()) as { state: string, error?: unknown }
      if (job.error !== undefined) throw new Error(JSON.stringify(job.error))
      state = job.state
    }
  }
  client.close()
}

function asker (client: Client, { model, input, size, domains }: Subject): (isAuto: boolean, at: number) => Promise<unknown> {
  const { body, headers } = pictureRequest(input, 1, size)
  return (isAuto, at) => client.call('POST', `/v2/models/${model}/infer`, body, {
    ...headers, 'x-domain': isAuto ? 'auto' : domains[at % domains.length]!
  })
}

async function oneByOne (subject: Subject): Promise<string[]> {
  const client = new Client(server)
  const ask = asker(client, subject)
  const ms: Record<'named' | 'auto', number[]> = { named: [], auto: [] }
  const measure = async (kind: 'named' | 'auto', at: number) => {
    const begin = performance.now()
    await ask(kind === 'auto', at)
    ms[kind].push(performance.now() - begin)
  }
  for (let round = -20; round < subject.rounds; round++) {
    for (const kind of round % 2 === 0 ? ['named', 'auto'] as const : ['auto', 'named'] as const) await measure(kind, round + 20)
    if (round < 0) for (const all of Object.values(ms)) all.length = 0
  }
  client.close()
  const ratios = ms.auto.map((auto, at) => auto / ms.named[at]!)
  return [
    quantile(ms.named, 0.5).toFixed(2), quantile(ms.auto, 0.5).toFixed(2), `${quantile(ratios, 0.5).toFixed(3)}x`,
    `${quantile(ratios, 0.25).toFixed(2)}–${quantile(ratios, 0.75).toFixed(2)}`
  ]
}

async function together (subject: Subject): Promise<string[]> {
  const client = new Client(server, CONNECTIONS)
  const ask = asker(client, subject)
  const requests = Math.ceil(subject.rounds / 2)
  const seconds: Record<'named' | 'auto', number[]> = { named: [], auto: [] }
  const chunk = async (kind: 'named' | 'auto') => {
    const begin = performance.now()
    let left = requests
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) await ask(kind === 'auto', left)
    }))
    seconds[kind].push((performance.now() - begin) / 1000)
  }
  for (let at = 0; at <= CHUNKS; at++) for (const kind of at % 2 === 0 ? ['named', 'auto'] as const : ['auto', 'named'] as const) await chunk(kind)
  client.close()
  for (const all of Object.values(seconds)) all.shift()
  const ratio = quantile(seconds.auto.map((auto, at) => auto / seconds.named[at]!), 0.5)
  return [
    (requests / quantile(seconds.named, 0.5)).toFixed(0), (requests / quantile(seconds.auto, 0.5)).toFixed(0), `${ratio.toFixed(3)}x`
  ]
}
