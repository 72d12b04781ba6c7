/** Product of the dimensions of a tensor: its number of elements; 1 for a scalar. */
export function elementCount (dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1)
}

/** The bytes that a shape asks for, or Infinity when its dimensions, zeros aside, multiply beyond 2^53. */
export function tensorBytes (dims: readonly number[], elementBytes: number): number {
  const product = dims.reduce((size, dim) => size * Math.max(dim, 1), elementBytes)
  if (!Number.isSafeInteger(product)) return Infinity
  return dims.includes(0) ? 0 : product
}
