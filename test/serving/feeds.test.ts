import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkFeeds, type Value } from '#src/serving/feeds.js'
import type { PlainTensor } from '#src/ort/session.js'
import { hasCode } from '../support/errors.js'

const image: Value = { name: 'image', type: 'float32', dims: [null, 3, null, null] }
const scale: Value = { name: 'scale', type: 'float32', dims: [null, 1] }
const table: Value = { name: 'table', type: 'int64', dims: [2, 2] }
const flag: Value = { name: 'flag', type: 'bool', dims: [] }

/** Only type and shape are looked at. */
const tensor = (dims: number[], type = 'float32') => ({ type, dims, data: new Float32Array(0) }) as PlainTensor

test('rows are the size of the axis that varies', () => {
  assert.equal(checkFeeds([image], { image: tensor([5, 3, 8, 9]) }), 5)
  assert.equal(checkFeeds([image, scale], { scale: tensor([4, 1]), image: tensor([4, 3, 1, 1]) }), 4)
})

test('without an axis that varies there is one row', () => {
  assert.equal(checkFeeds([table], { table: tensor([2, 2], 'int64') }), 1)
  assert.equal(checkFeeds([flag], { flag: tensor([], 'bool') }), 1)
  assert.equal(checkFeeds([], {}), 1)
  assert.equal(checkFeeds([table, scale], { table: tensor([2, 2], 'int64'), scale: tensor([6, 1]) }), 6)
})

test('an unknown input is refused, naming the known ones', () => {
  const feeds = { image: tensor([1, 3, 8, 8]), picture: tensor([1]) }
  const refused = hasCode('INPUT_UNKNOWN', { expected: ['image'], received: 'picture' })
  assert.throws(() => checkFeeds([image], feeds), refused)
  const long = { [`x${'y'.repeat(500)}`]: tensor([1]) }
  assert.throws(() => checkFeeds([image], long), hasCode('INPUT_UNKNOWN', { received: `x${'y'.repeat(99)}` }))
})

test('a missing input is refused, also one that every object seems to have', () => {
  assert.throws(() => checkFeeds([image, scale], { scale: tensor([1, 1]) }), hasCode('INPUT_MISSING', {
    expected: ['image', 'scale'], received: ['scale']
  }))
  const inherited: Value = { name: 'toString', type: 'float32', dims: [1] }
  assert.throws(() => checkFeeds([inherited], {}), hasCode('INPUT_MISSING', { expected: ['toString'], received: [] }))
  assert.throws(() => checkFeeds([image], JSON.parse('{"__proto__": 1}')), hasCode('INPUT_UNKNOWN', {
    received: '__proto__'
  }))
})

test('another datatype is refused', () => {
  const refused = hasCode('INPUT_DATATYPE_MISMATCH', { input: 'image', expected: 'float32', received: 'float64' })
  assert.throws(() => checkFeeds([image], { image: tensor([1, 3, 8, 8], 'float64') }), refused)
})

for (const [what, dims] of [
  ['too few axes', [3, 8, 8]],
  ['too many axes', [1, 1, 3, 8, 8]],
  ['no axes', []],
  ['another fixed size', [1, 4, 8, 8]],
  ['no rows', [0, 3, 8, 8]],
  ['an empty side', [1, 3, 8, 0]],
  ['a negative size', [-1, 3, 8, 8]]
] as const) {
  test(`${what} is refused`, () => {
    assert.throws(() => checkFeeds([image], { image: tensor([...dims]) }), hasCode('INPUT_SHAPE_MISMATCH', {
      input: 'image', expected: [-1, 3, -1, -1], received: dims
    }))
  })
}

test('inputs with different row counts are refused, telling the first one\'s', () => {
  const feeds = { image: tensor([4, 3, 8, 8]), scale: tensor([5, 1]) }
  assert.throws(() => checkFeeds([image, scale], feeds), hasCode('INPUT_SHAPE_MISMATCH', {
    input: 'scale', expected: [4, 1], received: [5, 1]
  }))
  assert.throws(() => checkFeeds([scale, image], feeds), hasCode('INPUT_SHAPE_MISMATCH', {
    input: 'image', expected: [5, 3, -1, -1], received: [4, 3, 8, 8]
  }))
})

test('an input of fixed size does not tell the rows of the others', () => {
  const feeds = { table: tensor([2, 2], 'int64'), scale: tensor([5, 1]), image: tensor([5, 3, 1, 1]) }
  assert.equal(checkFeeds([scale, table, image], feeds), 5)
})
