/** How far two answers to the same rows lie apart. */
import { numbersOf } from '../tensor-numbers.js'
import type { Tensors } from '../../ort/rows.js'

export interface Comparison {
  comparedRows: number
  /** Rows with another best class; 0 where there are no classes. */
  disagreeingRows: number
  /** Rows where one of the two has a value that is no finite number; no difference is told of them. */
  notFiniteRows: number
  /** Largest difference of two values, relative to the largest magnitude in the first answer's row. */
  largestRelativeDifference: number
}

/** Of no rows. */
export const NOTHING_COMPARED: Readonly<Comparison> = {
  comparedRows: 0, disagreeingRows: 0, notFiniteRows: 0, largestRelativeDifference: 0
}

/** Adds what was compared further to `sum`. */
export function addComparison (sum: Comparison, further: Comparison): void {
  sum.comparedRows += further.comparedRows
  sum.disagreeingRows += further.disagreeingRows
  sum.notFiniteRows += further.notFiniteRows
  sum.largestRelativeDifference = Math.max(sum.largestRelativeDifference, further.largestRelativeDifference)
}

/** `classOutput` names the output whose largest value is the class. Both have the same outputs, of the same shapes. */
export function compareRows (
  first: Tensors, second: Tensors, rows: number, classOutput: string | undefined
): Comparison {
  const notFinite = new Set<number>()
  const disagreeing = new Set<number>()
  let largest = 0
  for (const [name, tensor] of Object.entries(first)) {
    const [one, other] = [numbersOf(tensor), numbersOf(second[name]!)]
    const perRow = tensor.data.length / rows
    for (let row = 0; row < rows; row++) {
      const { difference, isSameClass } = compareRow(one, other, row * perRow, perRow)
      if (Number.isFinite(difference)) largest = Math.max(largest, difference)
      else notFinite.add(row)
      if (name === classOutput && !isSameClass) disagreeing.add(row)
    }
  }
  return {
    comparedRows: rows,
    disagreeingRows: disagreeing.size,
    notFiniteRows: notFinite.size,
    largestRelativeDifference: largest
  }
}

type Values = (at: number) => number

function compareRow (
  one: Values, other: Values, begin: number, length: number
): { difference: number, isSameClass: boolean } {
  let [largest, magnitude] = [0, 0]
  let [bestOfOne, bestOfOther] = [begin, begin]
  let isFinite = true
  for (let at = begin; at < begin + length; at++) {
    const [a, b] = [one(at), other(at)]
    isFinite &&= Number.isFinite(a) && Number.isFinite(b)
    largest = Math.max(largest, Math.abs(a - b))
    magnitude = Math.max(magnitude, Math.abs(a))
    if (a > one(bestOfOne)) bestOfOne = at
    if (b > other(bestOfOther)) bestOfOther = at
  }
  const difference = largest === 0 ? 0 : largest / Math.max(magnitude, Number.MIN_VALUE)
  return { difference: isFinite ? Math.min(difference, Number.MAX_VALUE) : NaN, isSameClass: bestOfOne === bestOfOther }
}
