/** Inputs to probe and prove a model with: seeded noise in the shapes that it will be served with. */
import { elementCount } from '../base/dims.js'
import { numberToFloat16 } from '../base/float16.js'
import { compilerErrors } from './errors.js'
import type { PlainTensor, TensorData, ValueDescription } from '../ort/session.js'

/** Input name -> dimensions of one row, the batch axis included as 1. */
export type SampleShapes = Readonly<Record<string, readonly number[]>>

/** A shape under this name is that of a model's only input, whatever its name is. */
export const ONLY_INPUT = ''

/** A generator of standard normal numbers; the same seed gives the same numbers on every machine. */
export function seededNormal (seed: number): () => number {
  const uniform = seededUniform(seed)
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}

/** mulberry32 (Tommy Ettinger, public domain): uniform numbers in [0, 1). */
export function seededUniform (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * The shapes to sample a model with: the given ones, else the model's own where they are fixed. Axis 0 counts rows:
 * where it varies it is 1, and where it is fixed its size is no demand on what is given. Any other size that varies
 * must be given. Throws COMPILE_INPUT_SHAPE_UNKNOWN.
 */
export function resolveSampleShapes (
  inputs: readonly ValueDescription[], given: readonly SampleShapes[]
): SampleShapes[] {
  const known = given.length > 0 ? given : [{}]
  return known.map((shapes) => Object.fromEntries(inputs.map(({ name, dims }) => {
    const given = shapes[name] ?? (inputs.length === 1 ? shapes[ONLY_INPUT] : undefined)
    const shape = given ?? dims.map((size, axis) => size ?? (axis === 0 ? 1 : null))
    const fits = shape.length === dims.length && dims.every((size, axis) => {
      return size === null || shape[axis] === size || axis === 0
    })
    if (!fits || shape.some((size) => size === null)) {
      throw compilerErrors.COMPILE_INPUT_SHAPE_UNKNOWN(
        `the sizes of input "${name}" must be given: it is ${describeDims(dims)}`,
        { input: name, expected: describeDims(dims), received: shape }
      )
    }
    return [name, shape as number[]]
  })))
}

function describeDims (dims: ReadonlyArray<number | null>): string {
  return `[${dims.map((size) => size ?? '?').join(', ')}]`
}

/**
 * Seeded feeds of `rows` rows, or of as many as a model with a fixed batch axis takes: standard normal for floats,
 * small counts for integers, coin flips for booleans. Throws COMPILE_INPUT_SHAPE_UNKNOWN for other types.
 */
export function sampleFeeds (
  inputs: readonly ValueDescription[], shapes: SampleShapes, rows: number, seed: number
): Record<string, PlainTensor> {
  const normal = seededNormal(seed)
  return Object.fromEntries(inputs.map(({ name, type, dims }) => {
    const shape = shapes[name]!.map((size, axis) => axis === 0 ? dims[0] ?? rows : size)
    return [name, { type, dims: shape, data: sampleData(type, elementCount(shape), normal) }]
  }))
}

function sampleData (type: ValueDescription['type'], length: number, normal: () => number): TensorData {
  switch (type) {
    case 'float32': return Float32Array.from({ length }, normal)
    case 'float16': return Uint16Array.from({ length }, () => numberToFloat16(normal()))
    case 'float64': return Float64Array.from({ length }, normal)
    case 'uint8': return Uint8Array.from({ length }, () => Math.abs(normal()) * 60)
    case 'int32': return Int32Array.from({ length }, () => Math.abs(normal()) * 4)
    case 'int64': return BigInt64Array.from({ length }, () => BigInt(Math.floor(Math.abs(normal()) * 4)))
    case 'bool': return Uint8Array.from({ length }, () => normal() > 0 ? 1 : 0)
    default:
      throw compilerErrors.COMPILE_INPUT_SHAPE_UNKNOWN(`inputs of type ${type} are not served`, {
        expected: ['float32', 'float16', 'float64', 'uint8', 'int32', 'int64', 'bool'], received: type
      })
  }
}
