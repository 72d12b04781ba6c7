/** Safetensors files put together by hand, wrong ones too. */

/** Length, header and body as they are given; `declared` stands in for the header's true length. */
export function rawSafetensors (
  header: string | Uint8Array, body: Uint8Array | number = 0, declared?: bigint
): Uint8Array {
  const head = typeof header === 'string' ? Buffer.from(header) : header
  const tail = typeof body === 'number' ? new Uint8Array(body) : body
  const file = new Uint8Array(8 + head.length + tail.length)
  new DataView(file.buffer).setBigUint64(0, declared ?? BigInt(head.length), true)
  file.set(head, 8)
  file.set(tail, 8 + head.length)
  return file
}

export interface RawTensor {
  dtype: string
  shape: readonly number[]
  bytes: Uint8Array
}

/** A valid file with the tensors in the given order, unpadded, so that most of them are not aligned. */
export function safetensorsOf (
  tensors: Readonly<Record<string, RawTensor>>, metadata?: Readonly<Record<string, string>>
): Uint8Array {
  let position = 0
  const header: Array<[string, unknown]> = metadata === undefined ? [] : [['__metadata__', metadata]]
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header.push([name, { dtype, shape, data_offsets: [position, position + bytes.length] }])
    position += bytes.length
  }
  return rawSafetensors(
    JSON.stringify(Object.fromEntries(header)), Buffer.concat(Object.values(tensors).map(({ bytes }) => bytes))
  )
}

/** A float32 vector. */
export function f32 (...values: number[]): RawTensor {
  return { dtype: 'F32', shape: [values.length], bytes: new Uint8Array(Float32Array.from(values).buffer) }
}
