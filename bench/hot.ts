/**
 * What a network of its own is worth to a hot domain, and what it takes: time of one row against the folded network,
 * for the hot domain and for another; memory of a server before, with and after; and requests that alternate between
 * two domains while first the one becomes hot, then the other. Each answer is compared with what the shared and the
 * domain's own network give for it.
 *
 *   npm run bench -- hot [--networks ResNet-50,MobileNetV2 --requests 10000 --rounds 60]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf } from '#src/base/bytes.js'
import { serializeBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { packBank } from '#src/bank/pack.js'
import { markdownTable, quantile, ratiosTo } from '#src/cli/measure.js'
import { measureOpenings } from '#src/cli/openings.js'
import { readArtefact, type Artefact } from '#src/compiler/artefact.js'
import { dedicateInProcess } from '#src/compiler/compile-process.js'
import { compileSource, prepareSource } from '#src/compiler/pipeline.js'
import { bankFeeds, relativeError, RELATIVE_ERROR_MAX } from '#src/compiler/prove.js'
import { withBank } from '#src/compiler/with-bank.js'
import { serializeModel } from '#src/onnx/model.js'
import { openSession, type PlainTensor, type Session } from '#src/ort/session.js'
import { mobilenetV2, resnet50 } from '../test/support/networks.js'
import { seededNormal } from '../test/support/random.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { CLASSES, writeClassifier } from './resnet-model.js'
import { mappedMemoryOf, pictureRequest, startBenchServer, type BenchServer } from './server.js'
import type { Bank, LayerStatistics } from '#src/bank/bank.js'
import type { HotVersion } from '#src/serving/heating/hot-domains.js'

const { values, publish } = openBench('hot', { networks: 'ResNet-50,MobileNetV2', requests: '10000', rounds: '60' })

const NETWORKS: Readonly<Record<string, () => Uint8Array>> = {
  'ResNet-50': () => resnet50({ size: SIZE, classes: CLASSES }).bytes,
  MobileNetV2: () => mobilenetV2({ size: SIZE, classes: CLASSES }).bytes
}

const SIZE = 224
const DOMAINS = ['own', 'other'] as const
type Domain = typeof DOMAINS[number]

const WORKERS = 2
const CONNECTIONS = 4
const HOT_BYTES = 2 ** 30
const FOLD_BUDGET = 0.05

/** Pictures that are asked for in turn, so that a mixed-up answer shows. */
const PICTURES = 4

/** Of the requests, those before the second domain gets most of them. */
const FIRST_SHARE = 0.4
const POLL_MS = 500
const MINUTES_MAX = 20

/** What a domain answers for each picture, by the shared and by its own network. */
type Expected = Record<Domain, Array<Record<'shared' | 'own', PlainTensor>>>

/** One network, in files, and what it is measured with. */
interface Subject {
  name: string
  folder: string
  artefact: Artefact
  banks: Record<Domain, Bank>
  dedicated: Record<Domain, string>
}

const rows = { speed: [] as string[][], answers: [] as string[][], memory: [] as string[][] }
for (const name of values.networks.split(',')) {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-hot-'))
  try {
    await measureNetwork(name, folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
await publish([
  'One row, one thread, medians of interleaved rounds; the folded network is the prepared graph with the domain\'s statistics, fused by ONNX Runtime.',
  markdownTable(['network', 'folded ms', 'hot domain / folded', 'quartiles', 'other domain / folded', 'quartiles'], rows.speed),
  `A server with ${WORKERS} workers and ${CONNECTIONS} connections: first two in three requests are for one domain, then nine in ten for the other. An answer ` +
    'counts as of the network whose answer it equals in every byte, as near when it only lies within the proof\'s tolerance of one.',
  markdownTable(['network', 'requests', 'of the shared network', 'of the domain\'s own', 'near', 'wrong', 'p50 ms', 'p99 ms', 'max ms'], rows.answers),
  markdownTable(['network', 'server', 'resident MiB', 'proportional MiB', 'anonymous MiB', 'reported for hot domains, MiB'], rows.memory)
].join('\n\n'))

async function measureNetwork (name: string, folder: string): Promise<void> {
  const subject = await prepare(name, folder)
  rows.speed.push([name, ...await compareSpeed(subject)])
  const expected = await expectedOf(subject)
  const server = await startBenchServer({
    BANKSWITCH_MODELS_DIR: join(folder, 'models'),
    BANKSWITCH_WORKERS: String(WORKERS),
    BANKSWITCH_HOT_BYTES: String(HOT_BYTES)
  })
  try {
    await alternate(server, subject, expected)
  } finally {
    await server.stop()
  }
}

async function prepare (name: string, folder: string): Promise<Subject> {
  const bytes = NETWORKS[name]!()
  const path = await writeClassifier(join(folder, 'models'), name, bytes)
  const source = { path, origin: 'graph' } as const
  const artefactFolder = await mkdtemp(join(folder, 'artefact-'))
  await compileSource(source, artefactFolder, { foldBudget: FOLD_BUDGET, samples: [{ x: [1, 3, SIZE, SIZE] }] })
  const artefact = await readArtefact(artefactFolder)
  const banks = { own: artefact.ownBank, other: variantOf(artefact.ownBank) }
  const dedicate = async (bank: Bank): Promise<string> => {
    const into = await mkdtemp(join(folder, 'dedicated-'))
    return (await dedicateInProcess({ source, artefactFolder, bank, folder: into, runRows: 4 })).graphPath
  }
  return { name, folder, artefact, banks, dedicated: { own: await dedicate(banks.own), other: await dedicate(banks.other) } }
}

/** A bank near the model's own, whose answers differ. */
function variantOf (bank: Bank): Bank {
  const normal = seededNormal(1)
  return new Map([...bank].map(([key, statistics]): [string, LayerStatistics] => [key, {
    ...statistics, mean: statistics.mean.map((mean, at) => mean + 0.3 * normal() * Math.sqrt(statistics.variance[at]!))
  }]))
}

async function compareSpeed ({ folder, name, artefact, banks, dedicated }: Subject): Promise<string[]> {
  const { bytes } = await prepareSource({ path: join(folder, 'models', name, 'model.onnx'), origin: 'graph' })
  const folded = serializeModel(withBank(bytes, banks.own))
  const feedsOfRow = () => feedsOf(0)
  const bank = bankFeeds(artefact.bankInputs, packBank(artefact.layout, banks.other))
  const timings = await measureOpenings([
    { name: 'folded', open: () => openSession(folded, { optimization: 'all' }), feedsOf: feedsOfRow },
    { name: 'hot', open: () => openSession(dedicated.own, { optimization: 'disabled' }), feedsOf: feedsOfRow },
    {
      name: 'other',
      open: () => openSession(artefact.graphPath, { optimization: 'disabled' }),
      feedsOf: () => ({ ...feedsOfRow(), ...bank })
    }
  ], { rows: 1, rounds: Number(values.rounds) })
  const [first, ...ours] = timings
  return [first!.medianMs.toFixed(2), ...ours.flatMap((timing) => {
    const ratios = ratiosTo(first!, timing)
    const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(ratios, share).toFixed(3))
    return [`${middle}x`, `${low}–${high}`]
  })]
}

function feedsOf (picture: number): Record<string, PlainTensor> {
  const { body, headers } = pictureRequest('x', 1, SIZE, picture)
  const data = new Float32Array(Uint8Array.from(body.subarray(Number(headers['inference-header-content-length']))).buffer)
  return { x: { type: 'float32', dims: [1, 3, SIZE, SIZE], data } }
}

/** Throws when the domains' answers are too close to be told apart. */
async function expectedOf ({ artefact, banks, dedicated }: Subject): Promise<Expected> {
  const output = artefact.outputs[0]!.name
  const shared = await openSession(artefact.graphPath, { optimization: 'disabled' })
  const answers = async (domain: Domain) => {
    const bank = bankFeeds(artefact.bankInputs, packBank(artefact.layout, banks[domain]))
    const own = await openSession(dedicated[domain], { optimization: 'disabled' })
    const ask = async (session: Session, picture: number, more = {}) => (await session.run({ ...feedsOf(picture), ...more }))[output]!
    const all: Expected[Domain] = []
    for (let at = 0; at < PICTURES; at++) all.push({ shared: await ask(shared, at, bank), own: await ask(own, at) })
    await own.release()
    return all
  }
  const expected = { own: await answers('own'), other: await answers('other') }
  await shared.release()
  const all = DOMAINS.flatMap((domain) => expected[domain].map(({ own }) => own))
  for (const [at, one] of all.entries()) {
    const nearest = Math.min(...all.filter((_, other) => other !== at).map((other) => relativeError(one, other)))
    if (nearest < 10 * RELATIVE_ERROR_MAX) throw new Error(`two answers differ by no more than ${nearest}`)
  }
  return expected
}

async function alternate (server: BenchServer, { name, banks }: Subject, expected: Expected): Promise<void> {
  const client = new Client(server, CONNECTIONS)
  const observer = new Client(server)
  const file = serializeBankSafetensors(banks.other, new Map())
  await client.call('PUT', `/admin/models/${name}/domains/other`, file, { 'content-type': 'application/octet-stream' })
  const requests = Array.from({ length: PICTURES }, (_, at) => pictureRequest('x', 1, SIZE, at))
  const counts = { shared: 0, own: 0, near: 0, wrong: 0 }
  const times: number[] = []
  const ask = async (domain: Domain, picture: number): Promise<void> => {
    const { body, headers } = requests[picture]!
    const begin = performance.now()
    const answer = await client.call('POST', `/v2/models/${name}/infer`, body, { ...headers, 'x-domain': domain })
    times.push(performance.now() - begin)
    counts[verdict(Uint8Array.from(answer.subarray(-4 * CLASSES)), expected[domain][picture]!)]++
  }
  let hot: HotVersion[] = []
  const remember = async (when: string): Promise<void> => {
    const { rss, pss, anonymous } = await mappedMemoryOf(server.pid)
    const reported = hot.reduce((sum, { bytes }) => sum + bytes, 0)
    rows.memory.push([name, when, ...[rss, pss, anonymous, reported / 1024].map(mib)])
    console.error(rows.memory.at(-1)!.join('  '))
  }
  const isHot = (domain: Domain) => hot.some((one) => one.domain === domain)
  const begin = performance.now()
  let asked = 0
  /** Requests over all connections until both are so. */
  const askUntil = async (total: number, isDone: () => boolean, domainOf: (at: number) => Domain): Promise<void> => {
    const state = { isOver: false }
    const watching = (async () => {
      while (!state.isOver) {
        hot = (JSON.parse((await observer.call('GET', `/v1/models/${name}`)).toString()) as { hot: HotVersion[] }).hot
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        if (performance.now() - begin > MINUTES_MAX * 60_000) throw new Error(`not after ${MINUTES_MAX} minutes: ${JSON.stringify(hot)}`)
        state.isOver = isDone() && asked >= total
      }
    })()
    const lanes = Array.from({ length: CONNECTIONS }, async () => {
      while (!state.isOver) {
        const at = asked++
        await ask(domainOf(at), Math.floor(at / 3) % PICTURES)
      }
    })
    await Promise.all([watching, ...lanes])
  }
  const total = Number(values.requests)
  await askUntil(200, () => true, (at) => DOMAINS[at % 2]!)
  await remember('nobody is hot')
  await askUntil(FIRST_SHARE * total, () => isHot('own'), (at) => at % 3 < 2 ? 'own' : 'other')
  await remember('the first domain is hot')
  await askUntil(total, () => isHot('other') && !isHot('own'), (at) => at % 10 < 9 ? 'other' : 'own')
  await remember('the second is, the first is not')
  client.close()
  observer.close()
  rows.answers.push([
    name, times.length.toLocaleString('en'), ...Object.values(counts).map((count) => count.toLocaleString('en')),
    ...[0.5, 0.99, 1].map((share) => quantile(times, share).toFixed(1))
  ])
}

function verdict (bytes: Uint8Array, { shared, own }: Expected[Domain][number]): 'shared' | 'own' | 'near' | 'wrong' {
  const equals = ({ data }: PlainTensor) => Buffer.compare(bytes, bytesOf(data as Float32Array)) === 0
  if (equals(shared)) return 'shared'
  if (equals(own)) return 'own'
  const answer = { ...shared, data: new Float32Array(bytes.buffer) }
  return [shared, own].some((one) => relativeError(answer, one) <= RELATIVE_ERROR_MAX) ? 'near' : 'wrong'
}

function mib (kib: number): string {
  return Math.round(kib / 1024).toLocaleString('en')
}
