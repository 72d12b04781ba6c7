/** Protobuf messages put together by hand, from the encoding's own description and nothing of ours. */

function varint (value: number | bigint): number[] {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  bytes.push(Number(rest))
  return bytes
}

/** A field: a number as varint, text and bytes (a message, packed numbers) with their length. */
export function field (number: number, value: number | bigint | string | Uint8Array): Uint8Array {
  if (typeof value === 'number' || typeof value === 'bigint') {
    return Uint8Array.of(...varint(number << 3), ...varint(value))
  }
  const bytes = Buffer.from(value)
  return Buffer.concat([Uint8Array.of(...varint((number << 3) | 2), ...varint(bytes.length)), bytes])
}

export function message (...fields: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(fields))
}
