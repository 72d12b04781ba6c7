/**
 * A compiled model on disk.
 *
 *   artefact.json          everything below but the numbers; the digests of the other files, and its own
 *   graph.onnx             the optimised graph with bank inputs, run as it is
 *   weights.bin            its large weights, mapped by every session (see externalise-weights.ts)
 *   arrays.bin             what packBank needs: channel numbers, folded weights and biases; and the weights and biases
 *                          of the stem, where that is a convolution; end to end
 *   own-bank.safetensors   the statistics that stood in the model
 *   stem.onnx              what reads the features of signatures (see stem.ts), run as it is; empty where there is none
 *
 * An artefact is never trusted because of where it lies: reading checks the form of artefact.json and the digest of
 * every file. A single digit that was changed in artefact.json would give wrong answers, not errors.
 */
import { join } from 'node:path'
import { readFile } from 'node:fs/promises'
import { Type, type Static } from '#typebox'
import { alignedView, bytesOf } from '../base/bytes.js'
import { makeFolderDurably, writeDurably } from '../base/durable-file.js'
import { sha256, sha256File } from '../base/digest.js'
import { defineErrors } from '../base/errors.js'
import { checkOf } from '../base/json-schema.js'
import type { Bank } from '../bank/bank.js'
import { readOwnBank, serializeBankSafetensors } from '../bank/formats/bank-safetensors.js'
import type { Port, PortLayout } from '../bank/port.js'
import type { TensorType } from '../ort/session.js'
import type { Convolution } from '../signature/convolution-moments.js'

export const artefactErrors = defineErrors({ ARTEFACT_CORRUPT: 'corrupt' })

export const ARTEFACT_FORMAT = 6

const Count = Type.Integer({ minimum: 0 })
const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Value = Type.Object({
  name: Type.String(), type: Type.Unsafe<TensorType>(Type.String()), dims: Type.Array(Type.Union([Count, Type.Null()]))
})

/** Where a typed array lies in arrays.bin. */
const Span = Type.Object({ at: Count, length: Count })

const Size = Type.Integer({ minimum: 1 })

const ArtefactJson = Type.Object({
  format: Type.Literal(ARTEFACT_FORMAT),
  fingerprint: Digest,
  origin: Type.Union([Type.Literal('graph'), Type.Literal('reference-state'), Type.Literal('inserted')]),
  layers: Type.Array(Type.Object({ key: Type.String(), channels: Count, epsilon: Type.Number() })),
  sites: Type.Array(Type.Object({
    layerKey: Type.String(),
    node: Type.String(),
    kind: Type.Union([Type.Literal('fold'), Type.Literal('affine'), Type.Literal('generic')]),
    bankBytes: Count,
    savedBytes: Type.Number()
  })),
  inputs: Type.Array(Value),
  outputs: Type.Array(Value),
  /** Shapes of one row of every input that the model was probed and proven with. */
  samples: Type.Array(Type.Record(Type.String(), Type.Array(Count))),
  weightBytes: Count,
  /** Marks of the weights of its convolutions (see convolution-weights.ts). */
  convolutions: Type.Array(Type.String()),
  /** What the activations of a run of one row of the first sample take. */
  runBytes: Count,
  bank: Type.Object({
    length: Count,
    inputs: Type.Array(Type.Object({ name: Type.String(), offset: Count, dims: Type.Array(Count) })),
    ports: Type.Array(Type.Object({
      layerKey: Type.String(),
      role: Type.Union([Type.Literal('scale'), Type.Literal('shift'), Type.Literal('weight')]),
      offset: Count,
      channel: Span,
      weights: Type.Optional(Span),
      bias: Type.Optional(Span)
    }))
  }),
  /** Absent for a network whose first batch norms work on nothing that has positions. */
  stem: Type.Optional(Type.Object({
    /** Of the graph before it was optimised: the same on every processor. */
    digest: Digest,
    inputs: Type.Array(Type.String()),
    output: Type.String(),
    channels: Type.Array(Type.Object({ layerKey: Type.String(), channel: Count })),
    /** Where the moments are those of a convolution of the input: see stem-convolution.ts. */
    convolution: Type.Optional(Type.Object({
      inputChannels: Size,
      kernel: Type.Tuple([Size, Size]),
      strides: Type.Tuple([Size, Size]),
      padding: Type.Tuple([Count, Count, Count, Count]),
      weights: Span,
      biases: Span
    }))
  })),
  proof: Type.Object({ maxRelativeError: Type.Number(), isRowInvariant: Type.Boolean() }),
  files: Type.Record(Type.String(), Digest),
  /** Of everything above, as compact JSON. */
  digest: Digest
})

export type ArtefactDescription = Static<typeof ArtefactJson>

export interface Stem extends Omit<NonNullable<ArtefactDescription['stem']>, 'convolution'> {
  convolution?: Convolution
}

export interface Artefact extends Omit<ArtefactDescription, 'bank' | 'files' | 'format' | 'digest' | 'stem'> {
  readonly stem?: Stem
  readonly folder: string
  readonly graphPath: string
  readonly stemPath: string
  readonly bankInputs: ArtefactDescription['bank']['inputs']
  readonly layout: PortLayout
  readonly ownBank: Bank
}

export interface CompiledParts {
  description: Omit<ArtefactDescription, 'format' | 'bank' | 'files' | 'digest' | 'stem'>
  stem?: Stem | undefined
  layout: PortLayout
  bankInputs: ArtefactDescription['bank']['inputs']
  ownBank: Bank
}

export const GRAPH_FILE = 'graph.onnx'
export const WEIGHTS_FILE = 'weights.bin'
export const STEM_FILE = 'stem.onnx'
const ARRAYS_FILE = 'arrays.bin'
const OWN_BANK_FILE = 'own-bank.safetensors'
const DESCRIPTION_FILE = 'artefact.json'

const validate = checkOf<ArtefactDescription>(ArtefactJson)

/** Completes an artefact in `folder`, where graph, weights and stem must lie already; artefact.json is written last. */
export async function writeArtefact (folder: string, parts: CompiledParts): Promise<void> {
  await makeFolderDurably(folder)
  const arrays = new Arrays()
  const ports = packPorts(parts.layout.ports, arrays)
  const stem = parts.stem === undefined ? {} : { stem: packStem(parts.stem, arrays) }
  const bytes = arrays.bytes()
  const ownBank = serializeBankSafetensors(parts.ownBank, new Map())
  await writeDurably(join(folder, ARRAYS_FILE), bytes)
  await writeDurably(join(folder, OWN_BANK_FILE), ownBank)
  const content: Omit<ArtefactDescription, 'digest'> = {
    format: ARTEFACT_FORMAT,
    ...parts.description,
    ...stem,
    bank: { length: parts.layout.length, inputs: parts.bankInputs, ports },
    files: {
      [GRAPH_FILE]: await sha256File(join(folder, GRAPH_FILE)),
      [WEIGHTS_FILE]: await sha256File(join(folder, WEIGHTS_FILE)),
      [STEM_FILE]: await sha256File(join(folder, STEM_FILE)),
      [ARRAYS_FILE]: sha256(bytes),
      [OWN_BANK_FILE]: sha256(ownBank)
    }
  }
  const description: ArtefactDescription = { ...content, digest: digestOf(content) }
  await writeDurably(join(folder, DESCRIPTION_FILE), Buffer.from(JSON.stringify(description, null, 1)))
}

/** The same before writing and after reading, because JSON keeps the order of names and every number. */
function digestOf (content: Omit<ArtefactDescription, 'digest'>): string {
  return sha256(JSON.stringify(content))
}

/** Reads and verifies an artefact. Throws ARTEFACT_CORRUPT telling what is wrong. */
export async function readArtefact (folder: string): Promise<Artefact> {
  try {
    const parsed: unknown = JSON.parse(await readFile(join(folder, DESCRIPTION_FILE), 'utf8'))
    if (!validate(parsed)) throw new Error(`${DESCRIPTION_FILE} has another form: ${validate.errors[0]?.message}`)
    const { digest, ...content } = parsed
    if (digestOf(content) !== digest) throw new Error(`${DESCRIPTION_FILE} was changed`)
    for (const name of [GRAPH_FILE, WEIGHTS_FILE, STEM_FILE, ARRAYS_FILE, OWN_BANK_FILE]) {
      if (await sha256File(join(folder, name)) !== parsed.files[name]) throw new Error(`${name} was changed`)
    }
    return await assemble(folder, content)
  } catch (cause) {
    throw artefactErrors.ARTEFACT_CORRUPT(`the compiled model is unusable: ${(cause as Error).message}`, { folder }, cause)
  }
}

async function assemble (folder: string, description: Omit<ArtefactDescription, 'digest'>): Promise<Artefact> {
  const { bank, stem, files: _files, format: _format, ...rest } = description
  const file = await readFile(join(folder, ARRAYS_FILE))
  // Shared, because every worker reads them.
  const bytes = new Uint8Array(new SharedArrayBuffer(file.length))
  bytes.set(file)
  const ports = bank.ports.map(({ channel, weights, bias, ...port }): Port => ({
    ...port,
    channel: read(bytes, channel, Uint16Array),
    ...(weights === undefined ? {} : { weights: read(bytes, weights, Float32Array) }),
    ...(bias === undefined ? {} : { bias: read(bytes, bias, Float32Array) })
  }))
  const ownBankFile = await readFile(join(folder, OWN_BANK_FILE))
  return {
    ...rest,
    ...(stem === undefined ? {} : { stem: readStem(stem, bytes) }),
    folder,
    graphPath: join(folder, GRAPH_FILE),
    stemPath: join(folder, STEM_FILE),
    bankInputs: bank.inputs,
    layout: { layers: rest.layers, ports, length: bank.length },
    ownBank: readOwnBank(ownBankFile, rest.layers)
  }
}

/** Typed arrays end to end, each where float32 may lie. */
class Arrays {
  readonly #chunks: Uint8Array[] = []
  #position = 0

  add (values: Uint16Array | Float32Array): Static<typeof Span> {
    const span = { at: this.#position, length: values.length }
    const padding = (4 - values.byteLength % 4) % 4
    this.#chunks.push(bytesOf(values), new Uint8Array(padding))
    this.#position += values.byteLength + padding
    return span
  }

  bytes (): Uint8Array {
    return Buffer.concat(this.#chunks)
  }
}

function packPorts (ports: readonly Port[], arrays: Arrays): ArtefactDescription['bank']['ports'] {
  return ports.map(({ layerKey, role, offset, channel, weights, bias }) => ({
    layerKey,
    role,
    offset,
    channel: arrays.add(channel),
    ...(weights === undefined ? {} : { weights: arrays.add(weights) }),
    ...(bias === undefined ? {} : { bias: arrays.add(bias) })
  }))
}

function packStem ({ convolution, ...stem }: Stem, arrays: Arrays): NonNullable<ArtefactDescription['stem']> {
  if (convolution === undefined) return stem
  const { weights, biases, inputChannels, kernel: [height, width], strides: [down, right], padding } = convolution
  return {
    ...stem,
    convolution: {
      inputChannels,
      kernel: [height, width],
      strides: [down, right],
      padding: [...padding],
      weights: arrays.add(weights),
      biases: arrays.add(biases)
    }
  }
}

function readStem (
  { convolution, ...stem }: NonNullable<ArtefactDescription['stem']>, bytes: Uint8Array
): Stem {
  if (convolution === undefined) return stem
  const weights = read(bytes, convolution.weights, Float32Array)
  const biases = read(bytes, convolution.biases, Float32Array)
  const { inputChannels, kernel: [height, width] } = convolution
  if (biases.length !== stem.channels.length || weights.length !== biases.length * inputChannels * height * width) {
    throw new Error('the stem has other channels than its convolution')
  }
  return { ...stem, convolution: { ...convolution, weights, biases } }
}

function read<T extends Uint16Array | Float32Array> (
  bytes: Uint8Array, { at, length }: Static<typeof Span>,
  type: { new (buffer: ArrayBufferLike, byteOffset: number, length: number): T, readonly BYTES_PER_ELEMENT: number }
): T {
  const end = at + length * type.BYTES_PER_ELEMENT
  if (end > bytes.length) throw new Error(`${ARRAYS_FILE} is too short`)
  return alignedView(bytes.subarray(at, end), type)
}
