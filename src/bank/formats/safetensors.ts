/**
 * The safetensors container (huggingface/safetensors, format description in its README).
 *
 *   | u64 LE header length N | N bytes of UTF-8 JSON | tensors end to end |
 *
 * The header maps a name to {dtype, shape, data_offsets: [begin, end]} and may hold `__metadata__`, strings only.
 * Stricter than the reference reader where that is lenient: a name that stands twice is refused, and so are unknown
 * fields of an entry. Nothing is allocated from a number in the file before it was checked against the file's size.
 */
import { alignedView } from '../../base/bytes.js'
import { tensorBytes } from '../../base/dims.js'
import { bfloat16ToNumber, float16ToNumber } from '../../base/float16.js'
import { BankswitchError } from '../../base/errors.js'
import { parseStrictJson, type JsonValue } from '../../base/strict-json.js'
import { bankErrors } from '../errors.js'

const LENGTH_BYTES = 8

const BRACE = 0x7b

/** A state_dict of 100,000 tensors needs some 12 MB; the reference's own bound is 100 MB. */
const HEADER_BYTES_MAX = 16 * 2 ** 20
const TENSORS_MAX = 100_000

/** root > entry > shape or data_offsets */
const HEADER_DEPTH_MAX = 3

/** A tensor is eight: its name, an object, three keys, a type, two arrays. As many again for the metadata. */
const HEADER_ELEMENTS_MAX = 16 * TENSORS_MAX

const METADATA = '__metadata__'

/** An escaped surrogate without its other half: JSON.parse lets it pass, but it is no text and has no UTF-8. */
const HALF_PAIR = /\p{Surrogate}/u

/** Bytes per element, in the reference's order of types; sub-byte types exist but cannot hold statistics. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  F8_E4M3FNUZ: 1,
  F8_E5M2FNUZ: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  C64: 8,
  F64: 8,
  I64: 8,
  U64: 8
}

export interface SafetensorsTensor {
  dtype: string
  shape: number[]
  /** A view of the file's bytes; its alignment is arbitrary. */
  bytes: Uint8Array
}

export interface SafetensorsFile {
  tensors: Map<string, SafetensorsTensor>
  metadata: Map<string, string>
}

/** A length that the file has room for, and the beginning of an object. */
export function looksLikeSafetensors (file: Uint8Array): boolean {
  if (file.length <= LENGTH_BYTES || file[LENGTH_BYTES] !== BRACE) return false
  return declaredLength(file) <= BigInt(file.length - LENGTH_BYTES)
}

function declaredLength (file: Uint8Array): bigint {
  return new DataView(file.buffer, file.byteOffset, LENGTH_BYTES).getBigUint64(0, true)
}

/** Throws SAFETENSORS_MALFORMED telling which rule the file breaks, or SAFETENSORS_UNSUPPORTED for a dtype. */
export function parseSafetensors (file: Uint8Array): SafetensorsFile {
  const header = parseHeader(file)
  const body = file.subarray(LENGTH_BYTES + header.byteLength)
  const metadata = parseMetadata(header.root[METADATA])
  const entries = Object.entries(header.root).filter(([name]) => name !== METADATA)
  if (entries.length > TENSORS_MAX) malformed('too many tensors', TENSORS_MAX, entries.length)
  const parsed = entries.map(([name, entry]) => parseEntry(name, entry))
  parsed.sort((a, b) => a.begin - b.begin || a.end - b.end)
  const tensors = new Map<string, SafetensorsTensor>()
  let position = 0
  for (const { name, dtype, shape, begin, end } of parsed) {
    if (begin !== position) malformed(`tensor "${clip(name)}" does not begin where the one before it ended`, position, begin)
    if (end > body.length) malformed(`tensor "${clip(name)}" reaches beyond the end of the file`, body.length, end)
    tensors.set(name, { dtype, shape, bytes: body.subarray(begin, end) })
    position = end
  }
  if (position !== body.length) malformed('the tensors do not fill the file', body.length, position)
  return { tensors, metadata }
}

function parseHeader (file: Uint8Array): { root: Record<string, JsonValue>, byteLength: number } {
  if (file.length < LENGTH_BYTES) malformed('the file is too short for a header', LENGTH_BYTES, file.length)
  const declared = declaredLength(file)
  const room = BigInt(Math.min(file.length - LENGTH_BYTES, HEADER_BYTES_MAX))
  if (declared > room) malformed('the header is longer than the file or the limit', Number(room), String(declared))
  const byteLength = Number(declared)
  const bytes = file.subarray(LENGTH_BYTES, LENGTH_BYTES + byteLength)
  if (bytes[0] !== BRACE) malformed('the header must begin with "{"', '{', bytes[0] ?? 'nothing')
  let root: JsonValue
  try {
    root = parseStrictJson(bytes, {
      depthMax: HEADER_DEPTH_MAX, elementsMax: HEADER_ELEMENTS_MAX, hasDigitsOnly: true
    })
  } catch (cause) {
    if (!(cause instanceof BankswitchError)) throw cause
    throw bankErrors.SAFETENSORS_MALFORMED(`the safetensors header is refused: ${cause.message}`, cause.details, cause)
  }
  if (!isRecord(root)) return malformed('the header must be an object', 'object', typeof root)
  return { root, byteLength }
}

function parseMetadata (value: JsonValue | undefined): Map<string, string> {
  if (value === undefined) return new Map()
  if (!isRecord(value)) return malformed(`${METADATA} must be an object of strings`, 'object', typeof value)
  const entries = Object.entries(value)
  for (const [key, text] of entries) {
    if (typeof text !== 'string') return malformed(`${METADATA} "${clip(key)}" must be a string`, 'string', typeof text)
    if (HALF_PAIR.test(`${key} ${text}`)) malformed(`${METADATA} has half a surrogate pair`, 'Unicode', 'half a pair')
  }
  return new Map(entries as Array<[string, string]>)
}

interface Entry { name: string, dtype: string, shape: number[], begin: number, end: number }

function parseEntry (name: string, entry: JsonValue): Entry {
  if (HALF_PAIR.test(name)) malformed('a name has half a surrogate pair', 'Unicode', 'half a pair')
  if (!isRecord(entry)) return malformed(`tensor "${clip(name)}" must be an object`, 'object', typeof entry)
  const fields = Object.keys(entry).sort().join()
  if (fields !== 'data_offsets,dtype,shape') {
    malformed(`tensor "${clip(name)}" has other fields than it must`, 'data_offsets,dtype,shape', clip(fields))
  }
  const { dtype, shape, data_offsets: offsets } = entry
  if (typeof dtype !== 'string') return malformed(`the dtype of "${clip(name)}" must be a string`, 'string', typeof dtype)
  const width = Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined
  if (width === undefined) {
    throw bankErrors.SAFETENSORS_UNSUPPORTED(`tensor "${clip(name)}" has the unknown dtype ${clip(dtype)}`, {
      tensor: clip(name), expected: Object.keys(DTYPE_BYTES), received: clip(dtype)
    })
  }
  if (!isCounts(shape)) return malformed(`the shape of "${clip(name)}" must be an array of integers`, 'integers', clip(JSON.stringify(shape)))
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[1]! < offsets[0]!) {
    return malformed(`data_offsets of "${clip(name)}" must be [begin, end]`, '[begin, end]', clip(JSON.stringify(offsets)))
  }
  const [begin, end] = offsets as [number, number]
  const expected = tensorBytes(shape, width)
  if (expected !== end - begin) malformed(`tensor "${clip(name)}" has another size than its shape says`, expected, end - begin)
  return { name, dtype, shape, begin, end }
}

/**
 * The values of a float tensor as numbers, a view of the file where its alignment allows. Throws
 * SAFETENSORS_UNSUPPORTED for integers, booleans and 8-bit floats.
 */
export function floatValues (name: string, { dtype, bytes }: SafetensorsTensor): Float32Array | Float64Array {
  switch (dtype) {
    case 'F32': return alignedView(bytes, Float32Array)
    case 'F64': return alignedView(bytes, Float64Array)
    case 'F16': return Float32Array.from(alignedView(bytes, Uint16Array), float16ToNumber)
    case 'BF16': return Float32Array.from(alignedView(bytes, Uint16Array), bfloat16ToNumber)
    default:
      throw bankErrors.SAFETENSORS_UNSUPPORTED(`tensor "${clip(name)}" is ${dtype}, but statistics must be floats`, {
        tensor: clip(name), expected: ['F32', 'F64', 'F16', 'BF16'], received: dtype
      })
  }
}

export interface TensorToWrite {
  name: string
  dtype: 'F64' | 'I64' | 'U64' | 'F32' | 'I32' | 'U32' | 'F16' | 'I16' | 'U16' | 'I8' | 'U8' | 'BOOL'
  shape: readonly number[]
  bytes: Uint8Array
}

const DTYPE_ORDER = Object.keys(DTYPE_BYTES)

/**
 * Writes a file as the reference writer does: tensors by descending type (which is descending element size, so all are
 * aligned), then name, the header padded with spaces to a multiple of 8. The same content gives the same bytes.
 */
export function serializeSafetensors (
  tensors: readonly TensorToWrite[], metadata: ReadonlyMap<string, string>
): Uint8Array<ArrayBuffer> {
  const sorted = sortedByUtf8(tensors, ({ name }) => name)
    .sort((a, b) => DTYPE_ORDER.indexOf(b.dtype) - DTYPE_ORDER.indexOf(a.dtype))
  const header: string[] = []
  if (metadata.size > 0) {
    const pairs = sortedByUtf8([...metadata], ([key]) => key)
    header.push(member(METADATA, `{${pairs.map(([key, text]) => member(key, JSON.stringify(text))).join()}}`))
  }
  let position = 0
  for (const { name, dtype, shape, bytes } of sorted) {
    const offsets = [position, position + bytes.length]
    header.push(member(name, JSON.stringify({ dtype, shape, data_offsets: offsets })))
    position += bytes.length
  }
  const json = `{${header.join()}}`
  const unpadded = Buffer.byteLength(json)
  const padded = Math.ceil(unpadded / 8) * 8
  const file = new Uint8Array(LENGTH_BYTES + padded + position)
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true)
  file.set(Buffer.from(json.padEnd(json.length + padded - unpadded)), LENGTH_BYTES)
  let at = LENGTH_BYTES + padded
  for (const { bytes } of sorted) {
    file.set(bytes, at)
    at += bytes.length
  }
  return file
}

/** Header and tensors of a file that `serializeSafetensors` wrote and a digest vouches for; nothing is checked. */
export function ownFile (file: Uint8Array): { header: Record<string, OwnEntry>, body: Uint8Array } {
  const end = LENGTH_BYTES + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true))
  const json = Buffer.from(file.buffer, file.byteOffset + LENGTH_BYTES, end - LENGTH_BYTES).toString()
  return { header: JSON.parse(json) as Record<string, OwnEntry>, body: file.subarray(end) }
}

interface OwnEntry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/** A member of a JSON object; an object of ours would put names that are numbers first. */
function member (name: string, json: string): string {
  return `${JSON.stringify(name)}:${json}`
}

/** By the bytes of their names; strings compare by UTF-16 units, which is another order beyond U+FFFF. */
function sortedByUtf8<T> (items: readonly T[], nameOf: (item: T) => string): T[] {
  return items
    .map((item) => ({ item, bytes: Buffer.from(nameOf(item)) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ item }) => item)
}

function isRecord (value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts (value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0)
}

function clip (text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

function malformed (message: string, expected: unknown, received: unknown): never {
  throw bankErrors.SAFETENSORS_MALFORMED(`the safetensors file is refused: ${message}`, { expected, received })
}
