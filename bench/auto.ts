/**
 * What does X-Domain: auto cost over a domain that is named? Single rows over one connection, in turns with the domain that
 * they are of, for traffic-signs and for ResNet-50 with random weights and two domains; and the same with several connections,
 * where what counts is the machine's time. Pictures that no domain fits are answered by the default domain.
 *
 *   npm run bench -- auto [--rounds 3200]
 */
import { cp, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf } from '#src/base/bytes.js'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { seededNormal } from '#src/compiler/sample-inputs.js'
import { preprocessImage } from '#src/imaging/preprocess.js'
import { parseManifest, type ClassificationManifest } from '#src/models/manifest.js'
import { rulesOf } from '#src/models/preprocessing.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { RESNET, RESNET_SIZE, writeResnetModel } from './resnet-model.js'
import { pictureRequest, startBenchServer, tensorRequest } from './server.js'

const { values, publish } = openBench('auto', { rounds: '3200' })

const ROOT = new URL('../../', import.meta.url).pathname
const SIGNS = 'traffic-signs'
const SIGN_DOMAINS = ['day', 'fog', 'lowlight']
const CHUNKS = 10
const CONNECTIONS = 4
const SIGNATURE_IMAGES = 40
const PIXELS_MAX = 2 ** 20

/** A picture, and the domain that it is of. */
interface Picture {
  domain: string
  body: Buffer
  headers: Record<string, string>
}

type Kind = 'named' | 'auto'

interface Subject {
  model: string
  pictures: readonly Picture[]
  rounds: number
}

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-auto-'))
await writeResnetModel(join(folder, 'models'))
await cp(join(ROOT, 'models', SIGNS), join(folder, 'models', SIGNS), { recursive: true })
const server = await startBenchServer({ BANKSWITCH_MODELS_DIR: join(folder, 'models') })
const rows: string[][] = []
try {
  await secondDomain()
  const rounds = Number(values.rounds)
  const subjects: Record<string, Subject> = {
    [SIGNS]: { model: SIGNS, pictures: await samples(), rounds },
    [`${SIGNS}, noise`]: { model: SIGNS, pictures: [{ domain: 'day', ...pictureRequest('input', 1, 32) }], rounds },
    [RESNET]: { model: RESNET, pictures: [noise('own', 0, 7), noise('other', 1, 8)], rounds: Math.ceil(rounds / 8) }
  }
  for (const [title, subject] of Object.entries(subjects)) {
    rows.push([title, ...await oneByOne(subject), ...await together(subject)])
    console.error(rows.at(-1)!.join('  '))
  }
  await publish(`Medians; a ratio is of four neighbouring requests for one picture, or of neighbouring chunks, in turns.\n\n${markdownTable(
    ['pictures of', 'named, ms', 'auto, ms', 'ratio', 'quartiles', `${CONNECTIONS} connections: named, requests/s`, 'auto, requests/s', 'time per request, ratio'], rows
  )}`)
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}

/** Those that the model comes with, of domains of the usual size. */
async function samples (): Promise<Picture[]> {
  const folder = join(ROOT, 'models', SIGNS)
  const manifest = parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8'), SIGNS) as ClassificationManifest
  const pictures: Picture[] = []
  for (const file of (await readdir(join(folder, 'samples'))).sort()) {
    const domain = file.split('-')[0]!
    if (!SIGN_DOMAINS.includes(domain)) continue
    const { dims, data } = await preprocessImage(await readFile(join(folder, 'samples', file)), rulesOf(manifest, domain), PIXELS_MAX)
    pictures.push({ domain, ...tensorRequest(manifest.input.name, dims, data) })
  }
  return pictures
}

function noise (domain: string, mean: number, seed: number): Picture {
  const shape = [1, 3, RESNET_SIZE, RESNET_SIZE]
  return { domain, ...tensorRequest('x', shape, pixelsAround(mean, seededNormal(seed), shape)) }
}

function pixelsAround (mean: number, normal: () => number, shape: readonly number[]): Float32Array {
  return Float32Array.from({ length: shape.reduce((product, size) => product * size) }, () => mean + normal())
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
    const pixels = pixelsAround(seed, normal, shape)
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

function asker (client: Client, { model, pictures }: Subject): (kind: Kind, at: number) => Promise<unknown> {
  return (kind, at) => {
    const { domain, body, headers } = pictures[at % pictures.length]!
    return client.call('POST', `/v2/models/${model}/infer`, body, { ...headers, 'x-domain': kind === 'auto' ? 'auto' : domain })
  }
}

/**
 * Four requests for the same picture make a ratio, named and auto first and last in turns. Its bank has run right before:
 * the first request under another bank takes longer, whichever it is.
 */
async function oneByOne (subject: Subject): Promise<string[]> {
  const client = new Client(server)
  const ask = asker(client, subject)
  const ms: Record<Kind, number[]> = { named: [], auto: [] }
  const ratios: number[] = []
  for (let round = -5; round < subject.rounds; round++) {
    await ask('named', round + 5)
    const sums: Record<Kind, number> = { named: 0, auto: 0 }
    for (const kind of round % 2 === 0 ? ['named', 'auto', 'auto', 'named'] as const : ['auto', 'named', 'named', 'auto'] as const) {
      const begin = performance.now()
      await ask(kind, round + 5)
      const took = performance.now() - begin
      sums[kind] += took
      if (round >= 0) ms[kind].push(took)
    }
    if (round >= 0) ratios.push(sums.auto / sums.named)
  }
  client.close()
  return [
    quantile(ms.named, 0.5).toFixed(2), quantile(ms.auto, 0.5).toFixed(2), `${quantile(ratios, 0.5).toFixed(3)}x`,
    `${quantile(ratios, 0.25).toFixed(2)}–${quantile(ratios, 0.75).toFixed(2)}`
  ]
}

async function together (subject: Subject): Promise<string[]> {
  const client = new Client(server, CONNECTIONS)
  const ask = asker(client, subject)
  const requests = Math.ceil(subject.rounds / 4)
  const seconds: Record<Kind, number[]> = { named: [], auto: [] }
  const chunk = async (kind: Kind) => {
    const begin = performance.now()
    let left = requests
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) await ask(kind, left)
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
