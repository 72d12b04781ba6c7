import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addSet, emptyMoments, mergeMoments, subtractMoments, unbiasedVarianceOf, varianceOf, type Moments } from '#src/calibration/moments.js'
import { runSeed } from '../support/run-seed.js'

const values = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 30 })
const offset = fc.double({ min: -1e6, max: 1e6, noNaN: true })

/** Two passes in float64: the definition. */
function direct (numbers: readonly number[]): { mean: number, variance: number } {
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length
  return { mean, variance: numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / numbers.length }
}

/** One value at a time. */
function momentsOf (numbers: readonly number[]): Moments {
  const moments = emptyMoments(1)
  for (const value of numbers) addSet(moments, 1, [value], [0])
  return moments
}

/** Float64 keeps 16 digits of the largest number involved; the variance is compared on that scale. */
function assertNear (actual: Moments, numbers: readonly number[]): void {
  const { mean, variance } = direct(numbers)
  const scale = Math.max(...numbers.map(Math.abs), 1)
  assert.equal(actual.count, numbers.length)
  assert.ok(Math.abs(actual.mean[0]! - mean) <= 1e-13 * scale)
  assert.ok(Math.abs(varianceOf(actual)[0]! - variance) <= 1e-12 * scale * Math.sqrt(variance) + 1e-24 * scale ** 2 + 1e-12 * variance)
}

describe('moments', () => {
  it('equal the definition, whatever the offset', () => {
    fc.assert(fc.property(values, offset, (numbers, shift) => {
      const shifted = numbers.map((value) => value + shift)
      assertNear(momentsOf(shifted), shifted)
    }), { seed: runSeed })
  })

  it('merge to those of both sets together, in any order', () => {
    fc.assert(fc.property(values, values, offset, (a, b, shift) => {
      const [left, right] = [a, b.map((value) => value + shift)]
      assertNear(mergeMoments(momentsOf(left), momentsOf(right)), [...left, ...right])
      assertNear(mergeMoments(momentsOf(right), momentsOf(left)), [...left, ...right])
    }), { seed: runSeed })
  })

  it('give a set back when the other is taken out again', () => {
    fc.assert(fc.property(values, values, (a, b) => {
      const left = subtractMoments(mergeMoments(momentsOf(a), momentsOf(b)), momentsOf(b))
      const { mean, variance } = direct(a)
      assert.equal(left.count, a.length)
      // What is left of a sum carries the rounding of the whole, magnified by how much larger the whole was.
      assert.ok(Math.abs(left.mean[0]! - mean) <= 1e-10 * b.length * 1e3)
      assert.ok(Math.abs(varianceOf(left)[0]! - variance) <= 1e-10 * b.length * 1e6)
    }), { seed: runSeed })
  })

  it('of nothing leave what they are merged with as it is', () => {
    const some = momentsOf([1, 2, 4])
    assert.deepEqual(mergeMoments(emptyMoments(1), some), some)
    assert.deepEqual(mergeMoments(some, emptyMoments(1)), some)
    assert.deepEqual(mergeMoments(emptyMoments(1), emptyMoments(1)), emptyMoments(1))
    assert.equal(varianceOf(emptyMoments(1))[0], 0)
  })

  it('keep a variance whose mean is a million standard deviations', () => {
    const numbers = Array.from({ length: 1000 }, (_, at) => 1e6 + (at % 2 === 0 ? 1 : -1))
    assert.ok(Math.abs(varianceOf(momentsOf(numbers))[0]! - 1) < 1e-9)
    assert.ok(Math.abs(unbiasedVarianceOf(momentsOf(numbers))[0]! - 1000 / 999) < 1e-9)
  })
})
