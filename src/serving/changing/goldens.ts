/**
 * Golden inputs and what must come out of them, as a domain stores them: a safetensors file with the tensors
 * `inputs.<name>` and `expected.<name>`, each with as many rows as the others.
 */
import { alignedView } from '../../base/bytes.js'
import {
  parseSafetensors, serializeSafetensors, type SafetensorsTensor, type TensorToWrite
} from '../../bank/formats/safetensors.js'
import { checkFeeds } from '../feeds.js'
import { servingErrors } from '../errors.js'
import { numbersOf } from '../tensor-numbers.js'
import type { Tensors } from '../../ort/rows.js'
import type { PlainTensor, TensorData } from '../../ort/session.js'
import type { ReadyModel } from '../model-states.js'

export interface Goldens {
  inputs: Tensors
  expected: Tensors
}

export const GOLDEN_ROWS_MAX = 1024
export const GOLDEN_BYTES_MAX = 16 * 2 ** 20

type Dtype = TensorToWrite['dtype']

const TYPES = {
  F64: ['float64', Float64Array],
  F32: ['float32', Float32Array],
  F16: ['float16', Uint16Array],
  I64: ['int64', BigInt64Array],
  U64: ['uint64', BigUint64Array],
  I32: ['int32', Int32Array],
  U32: ['uint32', Uint32Array],
  I16: ['int16', Int16Array],
  U16: ['uint16', Uint16Array],
  I8: ['int8', Int8Array],
  U8: ['uint8', Uint8Array],
  BOOL: ['bool', Uint8Array]
} as const satisfies Record<Dtype, readonly [PlainTensor['type'], unknown]>

const DTYPE_OF = new Map(Object.entries(TYPES).map(([dtype, [type]]) => [type as string, dtype as Dtype]))

/** Throws GATE_INVALID, and what `parseSafetensors` throws. */
export function parseGoldens (file: Uint8Array): Goldens {
  const empty = () => Object.create(null) as Record<string, PlainTensor>
  const parts = { inputs: empty(), expected: empty() }
  for (const [name, tensor] of parseSafetensors(file).tensors) {
    const [, part = '', own = ''] = /^(inputs|expected)\.(.+)$/.exec(name) ?? []
    if (part === '') throw invalid('a tensor has another name than it must', 'inputs.* or expected.*', name)
    parts[part as keyof Goldens][own] = plainTensor(name, tensor)
  }
  return parts
}

function plainTensor (name: string, { dtype, shape, bytes }: SafetensorsTensor): PlainTensor {
  const known = Object.hasOwn(TYPES, dtype) ? TYPES[dtype as Dtype] : undefined
  if (known === undefined) throw invalid(`the tensor "${name}" has another type`, Object.keys(TYPES).join(), dtype)
  const [type, ArrayType] = known
  return { type, dims: shape, data: alignedView<unknown>(bytes, ArrayType) as TensorData }
}

/** The same goldens give the same bytes. */
export function serializeGoldens (goldens: Goldens): Uint8Array {
  const tensors = (['inputs', 'expected'] as const).flatMap((part) => {
    return Object.entries(goldens[part]).map(([name, { type, dims, data }]) => {
      const { buffer, byteOffset, byteLength } = data as Float32Array
      const bytes = new Uint8Array(buffer, byteOffset, byteLength)
      return { name: `${part}.${name}`, dtype: DTYPE_OF.get(type)!, shape: dims, bytes }
    })
  })
  return serializeSafetensors(tensors, new Map())
}

/**
 * Are these goldens what the model takes and gives? Returns their rows. Throws GATE_INVALID, GATE_TOO_LARGE,
 * OUTPUT_UNKNOWN and what `checkFeeds` throws.
 */
export function checkGoldens ({ artefact }: ReadyModel, { inputs, expected }: Goldens): number {
  const rows = checkFeeds(artefact.inputs, inputs)
  const bytes = [...Object.values(inputs), ...Object.values(expected)].reduce((sum, { type, data }) => {
    if (!DTYPE_OF.has(type)) throw invalid('texts cannot be compared', 'numbers', type)
    return sum + (data as Float32Array).byteLength
  }, 0)
  if (rows > GOLDEN_ROWS_MAX || bytes > GOLDEN_BYTES_MAX) {
    throw servingErrors.GATE_TOO_LARGE('the gate is too large', {
      expected: `at most ${GOLDEN_ROWS_MAX} rows and ${GOLDEN_BYTES_MAX} bytes`, received: `${rows} rows, ${bytes} bytes`
    })
  }
  const names = Object.keys(expected)
  if (names.length === 0) throw invalid('nothing is expected', 'a tensor expected.<output>', 'none')
  for (const name of names) {
    const output = artefact.outputs.find((known) => known.name === name)
    if (output === undefined) {
      throw servingErrors.OUTPUT_UNKNOWN(`the model has no output "${name.slice(0, 100)}"`, {
        expected: artefact.outputs.map((known) => known.name), received: name.slice(0, 100)
      })
    }
    const golden = expected[name]!
    const { type, dims } = golden
    if (type !== output.type) throw invalid(`"expected.${name}" has another datatype`, output.type, type)
    const shape = output.dims.map((size, axis) => size ?? (axis === 0 ? rows : null))
    const isShape = dims.length === shape.length && dims.every((size, axis) => (shape[axis] ?? size) === size)
    if (!isShape) throw invalid(`"expected.${name}" has another shape`, shape.map((size) => size ?? -1), dims)
    const valueAt = numbersOf(golden)
    const isFinite = Array.from({ length: golden.data.length }, (_, at) => valueAt(at)).every(Number.isFinite)
    if (!isFinite) throw invalid(`"expected.${name}" has a value that is not finite`, 'finite numbers', 'NaN or infinity')
  }
  return rows
}

export function invalid (what: string, expected: unknown, received: unknown): Error {
  const shown = typeof received === 'string' ? received.slice(0, 100) : received
  return servingErrors.GATE_INVALID(`the gate is refused: ${what}`, { expected, received: shown })
}
