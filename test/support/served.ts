/**
 * What stands between HTTP and the threads, without files and threads: a store in memory, a fake pool, and two models
 * of one batch norm, whose runs compute just that batch norm with the bank of the job. Answers show which bank it was.
 */
import { completeBank, bankDigest, type Bank, type BatchNormLayer } from '#src/bank/bank.js'
import { FoldedRange } from '#src/bank/folded-range.js'
import { pairsOf } from '#src/bank/fold.js'
import { TrafficBook } from '#src/observability/traffic.js'
import { BankCache } from '#src/runtime/bank-cache.js'
import { Answering, type AnsweringNeeds } from '#src/serving/answering/answering.js'
import { PictureRoom } from '#src/serving/answering/picture-room.js'
import { ProgressBoard } from '#src/serving/answering/progress.js'
import { Recognition } from '#src/serving/recognising/recognition.js'
import { signatureParts } from '#src/signature/file-parts.js'
import type { Signature } from '#src/signature/signature.js'
import { Shadows } from '#src/serving/answering/shadows.js'
import { Administration, type AdministrationNeeds } from '#src/serving/changing/administration.js'
import { versionFile } from '#src/serving/changing/registration.js'
import { Leases } from '#src/serving/leases.js'
import { RunMemory } from '#src/serving/run-memory.js'
import { ModelStates, type ReadyModel } from '#src/serving/model-states.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { FakePool, type Network } from './fake-pool.js'
import { MemoryStore } from './memory-store.js'
import { DOUBLER } from './models-folder.js'
import type { Artefact } from '#src/compiler/artefact.js'
import type { PictureManifest } from '#src/models/manifest.js'
import type { Metrics } from '#src/observability/metrics.js'
import type { Tensors } from '#src/ort/rows.js'
import type { DomainRecord, VersionPreprocessing } from '#src/store/bank-store.js'

export const LAYERS: readonly BatchNormLayer[] = [{ key: 'bn', channels: 2, epsilon: 0 }]
export const FINGERPRINT = 'f'.repeat(64)
export const STEM = 'e'.repeat(64)

/** What the first class scores more under this bank, and the second less. */
export function bankOf (shift: number, mean = 0): Bank {
  const layer = { mean: [mean, mean], variance: [1, 1], gamma: [1, 1], beta: [shift, -shift] }
  return completeBank(LAYERS, new Map([['bn', layer]]), new Map())
}

/** A model as if it were compiled; `given` changes its artefact. */
export function readyModel (manifest: PictureManifest, given: Partial<Artefact> = {}): ReadyModel {
  const channel = Uint16Array.of(0, 1)
  const layout = {
    layers: LAYERS,
    ports: [{ layerKey: 'bn', role: 'scale', offset: 0, channel }, { layerKey: 'bn', role: 'shift', offset: 2, channel }],
    length: 4
  } as const
  const isPicture = manifest.task === 'image-to-image'
  const artefact: Artefact = {
    folder: '/nowhere',
    graphPath: '/nowhere/graph.onnx',
    stemPath: '/nowhere/stem.onnx',
    fingerprint: FINGERPRINT,
    origin: 'graph',
    layers: [...LAYERS],
    sites: [],
    inputs: [{ name: manifest.input.name, type: 'float32', dims: [null, 3, null, null] }],
    outputs: [{ name: manifest.output.name, type: 'float32', dims: isPicture ? [null, 3, null, null] : [null, 2] }],
    samples: [],
    weightBytes: 0,
    convolutions: [],
    runBytes: 0,
    stem: { digest: STEM, inputs: [manifest.input.name], output: 'moments', channels: [{ layerKey: 'bn', channel: 0 }] },
    bankInputs: [],
    layout,
    ownBank: bankOf(0),
    proof: { maxRelativeError: 0, isRowInvariant: true },
    ...given
  }
  return {
    entry: { manifest, labels: isPicture ? [] : ['cat', 'dog'], folder: '/nowhere', graphPath: '/nowhere/model.onnx' },
    artefact,
    range: new FoldedRange(layout),
    memory: new RunMemory(artefact, [], isPicture),
    served: { id: `id-${manifest.name}`, name: manifest.name, graphPath: artefact.graphPath, bankInputs: [], layout },
    stem: {
      id: `id-${manifest.name}.stem`, name: manifest.name, graphPath: artefact.stemPath, bankInputs: [], layout: { layers: [], ports: [], length: 0 }
    }
  }
}

/** Each row's first value as the mean of the one channel, with nothing left of it, and 1 as its variance. */
function stemOf (values: Float32Array, rows: number): Tensors {
  const moments = Array.from({ length: rows }, (_, row) => [values[row * values.length / rows]!, 0, 1]).flat()
  return { moments: { type: 'float32', dims: [rows, 3], data: Float32Array.from(moments) } }
}

/** Each row's first value under both channels; a picture twice as large under the first. */
export const compute: Network = ({ feeds, bank, model, wanted }) => {
  const [{ dims, data }] = Object.values(feeds) as [Tensors[string]]
  const values = data as Float32Array
  const [rows = 1, , height = 1, width = 1] = dims
  if (bank === undefined) return stemOf(values, rows)
  const { scale, shift } = pairsOf(LAYERS, bank).get('bn')!
  if (model.name !== DOUBLER.name) {
    const perRow = values.length / rows
    const logits = Float32Array.from({ length: 2 * rows }, (_, at) => {
      return values[Math.floor(at / 2) * perRow]! * scale[at % 2]! + shift[at % 2]!
    })
    return { [wanted[0]!]: { type: 'float32', dims: [rows, 2], data: logits } }
  }
  const doubled = Float32Array.from({ length: 4 * values.length }, (_, at) => {
    const [x, y] = [at % (2 * width), Math.floor(at / (2 * width)) % (2 * height)]
    const plane = Math.floor(at / (4 * width * height))
    return values[(plane * height + (y >> 1)) * width + (x >> 1)]! * scale[0]! + shift[0]!
  })
  return { [wanted[0]!]: { type: 'float32', dims: [rows, 3, 2 * height, 2 * width], data: doubled } }
}

/** `rows` pictures of one pixel, or of `side` x `side`, whose first value is 1, 2, 3 and so on. */
export function pictures (rows: number, side = 1): Tensors {
  const perRow = 3 * side * side
  const data = Float32Array.from({ length: rows * perRow }, (_, at) => at % perRow === 0 ? at / perRow + 1 : 0)
  return { x: { type: 'float32', dims: [rows, 3, side, side], data } }
}

const RECOGNISING = { fitMin: 0.02, last: 3, streams: 2 }

export interface HouseOptions {
  models?: readonly ReadyModel[]
  room?: Pick<PictureRoom, 'decode' | 'hold'>
  /** Draws for the shadows. */
  random?: () => number
  /** Told of what is to be watched for drift. */
  drift?: AnsweringNeeds['drift']
  /** The store's clock, in ms since 1970. */
  now?: () => number
}

/** Everything built, the default domains registered: signs with `day`, whose bank shifts by 0, doubler with `plain`. */
export async function openHouse ({ models = [readyModel(MANIFEST), readyModel(DOUBLER)], room, random, now, drift }: HouseOptions = {}) {
  const states = new ModelStates(models.map(({ entry }) => entry))
  for (const model of models) states.setReady(model)
  const store = new MemoryStore(undefined, now)
  const pool = new FakePool(compute)
  const banks = new BankCache(1e6)
  const leases = new Leases()
  const traffic = new TrafficBook()
  const counted: unknown[][] = []
  const metrics = new Proxy({}, {
    get: (_, name) => (...given: unknown[]) => { counted.push([name, ...given]) }
  }) as Metrics
  const shadows = new Shadows({ store, pool, banks, metrics, runRows: 4 }, random)
  /** Rows that were counted, as domain:version:rows, and banks that were forgotten. */
  const heated: string[] = []
  const hot: AnsweringNeeds['hot'] & AdministrationNeeds['hot'] = {
    count: (_, { record, version }, rows) => { heated.push(`${record.domain}:${version.version}:${rows}`) },
    forget: (bank) => { heated.push(bank) }
  }
  const recognition = new Recognition({ store, pool, metrics, logger: { warn: () => {} }, runRows: 4, runBytes: 2 ** 20 }, {
    ...RECOGNISING, ...(now === undefined ? {} : { now })
  })
  const shared = { store, pool, banks, leases, traffic, metrics, shadows, hot, runRows: 4, runBytes: 2 ** 20 }
  const answering = new Answering({
    ...shared,
    recognition,
    drift,
    room: room ?? new PictureRoom({ picturesMax: 4, bytesMax: 1e6 }),
    progress: new ProgressBoard(),
    imagePixels: 1e6,
    workers: 2
  }, states)
  const admin = new Administration(shared, states)

  /** A version whose bank shifts by `shift`, active unless said otherwise. */
  const publish = async (
    domain: string, shift: number,
    {
      model = models[0]!, isActivated = true, fingerprint = FINGERPRINT, preprocessing, mean, signatures = []
    }: {
      model?: ReadyModel,
      isActivated?: boolean,
      fingerprint?: string,
      preprocessing?: VersionPreprocessing,
      mean?: number,
      signatures?: Signature[]
    } = {}
  ): Promise<DomainRecord> => {
    const bank = bankOf(shift, mean)
    return await store.publish(model.entry.manifest.name, domain, {
      file: versionFile(model, bank, 'json', signatureParts(signatures)),
      digest: bankDigest(bank),
      fingerprint,
      source: 'json',
      isActivated,
      ...(preprocessing === undefined ? {} : { preprocessing })
    })
  }
  for (const model of models) await publish(model.entry.manifest.defaultDomain, 0, { model })
  const countedAs = (name: string) => counted.filter(([one]) => one === name).map(([, ...given]) => given)
  /** Leases that are held, of whatever version. */
  const held = () => models.reduce((sum, { entry }) => sum + leases.count(`${entry.manifest.name}/`), 0)
  const asTrial = { pool, store, runRows: 4 }
  return {
    states, models, store, pool, banks, leases, traffic, metrics, shadows, heated, answering, admin, asTrial, held, counted, countedAs, publish
  }
}

export type House = Awaited<ReturnType<typeof openHouse>>

/** Scores of both classes, row by row. */
export function scoresOf ({ outputs }: { outputs: Tensors }): number[] {
  return [...outputs.logits!.data as Float32Array]
}
