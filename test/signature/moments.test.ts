import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { eachWithout, mergeMoments, momentsOf } from '#src/signature/moments.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const SIZE = 3

/** A row as far out as `spread` comes first: all others are what would be left of it. */
function rowsOf (count: number, seed: number, spread: number): Float64Array[] {
  const normal = seededNormal(seed)
  return Array.from({ length: count }, (_, at) => Float64Array.from({ length: SIZE }, () => normal() * (at === 0 ? spread : 1)))
}

const near = (actual: Float64Array, expected: Float64Array) => {
  for (const [at, value] of actual.entries()) {
    assert.ok(Math.abs(value - expected[at]!) <= 1e-12 * Math.max(1, ...expected.map(Math.abs)), `${value} for ${expected[at]}`)
  }
}

describe(`moments of rows, seed ${runSeed}`, () => {
  it('are those of both sets together when merged', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(29), fc.integer(), (count, cut, seed) => {
      const rows = rowsOf(count, seed, 100)
      const merged = mergeMoments(momentsOf(rows.slice(0, cut), SIZE), momentsOf(rows.slice(cut), SIZE))
      const whole = momentsOf(rows, SIZE)
      assert.equal(merged.count, count)
      near(merged.mean, whole.mean)
      near(merged.products, whole.products)
    }), { seed: runSeed })
  })

  it('without a fold are those of all other rows, also where the fold holds by far the largest', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 20 }), fc.integer(), (lengths, seed) => {
      const rows = rowsOf(lengths.reduce((sum, length) => sum + length), seed, 1e9)
      let end = 0
      const folds = lengths.map((length) => {
        end += length
        return rows.slice(end - length, end)
      })
      const visited: Float64Array[][] = []
      for (const [fold, others] of eachWithout(folds, SIZE)) {
        visited.push(fold)
        const expected = momentsOf(folds.filter((one) => one !== fold).flat(), SIZE)
        assert.equal(others.count, expected.count)
        near(others.mean, expected.mean)
        near(others.products, expected.products)
      }
      assert.deepEqual(visited, folds)
    }), { seed: runSeed })
  })
})
