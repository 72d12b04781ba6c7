/**
 * A raw binary request (binary tensor extension): the body is the model's single input and nothing else. The shape is
 * the model's, for one row; a size that varies is deduced from the length, or is what the domain's pictures have.
 */
import { httpErrors } from '../errors.js'
import { datatypeName, tensorFromBytes, wireBytes } from './datatypes.js'
import type { Tensors } from '../../ort/rows.js'
import type { ValueDescription } from '../../ort/session.js'

/**
 * `usual` is the shape that pictures of the domain have, batch axis 1. Throws PROTOCOL_INVALID when the model has
 * several inputs or the body does not fit.
 */
export function parseRawRequest (
  body: Uint8Array, inputs: readonly ValueDescription[], usual: readonly number[]
): Tensors {
  const [input] = inputs
  if (input === undefined || inputs.length > 1) {
    throw httpErrors.PROTOCOL_INVALID('a raw request is for models with one input', {
      expected: 1, received: inputs.length
    })
  }
  const datatype = datatypeName(input.type)
  const isBytes = datatype === 'BYTES'
  const dims = isBytes ? [1] : shapeOf(input, datatype, body.length, usual)
  const bytes = isBytes ? withLength(body) : body
  return { [input.name]: tensorFromBytes(input.name, datatype, dims, bytes) }
}

function shapeOf (
  { name, dims }: ValueDescription, datatype: string, bytes: number, usual: readonly number[]
): number[] {
  const oneRow = dims.map((size, axis) => axis === 0 ? size ?? 1 : size)
  const fits = (shape: number[]) => wireBytes(datatype, name, product(shape)) === bytes
  const open = oneRow.filter((size) => size === null).length
  if (open === 1) {
    const fixed = product(oneRow.map((size) => size ?? 1))
    const size = bytes / wireBytes(datatype, name, fixed)!
    const shape = oneRow.map((known) => known ?? size)
    if (Number.isInteger(size) && size > 0) return shape
  } else if (open === 0) {
    if (fits(oneRow as number[])) return oneRow as number[]
  } else if (usual.length === dims.length && fits([...usual])) {
    return [...usual]
  }
  const expected = open === 0 ? product(oneRow as number[]) : product(usual)
  throw httpErrors.PROTOCOL_INVALID('the raw request does not have the size of one row of the model', {
    input: name, expected: `${wireBytes(datatype, name, expected)} bytes`, received: bytes
  })
}

/** The raw body is one element; the tensor's form has its length before it. */
function withLength (body: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(4 + body.length)
  bytes.writeUInt32LE(body.length)
  bytes.set(body, 4)
  return bytes
}

function product (sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1)
}
