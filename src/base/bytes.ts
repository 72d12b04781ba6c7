/** Typed arrays and the bytes under them. */

/** The bytes of a typed array, not copied. */
export function bytesOf (values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

export interface TypedArrayOf<T> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T
  readonly BYTES_PER_ELEMENT: number
}

/**
 * A view of the bytes as `ArrayType`; bytes that do not start at a multiple of the element size are copied first
 * (not with `slice`, which on a Buffer copies nothing).
 */
export function alignedView<T> (bytes: Uint8Array, ArrayType: TypedArrayOf<T>): T {
  const { BYTES_PER_ELEMENT: width } = ArrayType
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes)
  return new ArrayType(aligned.buffer, aligned.byteOffset, Math.floor(bytes.length / width))
}
