/** Tensors as rows of axis 0: joining several requests into one run, and cutting the results apart again. */
import type { PlainTensor, TensorData } from './session.js'

export type Tensors = Readonly<Record<string, PlainTensor>>
type NumericData = Exclude<TensorData, string[]>

/** Lays the rows end to end in fresh buffers, which can be transferred; a single part is copied too. */
export function concatenateRows (parts: readonly Tensors[]): Record<string, PlainTensor> {
  const [first] = parts as [Tensors]
  return Object.fromEntries(Object.entries(first).map(([name, { type, dims }]) => {
    const tensors = parts.map((part) => part[name]!)
    const rows = tensors.reduce((sum, tensor) => sum + (tensor.dims[0] ?? 1), 0)
    const joinedDims = dims.length === 0 ? dims : [rows, ...dims.slice(1)]
    return [name, { type, dims: joinedDims, data: concatenate(tensors.map(({ data }) => data)) }]
  }))
}

function concatenate (parts: readonly TensorData[]): TensorData {
  if (Array.isArray(parts[0])) return parts.flat() as string[]
  const arrays = parts as NumericData[]
  const length = arrays.reduce((sum, array) => sum + array.length, 0)
  const ArrayType = arrays[0]!.constructor as new (length: number) => Float32Array
  const all = new ArrayType(length)
  let at = 0
  for (const array of arrays) {
    all.set(array as Float32Array, at)
    at += array.length
  }
  return all
}

/** Rows `first` to `first + count` of every tensor: views, not copies. */
export function sliceRows (tensors: Tensors, first: number, count: number): Record<string, PlainTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { type, dims, data }]) => {
    const inner = dims.slice(1)
    const perRow = inner.reduce((product, size) => product * size, 1)
    const [begin, end] = [first * perRow, (first + count) * perRow]
    const cut = Array.isArray(data) ? data.slice(begin, end) : (data as Float32Array).subarray(begin, end)
    return [name, { type, dims: [count, ...inner], data: cut }]
  }))
}

/** Copies of the given rows, in the given order. */
export function gatherRows (tensors: Tensors, rows: readonly number[]): Record<string, PlainTensor> {
  return concatenateRows(rows.map((row) => sliceRows(tensors, row, 1)))
}

/** NaN for texts. */
export function byteLength (tensors: Tensors): number {
  return Object.values(tensors).reduce((sum, { data }) => sum + ('byteLength' in data ? data.byteLength : NaN), 0)
}

/** What must agree for two requests to share a run: names, types and all sizes but the row count. */
export function shapeKey (tensors: Tensors): string {
  return Object.keys(tensors).sort().map((name) => {
    const { type, dims } = tensors[name]!
    return `${name}:${type}:${dims.slice(1).join('x')}`
  }).join('|')
}
