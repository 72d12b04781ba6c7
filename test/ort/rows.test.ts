import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { concatenateRows, shapeKey, sliceRows, type Tensors } from '#src/ort/rows.js'
import { runSeed } from '../support/run-seed.js'

const floats = (dims: number[], first: number): Tensors[string] => {
  const length = dims.reduce((product, size) => product * size, 1)
  return { type: 'float32', dims, data: Float32Array.from({ length }, (_, at) => first + at) }
}

describe('concatenateRows', () => {
  test('lays the rows of every tensor end to end', () => {
    const joined = concatenateRows([
      { x: floats([1, 2], 0), y: floats([1], 10) }, { x: floats([2, 2], 100), y: floats([2], 20) }
    ])
    assert.deepEqual(joined, {
      x: { type: 'float32', dims: [3, 2], data: Float32Array.of(0, 1, 100, 101, 102, 103) },
      y: { type: 'float32', dims: [3], data: Float32Array.of(10, 20, 21) }
    })
  })

  test('keeps the element type', () => {
    const part = (flag: number, count: bigint): Tensors => ({
      b: { type: 'bool', dims: [1], data: Uint8Array.of(flag) },
      i: { type: 'int64', dims: [1], data: BigInt64Array.of(count) }
    })
    const { b, i } = concatenateRows([part(1, -5n), part(0, 7n)])
    assert.deepEqual(b, { type: 'bool', dims: [2], data: Uint8Array.of(1, 0) })
    assert.deepEqual(i, { type: 'int64', dims: [2], data: BigInt64Array.of(-5n, 7n) })
  })

  test('joins strings', () => {
    const part = (...data: string[]): Tensors => ({ s: { type: 'string', dims: [1, 2], data } })
    const { s } = concatenateRows([part('a', 'b'), part('c', 'd')])
    assert.deepEqual(s, { type: 'string', dims: [2, 2], data: ['a', 'b', 'c', 'd'] })
  })

  test('copies a single part into a buffer of its own, which can be transferred', () => {
    const shared = new Float32Array(new SharedArrayBuffer(16)).fill(3)
    const { x } = concatenateRows([{ x: { type: 'float32', dims: [2, 2], data: shared } }])
    const data = x!.data as Float32Array
    assert.deepEqual([...data], [3, 3, 3, 3])
    assert.ok(data.buffer instanceof ArrayBuffer)
    assert.equal(data.buffer.byteLength, 16)
  })

  test('copies only the viewed part of a larger buffer', () => {
    const large = Float32Array.from({ length: 100 }, (_, at) => at)
    const { x } = concatenateRows([{ x: { type: 'float32', dims: [1, 3], data: large.subarray(50, 53) } }])
    assert.deepEqual(x!.data, Float32Array.of(50, 51, 52))
    assert.equal((x!.data as Float32Array).buffer.byteLength, 12)
  })

  test('leaves a scalar a scalar', () => {
    const { x } = concatenateRows([{ x: { type: 'float32', dims: [], data: Float32Array.of(4) } }])
    assert.deepEqual(x, { type: 'float32', dims: [], data: Float32Array.of(4) })
  })
})

describe('sliceRows', () => {
  test('cuts rows of axis 0, as views', () => {
    const x = floats([3, 2, 2], 0)
    const cut = sliceRows({ x }, 1, 2)
    assert.deepEqual(cut.x, { type: 'float32', dims: [2, 2, 2], data: Float32Array.of(4, 5, 6, 7, 8, 9, 10, 11) })
    assert.equal((cut.x!.data as Float32Array).buffer, (x!.data as Float32Array).buffer)
  })

  test('cuts strings', () => {
    const cut = sliceRows({ s: { type: 'string', dims: [2, 2], data: ['a', 'b', 'c', 'd'] } }, 1, 1)
    assert.deepEqual(cut.s, { type: 'string', dims: [1, 2], data: ['c', 'd'] })
  })

  test('undoes concatenateRows, for any row counts', () => {
    fc.assert(fc.property(
      fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      (counts, inner) => {
        const parts = counts.map((rows, at) => ({ x: floats([rows, ...inner], 1000 * at) }))
        const joined = concatenateRows(parts)
        let first = 0
        for (const [at, rows] of counts.entries()) {
          assert.deepEqual(sliceRows(joined, first, rows), parts[at])
          first += rows
        }
        assert.equal(joined.x!.dims[0], first)
      }
    ), { seed: runSeed })
  })
})

describe('shapeKey', () => {
  const key = (dims: number[], type: 'float32' | 'int32' = 'float32', name = 'x') => {
    return shapeKey({ [name]: { type, dims, data: new Float32Array() } })
  }

  test('is the same for any number of rows', () => {
    assert.equal(key([1, 3, 4]), key([7, 3, 4]))
  })

  test('does not depend on the order of the tensors', () => {
    const [a, b] = [floats([1, 2], 0)!, floats([1, 3], 0)!]
    assert.equal(shapeKey({ a, b }), shapeKey({ b, a }))
  })

  test('differs by size, rank, type and name', () => {
    const keys = [
      key([1, 3, 4]), key([1, 4, 3]), key([1, 34]), key([1, 3, 4, 1]), key([1, 12]), key([1, 3, 4], 'int32'),
      key([1, 3, 4], 'float32', 'y')
    ]
    assert.equal(new Set(keys).size, keys.length)
  })
})
