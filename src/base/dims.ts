/** Product of the dimensions of a tensor: its number of elements; 1 for a scalar. */
export function elementCount (dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1)
}
