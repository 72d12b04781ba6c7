import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { alignedView, bytesOf } from '#src/base/bytes.js'

describe('bytesOf', () => {
  test('gives the very bytes of a view, and only those', () => {
    const values = Float32Array.of(1, 2, 3, 4)
    const bytes = bytesOf(values.subarray(1, 3))
    assert.deepEqual([...bytes], [0, 0, 0, 64, 0, 0, 64, 64])
    bytes[3] = 0xc0
    assert.equal(values[1], -2)
  })
})

describe('alignedView', () => {
  const numbers = Float32Array.of(0.5, -1, 1e10)

  /** The bytes of `numbers` at an offset within a larger buffer. */
  const shifted = (offset: number) => {
    const whole = new Uint8Array(offset + 12 + 5)
    whole.set(bytesOf(numbers), offset)
    return whole.subarray(offset, offset + 12)
  }

  test('shares aligned bytes', () => {
    for (const offset of [0, 4, 8]) {
      const bytes = shifted(offset)
      const view = alignedView(bytes, Float32Array)
      assert.deepEqual(view, numbers)
      assert.equal(view.buffer, bytes.buffer)
    }
  })

  test('copies misaligned bytes', () => {
    for (const offset of [1, 2, 3, 5]) {
      const bytes = shifted(offset)
      const view = alignedView(bytes, Float32Array)
      assert.deepEqual(view, numbers)
      assert.notEqual(view.buffer, bytes.buffer)
    }
  })

  test('copies misaligned Buffers too, whose slice() is a view', () => {
    for (const offset of [1, 2, 3]) {
      const buffer = Buffer.from(shifted(offset).buffer).subarray(offset, offset + 12)
      assert.ok(buffer.byteOffset % 4 !== 0)
      assert.equal(buffer.slice().byteOffset, buffer.byteOffset, 'the trap')
      assert.deepEqual(alignedView(buffer, Float32Array), numbers)
    }
  })

  test('knows the width of every type', () => {
    const bytes = shifted(1)
    assert.deepEqual(alignedView(bytes, Uint8Array), bytes)
    assert.equal(alignedView(bytes, Uint16Array).length, 6)
    assert.equal(alignedView(shifted(4).subarray(0, 8), BigInt64Array)[0], 0xbf8000003f000000n - 2n ** 64n)
    assert.equal(alignedView(shifted(2).subarray(0, 8), Float64Array).length, 1)
  })

  test('leaves out a last element that is not whole', () => {
    assert.deepEqual(alignedView(shifted(0).subarray(0, 11), Float32Array), numbers.subarray(0, 2))
    assert.equal(alignedView(new Uint8Array(), Float32Array).length, 0)
  })
})
