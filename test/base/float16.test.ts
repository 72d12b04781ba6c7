import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bfloat16ToNumber, float16ToNumber, numberToFloat16 } from '#src/base/float16.js'

const PATTERNS = 0x10000

const view = new DataView(new ArrayBuffer(4))

/** A binary16 pattern as a binary32 pattern, by moving bits: another way than the code's powers of two. */
function widenedBits (bits: number): number {
  const sign = (bits & 0x8000) * 0x10000
  let exponent = (bits & 0x7c00) >> 10
  let fraction = bits & 0x3ff
  if (exponent === 31) return sign + 0x7f800000 + fraction * 0x2000
  if (exponent === 0) {
    if (fraction === 0) return sign
    exponent = 1
    while ((fraction & 0x400) === 0) {
      fraction <<= 1
      exponent--
    }
    fraction &= 0x3ff
  }
  return sign + (exponent + 112) * 0x800000 + fraction * 0x2000
}

function float32OfBits (bits: number): number {
  view.setUint32(0, bits)
  return view.getFloat32(0)
}

test('all 65,536 binary16 patterns', () => {
  for (let bits = 0; bits < PATTERNS; bits++) {
    const expected = float32OfBits(widenedBits(bits))
    if (!Object.is(float16ToNumber(bits), expected)) assert.fail(`pattern 0x${bits.toString(16)} is ${expected}`)
  }
})

test('binary16 landmarks (IEEE 754-2008, table 3.5)', () => {
  const landmarks: Array<[number, number]> = [
    [0x0000, 0], [0x8000, -0], [0x0001, 2 ** -24], [0x03ff, 1023 * 2 ** -24], [0x0400, 2 ** -14],
    [0x3555, 0.333251953125], [0x3c00, 1], [0x3c01, 1 + 2 ** -10], [0xc000, -2], [0x7bff, 65504], [0xfbff, -65504],
    [0x7c00, Infinity], [0xfc00, -Infinity], [0x7c01, NaN], [0x7e00, NaN], [0xffff, NaN]
  ]
  for (const [bits, value] of landmarks) assert.equal(float16ToNumber(bits), value, `0x${bits.toString(16)}`)
})

test('all 65,536 bfloat16 patterns are the upper half of a binary32', () => {
  for (let bits = 0; bits < PATTERNS; bits++) {
    view.setUint8(0, bits >> 8)
    view.setUint8(1, bits & 0xff)
    view.setUint16(2, 0)
    const expected = view.getFloat32(0)
    if (!Object.is(bfloat16ToNumber(bits), expected)) assert.fail(`pattern 0x${bits.toString(16)} is ${expected}`)
  }
  assert.equal(bfloat16ToNumber(0x3f80), 1)
  assert.equal(bfloat16ToNumber(0xc049), -3.140625)
  assert.equal(bfloat16ToNumber(0x7f7f), 3.3895313892515355e38)
})

test('narrowing gives back every pattern, and the nearest one to what lies between two, ties to even', () => {
  for (let bits = 0; bits < 2 ** 16; bits++) {
    const value = float16ToNumber(bits)
    if (!Number.isNaN(value)) assert.equal(numberToFloat16(value), bits)
  }
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [below, above] = [float16ToNumber(bits), float16ToNumber(bits + 1)]
    const middle = (below + above) / 2
    assert.equal(numberToFloat16(middle), bits % 2 === 0 ? bits : bits + 1)
    assert.equal(numberToFloat16(middle + (above - below) / 16), bits + 1)
    assert.equal(numberToFloat16(-middle + (above - below) / 16), 0x8000 + bits)
  }
  assert.equal(numberToFloat16(65520), 0x7c00)
  assert.equal(numberToFloat16(-Infinity), 0xfc00)
  assert.ok(Number.isNaN(float16ToNumber(numberToFloat16(NaN))))
})
