/**
 * The ways of showing images to the layers, each giving an observer per adapted layer.
 *
 *   sequential   the exact schedule: level by level, each under the settled statistics of the levels before it, so the
 *                result depends on neither batch size nor order. One forward run in all where the values that cross a
 *                border fit the budget, for all images at once; where they do not, a segment begins again at the last
 *                border that did, at worst at the input, which makes (L + 1) / 2 forward runs of L levels.
 *   fixed        one forward run under the base bank: sums of several sites add up exactly
 *   fvcore, torch, ema   one forward run as in training, each batch normalised by its own statistics
 */
import { openSession, type Session } from '../ort/session.js'
import { StatisticsGraph, type BoundaryValue, type Segment } from './statistics-graph.js'
import { LayerObserver, runningFrom, type BatchObservation, type RunningAverage } from './estimators.js'
import { shrink, type Estimate, type Prior } from './priors.js'
import { completeBank, type Bank, type BatchNormLayer, type LayerStatistics } from '../bank/bank.js'
import type { ObservedSite } from '../compiler/observers.js'
import type { PlainTensor } from '../ort/session.js'
import type { Tensors } from '../ort/rows.js'
import type { CalibrationOptions } from './options.js'

export interface Subject {
  /** The original ONNX model. */
  model: Uint8Array
  layers: readonly BatchNormLayer[]
  /** Gives gamma, beta, and the statistics of layers that are not adapted. */
  base: Bank
  adapted: ReadonlySet<string>
}

export interface ForwardRequest {
  subject: Subject
  /** Images in batches. */
  batches: readonly Tensors[]
  images: number
  options: Pick<CalibrationOptions, 'mode' | 'momentum' | 'fresh' | 'batchesTracked'>
  prior: Prior | undefined
  /** Bytes of activations that may be kept between segments. */
  budgetBytes: number
  /** Told after every run of a batch, with the share of this forward's work that is done; what it throws ends it. */
  onProgress (share: number): void
}

export interface Observed {
  observers: Map<string, LayerObserver>
  bank: Bank
  /** Images that went through a whole network, in forward runs: what the mode cost. */
  forwardRuns: number
}

/** Throws CALIBRATION_NOT_FINITE, CALIBRATION_BATCH_TOO_SMALL, COMPILE_LAYER_REUSED and what ONNX Runtime throws. */
export async function observe (request: ForwardRequest): Promise<Observed> {
  return request.options.mode === 'sequential' ? await observeByLevel(request) : await observeAtOnce(request)
}

async function observeAtOnce (request: ForwardRequest): Promise<Observed> {
  const { subject, batches, options: { mode, momentum }, onProgress } = request
  const graph = new StatisticsGraph(subject.model, subject.adapted)
  const segment = graph.whole(mode === 'fixed' ? 'bank' : 'batch', subject.base)
  const observers = new Map<string, LayerObserver>()
  for (const { key, channels } of subject.layers) {
    if (!subject.adapted.has(key)) continue
    const running = runningOf(request, key, channels)
    observers.set(key, new LayerObserver(key, channels, running, mode === 'ema' ? momentum : null))
  }
  await withSession(segment.bytes, async (session) => {
    for (const [at, batch] of batches.entries()) {
      const outputs = await session.run(batch)
      for (const site of segment.observed) observers.get(site.layerKey)!.add(observationOf(site, outputs))
      onProgress((at + 1) / batches.length)
    }
  })
  const estimates = new Map([...observers].map(([key, observer]) => [key, estimateOf(request, key, observer)]))
  return { observers, bank: bankWith(subject, estimates), forwardRuns: 1 }
}

function runningOf ({ subject, options }: ForwardRequest, key: string, channels: number): RunningAverage | undefined {
  if (options.mode === 'torch') return runningFrom(channels, undefined, 0)
  if (options.mode !== 'ema') return undefined
  return runningFrom(channels, options.fresh ? undefined : subject.base.get(key)!, options.batchesTracked)
}

/** What all images have at a border. */
interface Checkpoint {
  border: number | undefined
  boundary: ReadonlyMap<string, BoundaryValue>
  batches: Array<Tensors | undefined>
}

async function observeByLevel (request: ForwardRequest): Promise<Observed> {
  const { subject, batches, onProgress } = request
  const graph = new StatisticsGraph(subject.model, subject.adapted)
  const levels = graph.levels
  const channelsOf = new Map(subject.layers.map(({ key, channels }) => [key, channels]))
  const observers = new Map<string, LayerObserver>()
  const estimates = new Map<string, Estimate>()
  let bank = subject.base
  let checkpoint: Checkpoint = { border: undefined, boundary: new Map(), batches: [...batches] }
  let segmentRuns = 0
  for (const [to, keys] of levels.entries()) {
    const isLast = to === levels.length - 1
    const segment = graph.segment({
      ...(checkpoint.border === undefined ? {} : { from: checkpoint.border }),
      to,
      boundary: checkpoint.boundary,
      bank,
      givesFrontier: !isLast
    })
    for (const key of keys) observers.set(key, new LayerObserver(key, channelsOf.get(key)!))
    segmentRuns += to - (checkpoint.border ?? -1)
    checkpoint = await runSegment(request, segment, to, checkpoint, observers, (share) => {
      onProgress((to + share) / levels.length)
    })
    for (const key of keys) estimates.set(key, estimateOf(request, key, observers.get(key)!))
    bank = bankWith(subject, estimates)
  }
  return { observers, bank, forwardRuns: segmentRuns / Math.max(1, levels.length) }
}

/** Returns the checkpoint that the next segment begins at: the new border's if it fits, else the one given. */
async function runSegment (
  { batches: inputs, budgetBytes }: ForwardRequest, segment: Segment, to: number, from: Checkpoint,
  observers: ReadonlyMap<string, LayerObserver>, onProgress: (share: number) => void
): Promise<Checkpoint> {
  const statistics = segment.observed.flatMap(({ mean, residual, squares, size }) => [mean, residual, squares, size])
  const kept: Array<Tensors | undefined> = []
  let boundary = new Map<string, BoundaryValue>()
  let keeps = segment.frontier.length > 0
  await withSession(segment.bytes, async (session) => {
    for (const [at, feeds] of from.batches.entries()) {
      const outputs = await session.run(feeds!, keeps ? [...statistics, ...segment.frontier] : statistics)
      for (const site of segment.observed) observers.get(site.layerKey)!.add(observationOf(site, outputs))
      if (keeps) {
        const crossing = Object.fromEntries(segment.frontier.map((name) => [name, outputs[name]!]))
        if (at === 0) {
          boundary = new Map(Object.entries(crossing).map(([name, { type, dims }]) => {
            return [name, { type, rank: dims.length }]
          }))
          const images = inputs.reduce((sum, batch) => sum + rowsOf(batch), 0)
          keeps = bytesOfAll(crossing) / rowsOf(inputs[0]!) * images <= budgetBytes
        }
        if (keeps) {
          kept.push(crossing)
          // What lies behind the new border is not needed again; the model's input stays, for the rounds to come.
          if (from.border !== undefined) from.batches[at] = undefined
        }
      }
      onProgress((at + 1) / from.batches.length)
    }
  })
  return keeps ? { border: to, boundary, batches: kept } : from
}

function estimateOf ({ subject, prior, images }: ForwardRequest, key: string, observer: LayerObserver): Estimate {
  return shrink(observer.estimate, subject.base.get(key)!, prior, images)
}

/** The base bank with fresh means and variances, as float32. */
function bankWith ({ layers, base }: Subject, estimates: ReadonlyMap<string, Estimate>): Bank {
  const given = new Map<string, Partial<Record<keyof LayerStatistics, ArrayLike<number>>>>(base)
  for (const [key, { mean, variance }] of estimates) given.set(key, { ...base.get(key)!, mean, variance })
  return completeBank(layers, given, base)
}

function observationOf (site: ObservedSite, outputs: Readonly<Record<string, PlainTensor>>): BatchObservation {
  const valuesOf = (name: string) => outputs[name]!.data as Float32Array
  const [mean, residual, squares] = [valuesOf(site.mean), valuesOf(site.residual), valuesOf(site.squares)]
  const [images = 0, channels = 0] = outputs[site.mean]!.dims
  const size = Number((outputs[site.size]!.data as BigInt64Array)[0])
  const exact = new Float64Array(mean.length)
  const variance = new Float64Array(mean.length)
  // Plain loops: `from` with a function took a third of the whole time for a small network.
  for (let at = 0; at < exact.length; at++) {
    const left = residual[at]!
    exact[at] = mean[at]! + left
    variance[at] = Math.max(0, squares[at]! - left * left)
  }
  return { images, positions: size / (images * channels), mean: exact, variance }
}

async function withSession (bytes: Uint8Array, work: (session: Session) => Promise<void>): Promise<void> {
  const session = await openSession(bytes, { optimization: 'all' })
  try {
    await work(session)
  } finally {
    await session.release()
  }
}

export function rowsOf (batch: Tensors): number {
  return Object.values(batch)[0]?.dims[0] ?? 0
}

export function bytesOfAll (tensors: Tensors): number {
  return Object.values(tensors).reduce((sum, { data }) => sum + (Array.isArray(data) ? 0 : data.byteLength), 0)
}
