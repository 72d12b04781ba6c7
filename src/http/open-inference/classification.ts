/** The classification extension: an output as its best classes, `"value:index:label"`, instead of all its values. */
import { httpErrors } from '../errors.js'
import type { PlainTensor } from '../../ort/session.js'

/** Float32 has no more digits than these. */
const DIGITS = 7

/**
 * A BYTES tensor of shape [rows, min(count, classes)], best first, ties by index, NaN last. Labels are given where the
 * output has as many classes as there are labels. Throws PROTOCOL_INVALID for what is no count or has no numbers.
 */
export function classify (name: string, tensor: PlainTensor, count: unknown, labels: readonly string[]): PlainTensor {
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 1) {
    throw httpErrors.PROTOCOL_INVALID(`the classification of output "${name}" is no number of classes`, {
      expected: 'an integer from 1', received: String(count).slice(0, 50)
    })
  }
  const { type, dims, data } = tensor
  if (type === 'string' || type === 'bool' || type === 'float16') {
    throw httpErrors.PROTOCOL_INVALID(`the output "${name}" is ${type} and has no order of classes`, { output: name })
  }
  const rows = dims.length > 1 ? dims[0]! : 1
  const classes = rows === 0 ? 0 : data.length / rows
  const kept = Math.min(count, classes)
  const values = data as ArrayLike<number>
  const texts: string[] = []
  for (let row = 0; row < rows; row++) {
    const at = (index: number) => Number(values[row * classes + index])
    const rank = (index: number) => Number.isNaN(at(index)) ? -Infinity : at(index)
    const order = Array.from({ length: classes }, (_, index) => index).sort((a, b) => {
      return rank(a) === rank(b) ? a - b : rank(b) - rank(a)
    })
    for (const index of order.slice(0, kept)) {
      const label = labels.length === classes ? `:${labels[index]}` : ''
      texts.push(`${type.startsWith('float') ? at(index).toPrecision(DIGITS) : values[row * classes + index]}:${index}${label}`)
    }
  }
  return { type: 'string', dims: [rows, kept], data: texts }
}
