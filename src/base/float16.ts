/** IEEE 754 binary16 and bfloat16, as the 16-bit patterns that ONNX, safetensors and the wire protocol carry. */

const scratch = new DataView(new ArrayBuffer(4))

/** The value of a binary16 pattern (subnormals, infinities and NaN included). */
export function float16ToNumber (bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** The value of a bfloat16 pattern: the upper half of a binary32. */
export function bfloat16ToNumber (bits: number): number {
  scratch.setUint32(0, bits << 16)
  return scratch.getFloat32(0)
}

/** The binary16 pattern nearest to a number, ties to even (IEEE 754, 4.3.1); beyond 65504 infinity. */
export function numberToFloat16 (value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (Number.isNaN(value)) return 0x7e00
  if (size >= 65520) return sign | 0x7c00
  // Below 2^-14 numbers are subnormal: they share the exponent of the smallest normal ones.
  const exponent = Math.max(size === 0 ? -14 : Math.floor(Math.log2(size)), -14)
  const scaled = size * 2 ** (10 - exponent)
  const below = Math.floor(scaled)
  const isUp = scaled - below > 0.5 || (scaled - below === 0.5 && below % 2 === 1)
  const fraction = below + (isUp ? 1 : 0)
  // A fraction that rounds up to 2048 carries into the exponent by itself.
  return sign | ((exponent + 14) * 1024 + fraction)
}
