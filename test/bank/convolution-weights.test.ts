import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { bytesOf } from '#src/base/bytes.js'
import { compareConvolutions, markOf, type PlainWeights } from '#src/bank/convolution-weights.js'
import { runSeed } from '../support/run-seed.js'

const weightsOf = (name: string, shape: number[], values: Iterable<number>): PlainWeights => {
  return { name, shape, bytes: bytesOf(Float32Array.from(values)) }
}
const SHAPE = [4, 3, 2, 2]
const VALUES = Array.from({ length: 48 }, (_, at) => Math.sin(at))
const known = [markOf(weightsOf('', SHAPE, VALUES))]

describe('the convolutions of a file', () => {
  test('are the model\'s, whatever their names', () => {
    assert.deepEqual(compareConvolutions(known, [weightsOf('any', SHAPE, VALUES)]), { compared: 1, foreign: [] })
  })

  test('are foreign when they were trained on, and named', () => {
    const trained = weightsOf('a.conv.weight', SHAPE, VALUES.map((value) => value * 1.001))
    assert.deepEqual(compareConvolutions(known, [trained, weightsOf('b', SHAPE, VALUES)]), { compared: 2, foreign: ['a.conv.weight'] })
  })

  test('of another shape than all of the model\'s say nothing, nor do vectors and matrices', () => {
    const others = [weightsOf('a', [4, 3, 4], VALUES), weightsOf('b', [48], VALUES), weightsOf('c', [6, 8], VALUES)]
    assert.deepEqual(compareConvolutions([...known, markOf(others[2]!)], others), { compared: 0, foreign: [] })
  })
})

test('a mark of many values sees a change of any 2,000 neighbours', () => {
  const count = 100_000
  const values = Float32Array.from({ length: count }, (_, at) => Math.cos(at))
  const shape = [100, 100, 10]
  const mark = markOf({ shape, bytes: bytesOf(values) })
  fc.assert(fc.property(fc.integer({ min: 0, max: count - 2000 }), (begin) => {
    const other = values.map((value, at) => at >= begin && at < begin + 2000 ? value + 1 : value)
    assert.notEqual(markOf({ shape, bytes: bytesOf(other) }), mark)
  }), { seed: runSeed, numRuns: 20 })
})
