/** Rows of several requests as one run, and the results back to each. Axis 0 of every tensor is the row. */
import type { PlainTensor, TensorData } from '../ort/session.js'

type Tensors = Readonly<Record<string, PlainTensor>>
type NumericData = Exclude<TensorData, string[]>

/** Lays the feeds end to end in fresh buffers, which can be transferred; one request is copied too. */
export function concatenateRows (requests: readonly Tensors[]): Record<string, PlainTensor> {
  const [first] = requests as [Tensors]
  return Object.fromEntries(Object.entries(first).map(([name, { type, dims }]) => {
    const parts = requests.map((request) => request[name]!)
    const rows = parts.reduce((sum, part) => sum + (part.dims[0] ?? 1), 0)
    const joinedDims = dims.length === 0 ? dims : [rows, ...dims.slice(1)]
    return [name, { type, dims: joinedDims, data: joined(parts.map(({ data }) => data)) }]
  }))
}

function joined (parts: readonly TensorData[]): TensorData {
  if (Array.isArray(parts[0])) return parts.flat() as string[]
  const arrays = parts as NumericData[]
  const length = arrays.reduce((sum, { length }) => sum + length, 0)
  const ArrayType = arrays[0]!.constructor as new (length: number) => Float32Array
  const all = new ArrayType(length)
  let at = 0
  for (const array of arrays) {
    all.set(array as Float32Array, at)
    at += array.length
  }
  return all
}

/** Cuts results into shares of `rows[i]` rows each: views, not copies. */
export function splitRows (results: Tensors, rows: readonly number[]): Array<Record<string, PlainTensor>> {
  let first = 0
  return rows.map((count) => {
    const begin = first
    first += count
    return Object.fromEntries(Object.entries(results).map(([name, { type, dims, data }]) => {
      const inner = dims.slice(1)
      const perRow = inner.reduce((product, size) => product * size, 1)
      return [name, { type, dims: [count, ...inner], data: cut(data, begin * perRow, (begin + count) * perRow) }]
    }))
  })
}

function cut (data: TensorData, begin: number, end: number): TensorData {
  return Array.isArray(data) ? data.slice(begin, end) : (data as Float32Array).subarray(begin, end)
}

/** What must agree for two requests to share a run: names, types and all sizes but the row count. */
export function shapeKey (feeds: Tensors): string {
  return Object.keys(feeds).sort().map((name) => {
    const { type, dims } = feeds[name]!
    return `${name}:${type}:${dims.slice(1).join('x')}`
  }).join('|')
}
