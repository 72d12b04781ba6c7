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
    let sum = vector[row]!
    for (let at = 0; at < row; at++) sum -= factor[begin + at]! * result[at]!
    result[row] = sum / factor[begin + row]!
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
    let sum = vector[row]! - centre[row]!
    for (let at = 0; at < row; at++) sum -= factor[begin + at]! * solved[at]!
    const value = solved[row] = sum / factor[begin + row]!
    distance += value * value
    if (!(distance <= enough)) return Infinity
  }
  return distance
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
