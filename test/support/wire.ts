/** Requests of the Open Inference Protocol as bytes, and answers back. */

export interface WireTensor {
  shape: readonly number[]
  values: Float32Array
  /** Of the input; `input` if not given. */
  name?: string
}

const HEADER_LENGTH = 'inference-header-content-length'

/** A binary request as the protocol's clients send it: no Content-Type. */
export function binaryRequest (
  { shape, values, name = 'input' }: WireTensor, extra: Record<string, unknown> = {}
): { payload: Buffer, headers: Record<string, string> } {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  const header = Buffer.from(JSON.stringify({
    inputs: [{ name, shape, datatype: 'FP32', parameters: { binary_data_size: bytes.length } }],
    parameters: { binary_data_output: true },
    ...extra
  }))
  return { payload: Buffer.concat([header, bytes]), headers: { [HEADER_LENGTH]: String(header.length) } }
}

/** BYTES as the binary tensor extension has them. */
export function bytesOfTexts (texts: readonly string[]): Buffer {
  return Buffer.concat(texts.flatMap((text) => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(Buffer.byteLength(text))
    return [length, Buffer.from(text)]
  }))
}

export interface WireAnswer {
  json: Record<string, any>
  /** The bytes behind the JSON. */
  binary: Buffer
}

export function parseAnswer (response: { headers: Record<string, unknown>, rawPayload: Buffer }): WireAnswer {
  const { headers, rawPayload } = response
  const length = Number(headers[HEADER_LENGTH] ?? rawPayload.length)
  return {
    json: JSON.parse(rawPayload.subarray(0, length).toString()) as Record<string, any>,
    binary: rawPayload.subarray(length)
  }
}

/** Float32 values of the first binary output. */
export function firstOutput (answer: WireAnswer): Float32Array {
  const size = Number(answer.json.outputs[0].parameters.binary_data_size)
  return new Float32Array(new Uint8Array(answer.binary.subarray(0, size)).buffer)
}
