import { float16ToNumber } from '../base/float16.js'
import type { PlainTensor } from '../ort/session.js'

/** The values of a tensor of any numeric type. */
export function numbersOf ({ type, data }: PlainTensor): (at: number) => number {
  return type === 'float16' ? (at) => float16ToNumber(Number(data[at])) : (at) => Number(data[at])
}
