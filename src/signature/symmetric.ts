/**
 * Symmetric matrices of n x n, packed: the lower triangle row by row, element (i, j) with j <= i at i (i + 1) / 2 + j,
 * in float64.
 */

/** Elements of a packed matrix of `size` rows. */
export function packedLength (size: number): number {
  return size * (size + 1) / 2
}

/** Where the element (row, row) lies. */
export function diagonalAt (row: number): number {
  return packedLength(row) + row
}

/**
 * The lower triangle L with L Lᵀ = matrix (Cholesky); undefined for a matrix that is not positive definite, or that
 * holds what is no number.
 */
export function choleskyOf (matrix: Float64Array, size: number): Float64Array | undefined {
  const factor = new Float64Array(packedLength(size))
  for (let row = 0; row < size; row++) {
    const begin = packedLength(row)
    for (let column = 0; column <= row; column++) {
      const other = packedLength(column)
      let sum = matrix[begin + column]!
      for (let at = 0; at < column; at++) sum -= factor[begin + at]! * factor[other + at]!
      if (column < row) {
        factor[begin + column] = sum / factor[other + column]!
      } else {
        if (!(sum > 0 && sum < Infinity)) return undefined
        factor[begin + row] = Math.sqrt(sum)
      }
    }
  }
  return factor
}

/** L⁻¹ vector, for the triangle L of `choleskyOf`. */
export function whitened (factor: Float64Array, vector: Float64Array): Float64Array {
  const result = new Float64Array(vector.length)
  for (let row = 0; row < vector.length; row++) {
    const begin = packedLength(row)
    result[row] = (vector[row]! - rowTimes(factor, begin, result, row)) / factor[begin + row]!
  }
  return result
}

/**
 * The squared length of L⁻¹ (vector - centre), the Mahalanobis distance squared; Infinity where it is more than
 * `enough`, and for what is no number.
 */
export function squaredDistance (
  factor: Float64Array, vector: Float64Array, centre: Float64Array, enough = Infinity
): number {
  const solved = new Float64Array(vector.length)
  let distance = 0
  for (let row = 0; row < vector.length; row++) {
    const begin = packedLength(row)
    const rest = vector[row]! - centre[row]! - rowTimes(factor, begin, solved, row)
    const value = solved[row] = rest / factor[begin + row]!
    distance += value * value
    if (!(distance <= enough)) return Infinity
  }
  return distance
}

/** Of the first `count` values, in four sums, none of which waits for another: a processor adds them side by side. */
function rowTimes (factor: Float64Array, begin: number, vector: Float64Array, count: number): number {
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let at = 0
  for (; at + 3 < count; at += 4) {
    a += factor[begin + at]! * vector[at]!
    b += factor[begin + at + 1]! * vector[at + 1]!
    c += factor[begin + at + 2]! * vector[at + 2]!
    d += factor[begin + at + 3]! * vector[at + 3]!
  }
  for (; at < count; at++) a += factor[begin + at]! * vector[at]!
  return a + b + (c + d)
}

/** Sum of squares. */
export function squaredLength (vector: Float64Array): number {
  let sum = 0
  for (let at = 0; at < vector.length; at++) sum += vector[at]! * vector[at]!
  return sum
}

export function difference (a: Float64Array, b: Float64Array): Float64Array {
  const result = new Float64Array(a.length)
  for (let at = 0; at < a.length; at++) result[at] = a[at]! - b[at]!
  return result
}
