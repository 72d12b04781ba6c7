/**
 * An inference request of the Open Inference Protocol v2, JSON or JSON followed by binary tensors.
 *
 *   | JSON of Inference-Header-Content-Length bytes | tensor | tensor | …      in the order of the binary inputs
 *
 * Members that we do not know are ignored, as the protocol's clients expect.
 */
import { Type, type Static } from '#typebox'
import { BankswitchError } from '../../base/errors.js'
import { checkOf } from '../../base/json-schema.js'
import { parseStrictJson } from '../../base/strict-json.js'
import { httpErrors } from '../errors.js'
import { tensorFromBytes, tensorFromJson, wireBytes } from './datatypes.js'
import type { PlainTensor } from '../../ort/session.js'

const Parameters = Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()]))

/** Names are repeated in errors. */
const TensorName = Type.String({ maxLength: 1000 })

export const RequestInput = Type.Object({
  name: TensorName,
  shape: Type.Array(Type.Integer({ minimum: 0 }), { maxItems: 16 }),
  datatype: Type.String(),
  parameters: Type.Optional(Parameters),
  data: Type.Optional(Type.Unknown())
})

export const RequestSchema = Type.Object({
  id: Type.Optional(Type.String({ maxLength: 1000 })),
  parameters: Type.Optional(Parameters),
  inputs: Type.Array(RequestInput, { minItems: 1, maxItems: 64 }),
  outputs: Type.Optional(Type.Array(Type.Object({
    name: TensorName, parameters: Type.Optional(Parameters)
  }), { maxItems: 64 }))
})

type RequestJson = Static<typeof RequestSchema>
type RequestInputJson = Static<typeof RequestInput>

export interface WantedOutput {
  name: string
  isBinary: boolean
  /** How many classes instead of all values. */
  classification?: unknown
}

/** A request without its tensors. */
export interface InferenceTerms {
  id?: string
  parameters: Readonly<Record<string, string | number | boolean>>
  /** Undefined for all outputs. */
  outputs?: WantedOutput[]
  /** For outputs that do not say themselves. */
  isBinaryByDefault: boolean
}

export interface InferenceMessage extends InferenceTerms {
  feeds: Record<string, PlainTensor>
}

const validate = checkOf<RequestJson>(RequestSchema)

/** Nesting of `data` never exceeds the rank, whose limit the schema sets. */
const DATA_DEPTH_MAX = 16

/** `data` is in an input, in `inputs`, in the root; members that we do not know may nest a little deeper. */
const JSON_DEPTH_MAX = DATA_DEPTH_MAX + 16

/**
 * Throws PROTOCOL_INVALID (or PROTOCOL_UNSUPPORTED for shared memory), telling expected and received, and what
 * `parseStrictJson` throws.
 */
export function parseInferenceRequest (body: Uint8Array, headerLength: string | undefined): InferenceMessage {
  const jsonLength = jsonLengthOf(body, headerLength)
  const json = parseJson(body.subarray(0, jsonLength))
  const { id, parameters = {}, inputs, outputs } = json
  refuseReserved(parameters)
  const isBinaryByDefault = parameters.binary_data_output === true
  const message: InferenceMessage = {
    parameters,
    feeds: readInputs(inputs, body.subarray(jsonLength), headerLength !== undefined),
    isBinaryByDefault,
    ...(id === undefined ? {} : { id })
  }
  if (outputs !== undefined && outputs.length > 0) {
    refuseTwice(outputs)
    message.outputs = outputs.map(({ name, parameters: { binary_data: isBinary, classification } = {} }) => ({
      name,
      isBinary: typeof isBinary === 'boolean' ? isBinary : isBinaryByDefault,
      ...(classification === undefined ? {} : { classification })
    }))
  }
  return message
}

/** Each repetition would be written out once more. */
function refuseTwice (outputs: NonNullable<RequestJson['outputs']>): void {
  const seen = new Set<string>()
  for (const { name } of outputs) {
    if (seen.has(name)) {
      throw httpErrors.PROTOCOL_INVALID(`the output "${name.slice(0, 100)}" is asked for twice`, {
        expected: 'each output once', received: name.slice(0, 100)
      })
    }
    seen.add(name)
  }
}

/** Sequences are for models with a state; names that the protocol's servers keep for themselves are no parameters. */
function refuseReserved (parameters: Record<string, unknown>): void {
  for (const name of Object.keys(parameters)) {
    if (name.startsWith('triton_') || name === 'headers') {
      throw httpErrors.PROTOCOL_INVALID('the name of a parameter is reserved', { received: name.slice(0, 100) })
    }
  }
  const { sequence_id: sequence = 0 } = parameters
  if (sequence !== 0 && sequence !== '') {
    throw httpErrors.PROTOCOL_UNSUPPORTED('sequences are not supported; models here have no state', {
      received: 'sequence_id'
    })
  }
}

/** How many bytes of the body are JSON. Throws PROTOCOL_INVALID for a header that does not fit. */
export function jsonLengthOf ({ length: bodyLength }: Uint8Array, text: string | undefined): number {
  if (text === undefined) return bodyLength
  const length = /^\d{1,15}$/.test(text) ? Number(text) : NaN
  if (length <= bodyLength) return length
  throw httpErrors.PROTOCOL_INVALID('Inference-Header-Content-Length does not fit the body', {
    expected: `0 to ${bodyLength}`, received: text.slice(0, 30)
  })
}

/** JSON that holds tensors. Throws PROTOCOL_INVALID for what is none, and what `parseStrictJson` throws. */
export function parseJsonBody (bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes, { depthMax: JSON_DEPTH_MAX })
  } catch (error) {
    if (!(error instanceof BankswitchError) || error.code !== 'JSON_INVALID') throw error
    throw httpErrors.PROTOCOL_INVALID(`the request is not JSON: ${error.message}`, {}, error)
  }
}

function parseJson (bytes: Uint8Array): RequestJson {
  const parsed: unknown = parseJsonBody(bytes)
  if (validate(parsed)) return parsed
  const [fault] = validate.errors
  throw httpErrors.PROTOCOL_INVALID(`the request is refused: ${fault?.instancePath} ${fault?.message}`, {
    expected: fault?.message, received: fault?.instancePath
  })
}

/** Tensors by name; `binary` holds the parts that follow the JSON. Throws what `parseInferenceRequest` throws. */
export function readInputs (
  inputs: RequestInputJson[], binary: Uint8Array, hasHeader: boolean
): Record<string, PlainTensor> {
  const feeds: Record<string, PlainTensor> = Object.create(null)
  let at = 0
  for (const input of inputs) {
    const { name, parameters = {}, data } = input
    if (Object.hasOwn(feeds, name)) invalid(input, 'stands twice', 'one input of each name', name)
    if (parameters.shared_memory_region !== undefined) {
      throw httpErrors.PROTOCOL_UNSUPPORTED('shared memory is not supported', { input: name })
    }
    const size = parameters.binary_data_size
    if ((size === undefined) === (data === undefined)) {
      invalid(input, 'must have either data or binary_data_size', 'one of them', size === undefined ? 'none' : 'both')
    }
    if (data !== undefined) {
      feeds[name] = readJsonInput(input, data)
    } else {
      if (!hasHeader) invalid(input, 'is binary without Inference-Header-Content-Length', 'that header', 'none')
      const bytes = binaryPart(input, size, binary.subarray(at))
      feeds[name] = tensorFromBytes(name, input.datatype, input.shape, bytes)
      at += bytes.length
    }
  }
  if (at === binary.length) return feeds
  throw httpErrors.PROTOCOL_INVALID('the body is longer than its binary tensors', {
    expected: at, received: binary.length
  })
}

function readJsonInput (input: RequestInputJson, data: unknown): PlainTensor {
  const values = flatten(input, data)
  const elements = elementsOf(input)
  if (values.length !== elements) {
    invalid(input, 'has another number of values than its shape says', elements, values.length)
  }
  return tensorFromJson(input.name, input.datatype, input.shape, values)
}

/** The bytes of a binary input, from where the one before it ended. */
function binaryPart (input: RequestInputJson, size: unknown, rest: Uint8Array): Uint8Array {
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    return invalid(input, 'has a binary_data_size that is no size', 'a non-negative integer', size)
  }
  const expected = wireBytes(input.datatype, input.name, elementsOf(input))
  if (expected !== undefined && expected !== size) {
    invalid(input, 'has another size than its shape says', expected, size)
  }
  if (size > rest.length) invalid(input, 'reaches beyond the end of the body', size, rest.length)
  return rest.subarray(0, size)
}

function elementsOf ({ shape }: RequestInputJson): number {
  return shape.reduce((product, dim) => product * dim, 1)
}

/** Values in row-major order, from nested or flat arrays. */
function flatten (input: RequestInputJson, data: unknown): unknown[] {
  if (!Array.isArray(data)) return invalid(input, 'has data that is no array', 'an array', typeof data)
  let values: unknown[] = data
  for (let depth = 1; values.some(Array.isArray); depth++) {
    if (depth > DATA_DEPTH_MAX) return invalid(input, 'has data that nests too deep', DATA_DEPTH_MAX, 'more')
    values = values.flat()
  }
  return values
}

function invalid (input: RequestInputJson, what: string, expected: unknown, received: unknown): never {
  const name = input.name.slice(0, 100)
  throw httpErrors.PROTOCOL_INVALID(`the input "${name}" ${what}`, { input: name, expected, received })
}
