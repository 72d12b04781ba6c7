/** Count, mean and co-moments of rows of features, in float64, always around their own mean. */
import { packedLength } from './symmetric.js'

export interface JointMoments {
  readonly count: number
  readonly mean: Float64Array
  /** Packed sums over rows of (x_i - mean_i) (x_j - mean_j). */
  readonly products: Float64Array
}

/** Of no rows. */
function noMoments (size: number): JointMoments {
  return { count: 0, mean: new Float64Array(size), products: new Float64Array(packedLength(size)) }
}

/** Of the rows, in two steps. */
export function momentsOf (rows: readonly Float64Array[], size: number): JointMoments {
  const mean = new Float64Array(size)
  for (const row of rows) for (let at = 0; at < size; at++) mean[at]! += row[at]! / rows.length
  const products = new Float64Array(packedLength(size))
  const centred = new Float64Array(size)
  for (const row of rows) {
    for (let at = 0; at < size; at++) centred[at] = row[at]! - mean[at]!
    addProducts(products, centred, 1)
  }
  return { count: rows.length, mean, products }
}

/** Of both sets together: M = M_a + M_b + d dᵀ n_a n_b / (n_a + n_b) (Chan, Golub & LeVeque 1979). */
export function mergeMoments (a: JointMoments, b: JointMoments): JointMoments {
  const count = a.count + b.count
  if (count === 0) return a
  const offset = b.mean.map((value, at) => value - a.mean[at]!)
  const products = a.products.map((value, at) => value + b.products[at]!)
  addProducts(products, offset, a.count * (b.count / count))
  return { count, mean: a.mean.map((value, at) => value + offset[at]! * (b.count / count)), products }
}

/**
 * Every fold of rows in order, at least one, with the moments of the rows of all others. Halves go down to
 * halves, so that a row is added once for each of the log2 K levels; nothing is subtracted, because what is left of
 * a strange row of 1e9 would be rounding.
 */
export function * eachWithout<T extends readonly Float64Array[]> (
  folds: readonly T[], size: number, others = noMoments(size)
): Generator<readonly [fold: T, others: JointMoments], void> {
  if (folds.length === 1) return yield [folds[0]!, others]
  const middle = folds.length >>> 1
  const [left, right] = [folds.slice(0, middle), folds.slice(middle)]
  yield * eachWithout(left, size, mergeMoments(others, momentsOf(right.flat(), size)))
  yield * eachWithout(right, size, mergeMoments(others, momentsOf(left.flat(), size)))
}

function addProducts (products: Float64Array, vector: Float64Array, weight: number): void {
  let at = 0
  for (let row = 0; row < vector.length; row++) {
    const scaled = weight * vector[row]!
    for (let column = 0; column <= row; column++) products[at++]! += scaled * vector[column]!
  }
}
