import type { Tensors } from '../ort/rows.js'

/** Of a picture, to be compared with the next. */
const VALUES_MAX = 64
/** Its multiples fall between each other evenly, so that places do not lie in one column. */
const GOLDEN = (Math.sqrt(5) - 1) / 2

/** Values of one of `rows` rows, from places that are the same for all rows of this size and spread evenly over it. */
export function someValues (feeds: Tensors, row: number, rows: number): Float32Array {
  const { data } = Object.values(feeds)[0]!
  const length = data.length / rows
  const count = Math.min(length, VALUES_MAX)
  return Float32Array.from({ length: count }, (_, at) => {
    return Number(data[row * length + Math.floor((at + at * GOLDEN % 1) * length / count)])
  })
}
