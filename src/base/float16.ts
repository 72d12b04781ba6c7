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
