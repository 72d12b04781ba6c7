/**
 * Tensors between the wire and the runtime (Open Inference Protocol v2, "Tensor Data Types"; binary tensor extension).
 * All numbers are little-endian, as on every machine we run on.
 */
import { alignedView } from '../../base/bytes.js'
import { httpErrors } from '../errors.js'
import type { PlainTensor, TensorData, TensorType } from '../../ort/session.js'

interface Datatype {
  name: string
  type: TensorType
  /** Bytes per element; 0 for BYTES, whose elements carry their length. */
  width: number
  /** Makes the runtime's array; from a count, from JSON values, or over aligned bytes. */
  array: TypedArrayConstructor | undefined
  isBig?: boolean
  /** The upper half of a float32: the runtime has no such type, so it is widened, which is exact. */
  isBfloat?: boolean
}

type TypedArrayConstructor = typeof Float32Array | typeof Float64Array | typeof Uint8Array | typeof Int8Array |
  typeof Uint16Array | typeof Int16Array | typeof Uint32Array | typeof Int32Array | typeof BigInt64Array |
  typeof BigUint64Array

const DATATYPES: readonly Datatype[] = [
  { name: 'BOOL', type: 'bool', width: 1, array: Uint8Array },
  { name: 'UINT8', type: 'uint8', width: 1, array: Uint8Array },
  { name: 'UINT16', type: 'uint16', width: 2, array: Uint16Array },
  { name: 'UINT32', type: 'uint32', width: 4, array: Uint32Array },
  { name: 'UINT64', type: 'uint64', width: 8, array: BigUint64Array, isBig: true },
  { name: 'INT8', type: 'int8', width: 1, array: Int8Array },
  { name: 'INT16', type: 'int16', width: 2, array: Int16Array },
  { name: 'INT32', type: 'int32', width: 4, array: Int32Array },
  { name: 'INT64', type: 'int64', width: 8, array: BigInt64Array, isBig: true },
  { name: 'FP16', type: 'float16', width: 2, array: Uint16Array },
  { name: 'BF16', type: 'float32', width: 2, array: Uint16Array, isBfloat: true },
  { name: 'FP32', type: 'float32', width: 4, array: Float32Array },
  { name: 'FP64', type: 'float64', width: 8, array: Float64Array },
  { name: 'BYTES', type: 'string', width: 0, array: undefined }
]

const BY_NAME = new Map(DATATYPES.map((datatype) => [datatype.name, datatype]))
const NATIVE = DATATYPES.filter(({ isBfloat }) => isBfloat !== true)
const BY_TYPE = new Map(NATIVE.map((datatype) => [datatype.type, datatype]))

/** The protocol's name of a runtime type. */
export function datatypeName (type: TensorType): string {
  return BY_TYPE.get(type)?.name ?? type
}

function datatypeOf (name: string, input: string): Datatype {
  const datatype = BY_NAME.get(name)
  if (datatype !== undefined) return datatype
  throw httpErrors.PROTOCOL_INVALID(`the input "${input}" has an unknown datatype`, {
    input, expected: [...BY_NAME.keys()], received: name.slice(0, 20)
  })
}

/** Bytes that a tensor takes on the wire; undefined for BYTES. */
export function wireBytes (datatype: string, input: string, elements: number): number | undefined {
  const { width } = datatypeOf(datatype, input)
  return width === 0 ? undefined : width * elements
}

/** A tensor from its raw bytes, whose length has been checked against `wireBytes`. */
export function tensorFromBytes (input: string, datatype: string, dims: number[], bytes: Uint8Array): PlainTensor {
  const { type, array: ArrayType, isBfloat } = datatypeOf(datatype, input)
  if (isBfloat === true) return { type, dims, data: widened(alignedView(bytes, Uint16Array)) }
  if (datatype === 'BOOL') requireBooleans(input, bytes)
  if (ArrayType === undefined) return { type, dims, data: stringsFromBytes(input, dims, bytes) }
  return { type, dims, data: alignedView<unknown>(bytes, ArrayType) as TensorData }
}

function widened (halves: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer)
}

function requireBooleans (input: string, bytes: Uint8Array): void {
  const wrong = bytes.findIndex((byte) => byte > 1)
  if (wrong < 0) return
  throw httpErrors.PROTOCOL_INVALID(`the input "${input}" has a byte that is no BOOL`, {
    input, expected: '0 or 1', received: bytes[wrong]
  })
}

function stringsFromBytes (input: string, dims: number[], bytes: Uint8Array): string[] {
  const count = dims.reduce((product, size) => product * size, 1)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const strings: string[] = []
  let at = 0
  while (at < bytes.length && strings.length < count) {
    const length = at + 4 <= bytes.length ? view.getUint32(at, true) : Infinity
    if (at + 4 + length > bytes.length) break
    strings.push(Buffer.from(bytes.buffer, bytes.byteOffset + at + 4, length).toString('utf8'))
    at += 4 + length
  }
  if (strings.length === count && at === bytes.length) return strings
  throw httpErrors.PROTOCOL_INVALID(`the BYTES of input "${input}" do not hold as many elements as its shape says`, {
    input, expected: count, received: strings.length
  })
}

/** A tensor from JSON values, flat already, as many as its shape says. Throws PROTOCOL_INVALID for a wrong value. */
export function tensorFromJson (input: string, datatype: string, dims: number[], values: unknown[]): PlainTensor {
  const { name, type, array: ArrayType, isBig } = datatypeOf(datatype, input)
  if (name === 'FP16' || name === 'BF16') {
    throw httpErrors.PROTOCOL_INVALID(`the input "${input}" is ${name}, which JSON cannot carry; send it as binary`, {
      input, expected: 'binary data', received: 'JSON'
    })
  }
  const wrong = values.findIndex((value) => !isJsonValue(value, name, isBig === true))
  if (wrong >= 0) {
    throw httpErrors.PROTOCOL_INVALID(`the input "${input}" has a value that is no ${name}`, {
      input,
      expected: isBig === true ? 'an integer within 2^53; send others as binary' : name,
      received: describeValue(values[wrong])
    })
  }
  if (ArrayType === undefined) return { type, dims, data: values as string[] }
  if (isBig === true) return { type, dims, data: (ArrayType as typeof BigInt64Array).from(values as number[], BigInt) }
  const data = (ArrayType as typeof Float32Array).from(values as number[])
  // What a narrow integer cannot hold would wrap around in silence, what a float cannot would become infinite.
  const isHeld = name.startsWith('FP') ? Number.isFinite : (value: number, at: number) => value === Number(values[at])
  const changed = data.findIndex((value, at) => !isHeld(value, at))
  if (changed >= 0) {
    throw httpErrors.PROTOCOL_INVALID(`the input "${input}" has a value that is no ${name}`, {
      input, expected: name, received: String(values[changed])
    })
  }
  return { type, dims, data: data as TensorData }
}

function isJsonValue (value: unknown, name: string, isBig: boolean): boolean {
  if (name === 'BYTES') return typeof value === 'string'
  if (name === 'BOOL') return typeof value === 'boolean'
  if (typeof value !== 'number' || (name === 'UINT64' && value < 0)) return false
  return !isBig || Number.isSafeInteger(value)
}

/** An object is never made a text: members of its own stand where JavaScript looks for how to do that. */
function describeValue (value: unknown): string {
  return typeof value === 'object' && value !== null ? 'an object' : String(value).slice(0, 50)
}
