import assert from 'node:assert/strict'
import { test } from 'node:test'
import { elementCount, tensorBytes } from '#src/base/dims.js'

test('the elements of a tensor: a scalar has one, a size of 0 leaves none', () => {
  assert.deepEqual([[], [5], [2, 3, 4], [2, 0], [0]].map(elementCount), [1, 5, 24, 0, 0])
})

test('a count beyond 2^53 is no safe integer, which callers ask for', () => {
  assert.equal(Number.isSafeInteger(elementCount([2 ** 27, 2 ** 27])), false)
  assert.equal(Number.isSafeInteger(elementCount([2 ** 26, 2 ** 26])), true)
})

test('the bytes of a tensor: as many as its elements take, or Infinity when its sizes overflow, even beside a 0', () => {
  assert.deepEqual([[], [5], [2, 3, 4], [2, 0]].map((dims) => tensorBytes(dims, 4)), [4, 20, 96, 0])
  for (const dims of [[2 ** 40, 2 ** 40], [2 ** 40, 0, 2 ** 40], [2 ** 51]]) assert.equal(tensorBytes(dims, 8), Infinity)
  assert.equal(tensorBytes([2 ** 49], 8), 2 ** 52)
})
