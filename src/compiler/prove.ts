/**
 * Pass: the compiled graph against the original.
 *
 * Both run on the same seeded inputs, under the model's own bank and under random banks (the original with those
 * statistics written into it, optimised by the runtime on its own). The measure is
 *
 *   max |compiled - original| / max |original|      over each output, and what squashed outputs hide
 *
 * and must stay below RELATIVE_ERROR_MAX. Float32 convolutions in another order of summation differ by some 1e-6 in
 * deep networks, and by up to 1e-5 under random statistics that blow activations up; a wrong channel, bias or fusion
 * shows as 1e-2 and more.
 *
 * The proof also settles whether rows of several requests may share one run: `isRowInvariant` is true only if every
 * row of a batch came out bit for bit as it does alone.
 */
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { bytesOf } from '../base/bytes.js'
import { float16ToNumber } from '../base/float16.js'
import { packBank } from '../bank/pack.js'
import { completeBank, type Bank, type BatchNormLayer, type PartialLayer } from '../bank/bank.js'
import { openSession, type PlainTensor, type Session, type ValueDescription } from '../ort/session.js'
import { parseModel, serializeModel, type OnnxModel } from '../onnx/model.js'
import { elementCount } from '../base/dims.js'
import { sliceRows } from '../ort/rows.js'
import { sampleFeeds, seededNormal, type SampleShapes } from './sample-inputs.js'
import { exposeValues, squashedValues } from './squashed-values.js'
import type { PortLayout } from '../bank/port.js'
import type { BankInput } from './promote-ports.js'

export const RELATIVE_ERROR_MAX = 1e-4

/** Relative distance of neighbours of float16, at most. */
const FLOAT16_STEP = 2 ** -10

const RANDOM_BANKS = 2
const BATCH_ROWS = [2, 3, 8]

export interface Proof {
  /** Largest relative error over all banks, samples and outputs. */
  maxRelativeError: number
  isRowInvariant: boolean
}

export interface ProofSubject {
  compiledPath: string
  layout: PortLayout
  bankInputs: readonly BankInput[]
  inputs: readonly ValueDescription[]
  outputs: readonly ValueDescription[]
  samples: readonly SampleShapes[]
  ownBank: Bank
  /** A new copy of the original model with a bank written into it. */
  originalWith (bank: Bank): OnnxModel
}

/** Feeds for the bank inputs of a compiled graph: views of the flat bank, not copies. */
export function bankFeeds (bankInputs: readonly BankInput[], flat: Float32Array): Record<string, PlainTensor> {
  return Object.fromEntries(bankInputs.map(({ name, offset, dims }) => {
    return [name, { type: 'float32', dims, data: flat.subarray(offset, offset + elementCount(dims)) }]
  }))
}

export async function proveCompiled (subject: ProofSubject): Promise<Proof> {
  const { session: compiled, hidden } = await openCompiled(subject)
  try {
    let maxRelativeError = 0
    for (const bank of [subject.ownBank, ...randomBanks(subject.layout.layers, subject.ownBank)]) {
      maxRelativeError = Math.max(maxRelativeError, await compareUnder(bank, compiled, subject, hidden))
      if (!(maxRelativeError <= RELATIVE_ERROR_MAX)) return { maxRelativeError, isRowInvariant: false }
    }
    const bank = bankFeeds(subject.bankInputs, packBank(subject.layout, subject.ownBank))
    return { maxRelativeError, isRowInvariant: await isRowInvariant(compiled, subject, bank) }
  } finally {
    await compiled.release()
  }
}

/** The compiled graph with further outputs: values that squashing operators hide in both graphs. */
async function openCompiled (
  { compiledPath, ownBank, originalWith }: ProofSubject
): Promise<{ session: Session, hidden: string[] }> {
  const model = parseModel(await readFile(compiledPath))
  const hidden = hiddenInBoth(model, originalWith(ownBank))
  return { session: await openExposing(model, dirname(compiledPath), hidden), hidden }
}

/** Names of values that squashing operators hide in two graphs of one network. */
export function hiddenInBoth (a: OnnxModel, b: OnnxModel): string[] {
  const other = new Set(squashedValues(b.graph))
  return squashedValues(a.graph).filter((name) => other.has(name))
}

/** Opens a graph as it is written, with further outputs, which join `model`; its weights lie in `folder`. */
export async function openExposing (model: OnnxModel, folder: string, hidden: readonly string[]): Promise<Session> {
  exposeValues(model.graph, hidden)
  return await openSession(serializeModel(model), {
    optimization: 'disabled', config: { 'session.model_external_initializers_file_folder_path': folder }
  })
}

async function compareUnder (
  bank: Bank, compiled: Session, subject: ProofSubject, hidden: readonly string[]
): Promise<number> {
  const flat = packBank(subject.layout, bank)
  const model = subject.originalWith(bank)
  exposeValues(model.graph, hidden)
  const original = await openSession(serializeModel(model), { optimization: 'all' })
  try {
    let worst = 0
    for (const [seed, shapes] of subject.samples.entries()) {
      const feeds = sampleFeeds(subject.inputs, shapes, 2, 100 + seed)
      const expected = await original.run(feeds)
      const actual = await compiled.run({ ...feeds, ...bankFeeds(subject.bankInputs, flat) })
      for (const name of Object.keys(expected)) worst = Math.max(worst, relativeError(actual[name]!, expected[name]!))
    }
    return worst
  } finally {
    await original.release()
  }
}

/**
 * Infinity for outputs of another shape, where one is finite and the other not, and for strings that differ. Values of
 * float16 that are neighbours are equal: each was rounded to its grid, after whatever else is compared.
 */
export function relativeError (actual: PlainTensor, expected: PlainTensor): number {
  if (actual.dims.join() !== expected.dims.join() || actual.type !== expected.type) return Infinity
  if (Array.isArray(expected.data)) return expected.data.every((text, at) => text === actual.data[at]) ? 0 : Infinity
  const isHalf = expected.type === 'float16'
  const [a, b] = [actual, expected].map(({ data }): ArrayLike<number> => {
    return isHalf ? Float64Array.from(data as Uint16Array, float16ToNumber) : data as ArrayLike<number>
  })
  let difference = 0
  let magnitude = 0
  for (let at = 0; at < b!.length; at++) {
    const [x, y] = [Number(a![at]), Number(b![at])]
    if (Object.is(x, y) || x === y) {
      if (Number.isFinite(y)) magnitude = Math.max(magnitude, Math.abs(y))
    } else if (Number.isFinite(x) && Number.isFinite(y)) {
      const distance = Math.abs(x - y)
      difference = Math.max(difference, isHalf && distance <= FLOAT16_STEP * Math.abs(y) ? 0 : distance)
      magnitude = Math.max(magnitude, Math.abs(y))
    } else {
      return Infinity
    }
  }
  return difference === 0 ? 0 : difference / magnitude
}

/** Banks near the model's own, so that activations keep their size: every number moved, every layer differently. */
function randomBanks (layers: readonly BatchNormLayer[], own: Bank): Bank[] {
  return Array.from({ length: RANDOM_BANKS }, (_, seed) => {
    const normal = seededNormal(1000 + seed)
    const layersOf = new Map<string, PartialLayer>()
    for (const [key, { mean, variance, gamma, beta }] of own) {
      layersOf.set(key, {
        mean: mean.map((value, channel) => value + 0.2 * normal() * Math.sqrt(variance[channel]!)),
        variance: variance.map((value) => value * Math.exp(0.2 * normal()) + 1e-6),
        gamma: gamma.map((value) => value * (1 + 0.2 * normal())),
        beta: beta.map((value) => value + 0.1 * normal())
      })
    }
    return completeBank(layers, layersOf, own)
  })
}

/** Whether every row of a batch comes out bit for bit as it does alone; `bank` are the feeds of the bank inputs. */
export async function isRowInvariant (
  compiled: Session, subject: Pick<ProofSubject, 'inputs' | 'outputs' | 'samples'>, bank: Record<string, PlainTensor>
): Promise<boolean> {
  const isBatched = [...subject.inputs, ...subject.outputs].every(({ dims }) => dims.length > 0 && dims[0] === null)
  if (!isBatched) return false
  const wanted = subject.outputs.map(({ name }) => name)
  const run = (feeds: Record<string, PlainTensor>) => compiled.run({ ...feeds, ...bank }, wanted)
  const rowsMax = Math.max(...BATCH_ROWS)
  for (const [seed, shapes] of subject.samples.entries()) {
    const all = sampleFeeds(subject.inputs, shapes, rowsMax, 200 + seed)
    const alone: Array<Record<string, PlainTensor>> = []
    for (let row = 0; row < rowsMax; row++) alone.push(await run(sliceRows(all, row, 1)))
    for (const rows of BATCH_ROWS) {
      const together = await run(sliceRows(all, 0, rows))
      for (let row = 0; row < rows; row++) {
        if (!isSame(sliceRows(together, row, 1), alone[row]!)) return false
      }
    }
  }
  return true
}

function isSame (a: Record<string, PlainTensor>, b: Record<string, PlainTensor>): boolean {
  return Object.entries(a).every(([name, { dims, data }]) => {
    const other = b[name]!
    if (dims.join() !== other.dims.join()) return false
    if (Array.isArray(data)) return data.every((text, at) => text === other.data[at])
    return Buffer.compare(bytesOf(data), bytesOf(other.data as Float32Array)) === 0
  })
}
