import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  cellOf, CONFIDENCE, logAdd, logBinomialBelow, referenceBand
} from '#src/drift/reference-band.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

describe('a band around held-back scores', () => {
  it('bounds the share in each region, all at once, in as many samples as it says', () => {
    const uniform = seededUniform(runSeed)
    for (const count of [64, 512]) {
      const samples = 500
      let held = 0
      for (let sample = 0; sample < samples; sample++) {
        const { thresholds, tails, middles } = referenceBand(Float64Array.from({ length: count }, uniform))
        // Of uniform scores the share between two is how far they lie apart.
        const edges = [1, ...thresholds, 0]
        if ([...tails, ...middles].every(({ first, end, share }) => edges[first]! - edges[end]! <= share)) held++
      }
      const spread = Math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / samples)
      assert.ok(held / samples >= CONFIDENCE - 4 * spread, `${held} of ${samples} samples of ${count}`)
    }
  })

  it('knows the binomial distribution', () => {
    const choose = (n: number, k: number): number => k === 0 ? 1 : choose(n - 1, k - 1) * n / k
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 30 }), fc.double({ min: 0.001, max: 0.999, noNaN: true }),
      (count, rank, share) => {
        let sum = 0
        for (let k = 0; k < Math.min(rank, count + 1); k++) sum += choose(count, k) * share ** k * (1 - share) ** (count - k)
        const below = Math.exp(logBinomialBelow(Math.min(rank, count + 1), count, share))
        assert.ok(Math.abs(below - sum) <= 1e-10 * Math.max(sum, 1e-300) + 1e-14)
      }
    ), { seed: runSeed })
  })

  it('puts every score into one cell, stranger ones into earlier cells', () => {
    fc.assert(fc.property(
      fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 32, maxLength: 200 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }), fc.double({ noNaN: true, noDefaultInfinity: true }),
      (scores, a, b) => {
        const band = referenceBand(scores)
        const [low, high] = a < b ? [a, b] : [b, a]
        assert.ok(cellOf(band, high) <= cellOf(band, low))
        const cell = cellOf(band, low)
        assert.ok(cell === 0 || low <= band.thresholds[cell - 1]!)
        assert.ok(cell === band.thresholds.length || low > band.thresholds[cell]!)
      }
    ), { seed: runSeed })
  })

  it('adds logarithms from nothing to what float64 cannot hold', () => {
    assert.equal(logAdd(-Infinity, -Infinity), -Infinity)
    assert.equal(logAdd(-Infinity, 3), 3)
    assert.equal(logAdd(5000, 1), 5000)
    assert.ok(Math.abs(logAdd(Math.log(2), Math.log(3)) - Math.log(5)) < 1e-15)
  })
})
