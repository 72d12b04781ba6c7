/** The classification extension: an output as its best classes, `"value:index:label"`, instead of all its values. */
import { bestIndices } from '../../base/best-indices.js'
import { httpErrors } from '../errors.js'
import { JSON_BYTES_PER_CHARACTER } from './write-tensor.js'
import type { Sliced } from '../../base/slices.js'
import type { PlainTensor } from '../../ort/session.js'

/** Float32 has no more digits than these. */
const DIGITS = 7

/** -9223372036854775808:4294967295: */
const NUMBER_BYTES = 32

/** Texts that are made in one step. */
const SLICE = 1024

/**
 * A BYTES tensor of shape [rows, min(count, classes)], best first, ties by index, NaN last. Labels are given where the
 * output has as many classes as there are labels. Throws PROTOCOL_INVALID for what is no count or has no numbers.
 */
export function * classify (
  name: string, tensor: PlainTensor, count: unknown, labels: readonly string[]
): Sliced<PlainTensor> {
  const { type, data } = tensor
  const { rows, classes, kept } = classesOf(name, tensor, count)
  const values = data as Float32Array | BigInt64Array
  const texts: string[] = []
  for (let row = 0; row < rows; row++) {
    const ofRow = values.subarray(row * classes, (row + 1) * classes)
    for (const index of yield * bestIndices(ofRow, kept)) {
      const label = labels.length === classes ? `:${labels[index]}` : ''
      const value = ofRow[index]!
      texts.push(`${type.startsWith('float') ? Number(value).toPrecision(DIGITS) : value}:${index}${label}`)
      if (texts.length % SLICE === 0) yield
    }
  }
  return { type: 'string', dims: [rows, kept], data: texts }
}

/** Bytes of one of the texts in JSON, at most: a number of at most 20 characters, an index, colons, a label. */
export function textBytesMax (classes: number, labels: readonly string[]): number {
  if (labels.length !== classes) return NUMBER_BYTES
  return NUMBER_BYTES + JSON_BYTES_PER_CHARACTER * labels.reduce((most, { length }) => Math.max(most, length), 0)
}

/** How many rows and classes there are, and of how many classes there will be texts. Throws like `classify`. */
export function classesOf (
  name: string, { type, dims, data }: PlainTensor, count: unknown
): { rows: number, classes: number, kept: number } {
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 1) {
    throw httpErrors.PROTOCOL_INVALID(`the classification of output "${name}" is no number of classes`, {
      expected: 'an integer from 1', received: String(count).slice(0, 50)
    })
  }
  if (type === 'string' || type === 'bool' || type === 'float16') {
    throw httpErrors.PROTOCOL_INVALID(`the output "${name}" is ${type} and has no order of classes`, { output: name })
  }
  const rows = dims.length > 1 ? dims[0]! : 1
  const classes = rows === 0 ? 0 : data.length / rows
  return { rows, classes, kept: Math.min(count, classes) }
}
