import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareRows } from '#src/serving/answering/compare-rows.js'
import type { Tensors } from '#src/ort/rows.js'

const scores = (...rows: number[][]): Tensors => ({
  scores: { type: 'float32', dims: [rows.length, rows[0]!.length], data: Float32Array.from(rows.flat()) }
})

test('equal answers do not differ', () => {
  const same = scores([1, 2], [0, 0])
  assert.deepEqual(compareRows(same, same, 2, 'scores'), {
    comparedRows: 2, disagreeingRows: 0, notFiniteRows: 0, largestRelativeDifference: 0
  })
})

test('rows with another best class are counted, and the largest difference is told relative to its row', () => {
  const compared = compareRows(scores([1, 2, 4], [8, 0, 0], [0, 1, 0]), scores([1, 3, 4], [7, 0, 0], [1, 0, 0]), 3, 'scores')
  assert.deepEqual(compared, { comparedRows: 3, disagreeingRows: 1, notFiniteRows: 0, largestRelativeDifference: 1 })
  assert.equal(compareRows(scores([1, 2, 4]), scores([1, 3, 4]), 1, 'scores').largestRelativeDifference, 0.25)
})

test('without classes none disagrees', () => {
  assert.equal(compareRows(scores([0, 1]), scores([1, 0]), 1, undefined).disagreeingRows, 0)
})

test('a row that is not finite is counted, and tells no difference', () => {
  const compared = compareRows(scores([1, 2], [1, 2]), scores([NaN, 2], [1, 3]), 2, undefined)
  assert.deepEqual([compared.notFiniteRows, compared.largestRelativeDifference], [1, 0.5])
})
