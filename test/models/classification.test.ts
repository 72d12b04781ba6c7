import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { entropyOf, topPredictions } from '#src/models/classification.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

const LABELS = ['a', 'b', 'c', 'd']

const scores = (logits: number[], activation: 'softmax' | 'sigmoid' | 'none') => {
  const byIndex = topPredictions(logits, LABELS, activation, logits.length).sort((a, b) => a.index - b.index)
  return byIndex.map(({ score }) => score)
}

function assertNear (received: number[], expected: number[], tolerance = 1e-15): void {
  assert.equal(received.length, expected.length)
  for (const [index, value] of expected.entries()) assert.ok(Math.abs(received[index]! - value) <= tolerance, `${received}`)
}

test('the best come first, as many as asked for, with index and label', () => {
  const logits = Float32Array.from([1, 4, 2, 3])
  assert.deepEqual(topPredictions(logits, LABELS, 'none', 2), [
    { index: 1, label: 'b', score: 4 }, { index: 3, label: 'd', score: 3 }
  ])
  assert.equal(topPredictions(logits, LABELS, 'none', 99).length, 4)
  assert.deepEqual(topPredictions(logits, LABELS, 'none', 0), [])
  assert.deepEqual([...logits], [1, 4, 2, 3])
})

test('an index beyond the labels is its own label', () => {
  assert.deepEqual(topPredictions([1, 2], ['a'], 'none', 2).map(({ label }) => label), ['1', 'a'])
})

test('ties go by index', () => {
  assert.deepEqual(topPredictions([5, 7, 5, 7], LABELS, 'none', 4).map(({ index }) => index), [1, 3, 0, 2])
  assert.deepEqual(topPredictions([0, -0, 0, -0], LABELS, 'none', 4).map(({ index }) => index), [0, 1, 2, 3])
  // Far apart, yet both round to the same score.
  assert.deepEqual(topPredictions([100, 200], LABELS, 'sigmoid', 2).map(({ index }) => index), [0, 1])
})

test('softmax', () => {
  const sum = 1 + Math.E + Math.E ** 2
  assertNear(scores([0, 1, 2], 'softmax'), [1 / sum, Math.E / sum, Math.E ** 2 / sum])
  assert.deepEqual(scores([3, 3, 3, 3], 'softmax'), [0.25, 0.25, 0.25, 0.25])
  assert.deepEqual(scores([-7], 'softmax'), [1])
})

test('softmax does not overflow, and underflows to 0', () => {
  assertNear(scores([1000, 1001], 'softmax'), scores([0, 1], 'softmax'))
  assertNear(scores([-1000, -1001], 'softmax'), scores([0, -1], 'softmax'))
  assert.deepEqual(scores([3e38, -3e38, 0], 'softmax'), [1, 0, 0])
  assert.deepEqual(scores([1, -Infinity], 'softmax'), [1, 0])
})

test('scores that are no numbers are an error, not an answer', () => {
  for (const [logits, activation] of [
    [[NaN, 1], 'softmax'], [[Infinity, 1], 'softmax'], [[-Infinity, -Infinity], 'softmax'], [[NaN], 'sigmoid'],
    [[1, -Infinity], 'none']
  ] as const) {
    assert.throws(() => topPredictions(logits, LABELS, activation, 1), hasCode('OUTPUT_NOT_FINITE'), `${logits}`)
  }
})

test('softmax sums to 1 and does not mind what is added to every logit', () => {
  const logit = fc.float({ min: -500, max: 500, noNaN: true })
  const rows = fc.array(logit, { minLength: 1, maxLength: 50 })
  fc.assert(fc.property(rows, fc.integer({ min: -64, max: 64 }), (logits, shift) => {
    const plain = scores(logits, 'softmax')
    assert.ok(Math.abs(plain.reduce((a, b) => a + b, 0) - 1) <= 1e-12)
    // Adding may round a logit, by less than 2^-43 at this size.
    assertNear(scores(logits.map((value) => value + shift), 'softmax'), plain, 1e-12)
  }), { seed: runSeed })
})

test('sigmoid, at both ends too', () => {
  assertNear(scores([0, 1, -1], 'sigmoid'), [0.5, 1 / (1 + Math.exp(-1)), 1 / (1 + Math.E)])
  assert.deepEqual(scores([1000, -1000, 3e38, -3e38], 'sigmoid'), [1, 0, 1, 0])
})

test('none leaves the outputs as they are', () => {
  assert.deepEqual(scores([-3.5, 2, 1e30], 'none'), [-3.5, 2, 1e30])
})

test('the order does not depend on the activation', () => {
  const logits = fc.uniqueArray(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 20 })
  fc.assert(fc.property(logits, (values) => {
    const order = (activation: 'softmax' | 'sigmoid' | 'none') => {
      return topPredictions(values, LABELS, activation, values.length).map(({ index }) => index)
    }
    assert.deepEqual(order('softmax'), order('none'))
    assert.deepEqual(order('sigmoid'), order('none'))
  }), { seed: runSeed })
})

test('entropy is in nats: ln n of n equal classes, 0 of a certain one', () => {
  assert.ok(Math.abs(entropyOf([3, 3, 3, 3], 'softmax')! - Math.log(4)) < 1e-15)
  assert.equal(entropyOf([1e4, 0, -1e4], 'softmax'), 0)
  // Classes of their own: two that may be either, one that is certain.
  assert.ok(Math.abs(entropyOf([0, 0, 1e4], 'sigmoid')! - 2 * Math.log(2)) < 1e-15)
  assert.equal(entropyOf([0.5, 0.5], 'none'), undefined)
})

test('entropy does not depend on the order, and lies between 0 and ln n', () => {
  const logits = fc.array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 20 })
  fc.assert(fc.property(logits, (values) => {
    const entropy = entropyOf(values, 'softmax')!
    assert.ok(entropy >= 0 && entropy <= Math.log(values.length) + 1e-12)
    assert.ok(Math.abs(entropy - entropyOf(values.toReversed(), 'softmax')!) < 1e-12)
  }), { seed: runSeed })
})
