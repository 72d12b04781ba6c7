/** The parts of the drift bench that need an engine: what the stem sees of pictures, and how candidates come about. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseSafetensors } from '#src/bank/formats/safetensors.js'
import { completeOptions } from '#src/calibration/options.js'
import { markdownTable } from '#src/cli/measure.js'
import { loadSettings } from '#src/config/load.js'
import { createEngine, type Engine } from '#src/engine.js'
import { createLogger } from '#src/observability/logger.js'
import { createMetrics } from '#src/observability/metrics.js'
import { openSession } from '#src/ort/session.js'
import { featuresOfRows } from '#src/signature/features.js'
import { parseSignatures } from '#src/signature/file-parts.js'
import { BATCH as GATHERED_AT_ONCE } from '#src/serving/collecting/gathering.js'
import { openStore } from '#src/store/open-store.js'
import { seededNormal } from '../test/support/random.js'
import { loadSigns, shuffled, signUploads, tensorOf, type Sign, type Signs } from './domain-pictures.js'
import type { Signature } from '#src/signature/signature.js'
import type { BankStore } from '#src/store/bank-store.js'
import type { Tensors } from '#src/ort/rows.js'

const MODEL = 'traffic-signs'
const ROOT = new URL('../../', import.meta.url).pathname
const BATCH = 32
const VALUES = 61
const DARK = 'dark, noisy'
const NOISE = 6
const IMAGES = 256
const EXPOSURES = [0.18, 0.12]
const PICTURES_MAX = 5000

/** A picture's features, and some of its values. */
export interface SeenRow {
  features: Float64Array
  values: Float32Array
}

/** What the stem sees of pictures of one size. */
export interface Look {
  /** As shipped, by domain. */
  signatures: ReadonlyMap<string, Signature>
  /** Test pictures, by kind. */
  test: ReadonlyMap<string, SeenRow[]>
  /** Of the frames of training tracks by day, in their order. */
  frames: SeenRow[]
}

/** What the parts of the bench share. */
export interface DriftBench {
  engine: Engine
  store: BankStore
  signs: Signs
  seed: number
}

/** An engine of its own that looks at every picture. */
export async function withEngine (data: string, seed: number, work: (bench: DriftBench) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-drift-'))
  const logger = createLogger('error', process.stderr)
  const settings = loadSettings({
    BANKSWITCH_MODELS_DIR: join(ROOT, 'models'),
    BANKSWITCH_DOMAINS_DIR: join(ROOT, 'domains'),
    BANKSWITCH_STORE: join(folder, 'store'),
    BANKSWITCH_JOBS_DIR: join(folder, 'jobs'),
    BANKSWITCH_CACHE_DIR: join(folder, 'cache'),
    BANKSWITCH_DRIFT_ERT: '1000000',
    BANKSWITCH_DRIFT_SHARE: '1',
    BANKSWITCH_DRIFT_COLLECT: 'true',
    BANKSWITCH_DRIFT_COLLECT_IMAGES: String(IMAGES)
  }, [])
  const { store, close } = await openStore(settings, logger)
  const engine = await createEngine({ settings, logger, metrics: createMetrics(), store })
  try {
    await engine.prepared
    await work({ engine, store, signs: await loadSigns(join(data, 'gtsrb32.npz'), seed), seed })
  } finally {
    await engine.close()
    await close()
    await rm(folder, { recursive: true, force: true })
  }
}

export async function lookAt ({ engine, store, signs: { train, test }, seed }: DriftBench): Promise<Look> {
  const kinds: Array<[string, Sign[]]> = [
    ['day', test.day], ['lowlight', test.lowlight], ['fog', test.fog], [DARK, darkened(test.day, EXPOSURES[0]!, seed)]
  ]
  return {
    signatures: new Map(await Promise.all(['day', 'lowlight', 'fog'].map(async (domain) => {
      return [domain, await shippedSignature(store, domain)] as const
    }))),
    test: new Map(await Promise.all(kinds.map(async ([kind, signs]) => [kind, await seenBy(engine, signs)] as const))),
    frames: await seenBy(engine, train.day)
  }
}

/** What becomes of dark, noisy pictures. */
export async function candidates ({ engine, signs: { train, test }, seed }: DriftBench): Promise<string> {
  const rows: string[][] = []
  for (const exposure of EXPOSURES) rows.push(await becomes(engine, train.day, test.day, exposure, seed))
  return `Dark, noisy pictures in one stream with \`X-Domain: auto\`, every picture looked at, a candidate of ${IMAGES}; ` +
    'accuracies on the test part in %, also of calibrations on as many pictures, the last that were sent, which are those that it was made of but for a few:\n\n' + markdownTable([
    'exposure', 'answered by', 'sent until a candidate', 'that domain', 'candidate', 'calibrated, fixed', 'fvcore', 'sequential',
    'another best class, as told'
  ], rows)
}

/** What X-Domain-Fit tells of streams, of pictures that a domain knows and of dark, noisy ones. */
export async function streamFits ({ engine, signs: { train, test }, seed }: DriftBench): Promise<string> {
  const rows: string[][] = []
  for (const domain of ['day', 'lowlight', 'fog'] as const) rows.push(await fitsOf(engine, domain, shuffled(test[domain], seed), 'shuffled'))
  for (const domain of ['day', 'lowlight', 'fog'] as const) rows.push(await fitsOf(engine, domain, train[domain], 'consecutive'))
  for (const exposure of EXPOSURES) {
    const label = `${DARK}, ${100 * exposure} %`
    rows.push(await fitsOf(engine, label, darkened(shuffled(test.day, seed), exposure, seed), 'shuffled'))
    rows.push(await fitsOf(engine, label, darkened(train.day, exposure, seed + 1), 'consecutive'))
  }
  return 'What `X-Domain-Fit` says of streams with `X-Domain: auto`, a stream for each line: test pictures shuffled, frames of the training tracks in their order; ' +
    'shares in % of the pictures that were sent, and what a picture alone would have been told:\n\n' + markdownTable([
    'pictures', 'order', 'sent', 'none, alone', 'none, in the stream', 'first told as a stream after', 'none, from there on'
  ], rows)
}

async function fitsOf (engine: Engine, label: string, signs: readonly Sign[], order: string): Promise<string[]> {
  const fits: boolean[] = []
  const alone: boolean[] = []
  const wish = { header: 'auto' }
  const sender = { caller: 'bench', stream: `${label} ${order}` }
  for (let first = 0; first < signs.length; first += BATCH) {
    const feeds = feedsOf(signs.slice(first, first + BATCH))
    const [ofStream, ofEach] = [
      await engine.answering.inferRows(MODEL, { wish: { ...wish, sender }, feeds }), await engine.answering.inferRows(MODEL, { wish, feeds })
    ]
    fits.push(...ofStream.recognised!.map((row) => row!.fit === 'good'))
    alone.push(...ofEach.recognised!.map((row) => row!.fit === 'good'))
  }
  const none = (told: readonly boolean[]) => told.length === 0 ? '' : (100 * told.filter((fit) => !fit).length / told.length).toFixed(2)
  const first = fits.findIndex((fit, at) => !fit && alone[at]!)
  return [
    label, order, String(signs.length), none(alone), none(fits), first < 0 ? 'never' : String(first + 1), first < 0 ? '' : none(fits.slice(first))
  ]
}

function darkened (signs: readonly Sign[], exposure: number, seed: number): Sign[] {
  const normal = seededNormal(seed)
  return signs.map((sign) => ({
    ...sign, values: sign.values.map((value) => Math.min(255, Math.max(0, value * exposure + NOISE * normal())))
  }))
}

async function shippedSignature (store: BankStore, domain: string): Promise<Signature> {
  const file = await store.read(MODEL, domain, store.domain(MODEL, domain)!.active!)
  return parseSignatures(parseSafetensors(file))[0]!
}

function feedsOf (signs: readonly Sign[]): Tensors {
  const tensors = signs.map(tensorOf)
  const data = new Float32Array(tensors.length * tensors[0]!.length)
  for (const [at, tensor] of tensors.entries()) data.set(tensor, at * tensor.length)
  const { side } = signs[0]!
  return { input: { type: 'float32', dims: [signs.length, 3, side, side], data } }
}

async function seenBy (engine: Engine, signs: readonly Sign[]): Promise<SeenRow[]> {
  const { artefact: { stem, stemPath } } = engine.readyModel(MODEL)
  assert.ok(stem !== undefined)
  const session = await openSession(stemPath, { optimization: 'disabled' })
  const seen: SeenRow[] = []
  for (let first = 0; first < signs.length; first += BATCH) {
    const part = signs.slice(first, first + BATCH)
    const outputs = await session.run(feedsOf(part), [stem.output])
    for (const [row, features] of featuresOfRows(outputs[stem.output]!.data as Float32Array, stem.channels.length).entries()) {
      const { values } = part[row]!
      seen.push({ features, values: Float32Array.from({ length: VALUES }, (_, at) => values[Math.floor(at * values.length / VALUES)]!) })
    }
  }
  await session.release()
  return seen
}

/** Sends pictures until there is a candidate, and some more. */
async function becomes (
  engine: Engine, train: readonly Sign[], test: readonly Sign[], exposure: number, seed: number
): Promise<string[]> {
  const stream = `dark ${exposure}`
  // Neighbours are frames of one track: in a stream that is looked at now and then they are not.
  const order = darkened(train, exposure, seed + 1).map((sign, at) => ({ sign, at: at * 7919 % train.length }))
    .sort((a, b) => a.at - b.at).map(({ sign }) => sign)
  const wish = { header: 'auto', sender: { caller: 'bench', stream } }
  const candidateOf = () => engine.candidates(MODEL).candidates.find((one) => one.stream === stream)
  let sent = 0
  let answeredBy = ''
  while (candidateOf() === undefined && sent < PICTURES_MAX) {
    answeredBy = (await engine.answering.infer(MODEL, { wish, feeds: feedsOf([order[sent++ % order.length]!]) })).domain
    await engine.driftSettled()
  }
  const candidate = candidateOf()
  const label = `${100 * exposure} %`
  if (candidate === undefined) return [label, answeredBy, `none in ${PICTURES_MAX.toLocaleString('en')}`, '', '', '', '', '', '']
  // Once the stream fits no domain each of its pictures is gathered, but for those that are too like others.
  const used = order.slice(sent - candidate.images, sent)
  for (let more = 0; more < IMAGES; more++) {
    await engine.answering.infer(MODEL, { wish, feeds: feedsOf([order[(sent + more) % order.length]!]) })
    await engine.driftSettled()
  }
  const told = candidateOf()!
  const shown = darkened(test, exposure, seed + 2)
  const accuracies = [await accuracy(engine, shown, candidate.base.domain)]
  accuracies.push(await accuracy(engine, shown, `${candidate.domain}:${candidate.version}`))
  for (const mode of ['fixed', 'fvcore', 'sequential'] as const) {
    const domain = `calibrated-${mode}`
    const options = completeOptions({ mode, base: candidate.base.domain, batchSize: GATHERED_AT_ONCE })
    await engine.calibrations.run(MODEL, domain, signUploads(used), options, { isRegistered: true, onProgress: () => {} })
    accuracies.push(await accuracy(engine, shown, domain))
    await engine.admin.removeDomain(MODEL, domain)
  }
  return [
    label, candidate.base.domain, String(sent), ...accuracies.map((one) => one.toFixed(2)),
    `${told.disagreeingRows} of ${told.comparedRows}`
  ]
}

async function accuracy (engine: Engine, signs: readonly Sign[], header: string): Promise<number> {
  let right = 0
  for (let first = 0; first < signs.length; first += BATCH) {
    const part = signs.slice(first, first + BATCH)
    const { outputs } = await engine.answering.infer(MODEL, { wish: { header }, feeds: feedsOf(part) })
    const logits = outputs.logits!.data as Float32Array
    const classes = logits.length / part.length
    for (const [row, { label }] of part.entries()) {
      const own = logits.subarray(row * classes, (row + 1) * classes)
      if (own.indexOf(Math.max(...own)) === label) right++
    }
  }
  return 100 * right / signs.length
}
