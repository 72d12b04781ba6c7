/** Tensors on their way into an answer: how many bytes they take at most, and writing them in steps. */
import assert from 'node:assert/strict'
import { httpErrors } from '../errors.js'
import type { Sliced } from '../../base/slices.js'
import type { PlainTensor, TensorType } from '../../ort/session.js'

/** Elements that are written in one step. */
const SLICE = 4096

/** Bytes that are copied in one step. */
const SLICE_BYTES = 2 ** 20

/** What each character of a text may become: `\u001f`. */
export const JSON_BYTES_PER_CHARACTER = 6
/** Of UTF-16 in UTF-8. */
const UTF8_BYTES_PER_CHARACTER = 3
/** Quotes and a comma. */
export const JSON_BYTES_PER_TEXT = 3
export const LENGTH_BYTES = 4

/** The longest form of a value in JSON, and a comma: -1.7976931348623157e+308, -9007199254740991, false. */
const JSON_BYTES: Readonly<Partial<Record<TensorType, number>>> = {
  bool: 6,
  uint8: 4,
  int8: 5,
  uint16: 6,
  int16: 7,
  uint32: 11,
  int32: 12,
  uint64: 18,
  int64: 18,
  float32: 25,
  float64: 25
}

/** An answer as it grows, in memory that was taken for all of it. */
export class Page {
  readonly #buffer: Buffer
  #end = 0

  constructor (bytesMax: number) {
    this.#buffer = Buffer.allocUnsafe(bytesMax + UTF8_BYTES_PER_CHARACTER)
  }

  get length (): number {
    return this.#end
  }

  text (text: string): void {
    this.#end += this.#buffer.write(text, this.#end)
    // A text that does not fit is cut before the first character that does not.
    assert(this.#end + UTF8_BYTES_PER_CHARACTER <= this.#buffer.length, 'the answer is longer than was expected')
  }

  bytes (bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }

  uint32 (value: number): void {
    this.#end = this.#buffer.writeUInt32LE(value, this.#end)
  }

  view (): Buffer {
    return this.#buffer.subarray(0, this.#end)
  }
}

/** Bytes of the values in JSON, at most. */
export function jsonBytesMax ({ type, data }: PlainTensor): number {
  if (type !== 'string') return data.length * (JSON_BYTES[type] ?? 0)
  return sumOf(data as string[], ({ length }) => JSON_BYTES_PER_TEXT + JSON_BYTES_PER_CHARACTER * length)
}

/** Bytes of the values in the form of the binary tensor extension, at most. */
export function binaryBytesMax ({ type, data }: PlainTensor): number {
  if (type !== 'string') return (data as Float32Array).byteLength
  return sumOf(data as string[], ({ length }) => LENGTH_BYTES + UTF8_BYTES_PER_CHARACTER * length)
}

function sumOf (texts: readonly string[], bytesOf: (text: string) => number): number {
  return texts.reduce((sum, text) => sum + bytesOf(text), 0)
}

/** Writes the values as JSON, between commas. Throws PROTOCOL_INVALID for FP16 and for what JSON has no number for. */
export function * writeJson (page: Page, output: string, { type, data }: PlainTensor): Sliced<void> {
  if (type === 'float16') {
    throw httpErrors.PROTOCOL_INVALID(`the output "${output}" is FP16, which JSON cannot carry; ask for binary_data`)
  }
  for (let first = 0; first < data.length; first += SLICE) {
    if (first > 0) yield
    const values = jsonValues(output, type, Array.prototype.slice.call(data, first, first + SLICE))
    page.text(`${first > 0 ? ',' : ''}${JSON.stringify(values).slice(1, -1)}`)
  }
}

function jsonValues (output: string, type: TensorType, values: unknown[]): unknown[] {
  if (type === 'string') return values
  if (type === 'bool') return values.map(Boolean)
  const numbers = values.map(Number)
  if (type === 'int64' || type === 'uint64') {
    if (numbers.every(Number.isSafeInteger)) return numbers
    throw httpErrors.PROTOCOL_INVALID(`the output "${output}" has integers beyond 2^53; ask for binary_data`)
  }
  if (numbers.every(Number.isFinite)) return numbers
  throw httpErrors.PROTOCOL_INVALID(`the output "${output}" has NaN or infinite values; ask for binary_data`)
}

/** Exactly how many bytes `writeBinary` will write. */
export function * binaryBytes (tensor: PlainTensor): Sliced<number> {
  if (tensor.type !== 'string') return binaryBytesMax(tensor)
  let bytes = 0
  for (const [at, text] of (tensor.data as string[]).entries()) {
    if (at % SLICE === SLICE - 1) yield
    bytes += LENGTH_BYTES + Buffer.byteLength(text)
  }
  return bytes
}

/** Writes the raw values, little-endian; texts with their length before them. */
export function * writeBinary (page: Page, { type, data }: PlainTensor): Sliced<void> {
  if (type !== 'string') {
    const { buffer, byteOffset, byteLength } = data as Float32Array
    for (let first = 0; first < byteLength; first += SLICE_BYTES) {
      if (first > 0) yield
      page.bytes(new Uint8Array(buffer, byteOffset + first, Math.min(SLICE_BYTES, byteLength - first)))
    }
    return
  }
  for (const [at, text] of (data as string[]).entries()) {
    if (at % SLICE === SLICE - 1) yield
    page.uint32(Buffer.byteLength(text))
    page.text(text)
  }
}
