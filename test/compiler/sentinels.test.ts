import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { makeSentinel, matchSentinel, PADDED, type SentinelRange } from '#src/compiler/sentinels.js'
import { runSeed } from '../support/run-seed.js'

/** Ranges of these lengths, end to end, as lowering hands them out. */
function rangesOf (lengths: readonly number[]): SentinelRange[] {
  let first = 0
  return lengths.map((length) => {
    const range = { first, length }
    first += length
    return range
  })
}

const patternsOf = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length)

interface Placed {
  ranges: SentinelRange[]
  range: SentinelRange
  values: Float32Array
  source: number[]
}

/** Some port of some model, its elements in any order with any zeros between them. */
const anyPlaced: fc.Arbitrary<Placed> = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })
  .chain((lengths) => fc.tuple(fc.constant(rangesOf(lengths)), fc.nat(lengths.length - 1), fc.nat(30)))
  .chain(([ranges, port, padding]) => {
    const range = ranges[port]!
    const order = Array.from({ length: range.length + padding }, (_, at) => at < range.length ? at : PADDED)
    return fc.tuple(
      fc.constant(ranges), fc.constant(range), fc.shuffledSubarray(order, { minLength: order.length })
    )
  })
  .map(([ranges, range, source]) => {
    const sentinel = makeSentinel(range)
    const values = Float32Array.from(source, (element) => element === PADDED ? 0 : sentinel[element]!)
    return { ranges, range, values, source }
  })

const check = <Values>(property: fc.IRawProperty<Values>) => fc.assert(property, { seed: runSeed, numRuns: 300 })

describe('makeSentinel', () => {
  test('gives every element of all ports a number of its own, normal and positive', () => {
    const values = rangesOf([5, 1, 100, 1]).flatMap((range) => [...makeSentinel(range)])
    assert.equal(new Set(values).size, 107)
    assert.ok(values.every((value) => value >= 2 ** -126 && Number.isFinite(value)))
  })

  test('stays finite for as many elements as a model file can hold', () => {
    const [last] = makeSentinel({ first: 2 ** 29, length: 1 })
    assert.ok(Number.isFinite(last))
  })

  test('begins with no number that people write', () => {
    const [first] = makeSentinel({ first: 0, length: 1 })
    assert.ok(String(first).length > 8, String(first))
  })
})

describe('matchSentinel', () => {
  test('recovers any order with any padding', () => {
    check(fc.property(anyPlaced, ({ ranges, range, values, source }) => {
      const match = matchSentinel(values, ranges)
      assert.deepEqual(match?.range, range)
      assert.deepEqual([...match.source], source)
    }))
  })

  test('reads a view into a larger buffer', () => {
    const ranges = rangesOf([3])
    const large = new Float32Array(10).fill(7)
    large.set(makeSentinel(ranges[0]!), 4)
    assert.deepEqual([...matchSentinel(large.subarray(4, 7), ranges)!.source], [0, 1, 2])
  })

  test('knows neighbouring ranges apart', () => {
    const ranges = rangesOf([2, 1, 3])
    for (const range of ranges) assert.equal(matchSentinel(makeSentinel(range), ranges)!.range, range)
    const across = Float32Array.from([...makeSentinel(ranges[0]!), ...makeSentinel(ranges[1]!)])
    assert.equal(matchSentinel(across, ranges), undefined)
  })

  test('refuses a port with one element altered, to whatever pattern', () => {
    const [firstPattern] = patternsOf(makeSentinel({ first: 0, length: 1 }))
    const anyPattern = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer({ min: -50, max: 400 }).map((by) => firstPattern! + by)
    )
    check(fc.property(anyPlaced, fc.nat(), anyPattern, ({ ranges, values, source }, which, pattern) => {
      const elements = source.flatMap((element, at) => element === PADDED ? [] : [at])
      const at = elements[which % elements.length]!
      fc.pre(patternsOf(values)[at] !== pattern)
      patternsOf(values)[at] = pattern
      // A port of one element that takes on another one's number has become that port: nothing tells.
      fc.pre(elements.length > 1 || matchSentinel(values, ranges)?.range.length !== 1)
      assert.equal(matchSentinel(values, ranges), undefined)
    }))
  })

  test('refuses a missing element', () => {
    check(fc.property(anyPlaced, fc.nat(), ({ ranges, values, source }, which) => {
      const elements = source.flatMap((element, at) => element === PADDED ? [] : [at])
      values[elements[which % elements.length]!] = 0
      assert.equal(matchSentinel(values, ranges), undefined)
    }))
  })

  test('refuses a doubled element', () => {
    check(fc.property(anyPlaced, fc.nat(), ({ ranges, values, source }, which) => {
      const elements = source.flatMap((element, at) => element === PADDED ? [] : [at])
      const doubled = values[elements[which % elements.length]!]!
      assert.equal(matchSentinel(Float32Array.from([...values, doubled]), ranges), undefined)
    }))
  })

  test('refuses what was computed with', () => {
    check(fc.property(anyPlaced, fc.constantFrom(0.1, 0.5, 1.5, 2, -1), ({ ranges, values }, factor) => {
      assert.equal(matchSentinel(values.map((value) => value * factor), ranges), undefined)
      assert.equal(matchSentinel(values.map((value) => value + factor), ranges), undefined)
    }))
  })

  test('refuses negative zeros as padding', () => {
    const ranges = rangesOf([2])
    assert.equal(matchSentinel(Float32Array.from([...makeSentinel(ranges[0]!), -0]), ranges), undefined)
  })

  test('finds nothing in ordinary weights, zeros, or nothing', () => {
    const ranges = rangesOf([4, 4])
    for (const values of [[0.5, 0.25, -1, 2], [0, 0, 0, 0], [], [1, 0, 0, 0], [NaN, Infinity, -Infinity, 1]]) {
      assert.equal(matchSentinel(Float32Array.from(values), ranges), undefined)
    }
    assert.equal(matchSentinel(makeSentinel({ first: 0, length: 4 }), []), undefined)
  })
})
