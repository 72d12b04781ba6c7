import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { betsAgainst } from '#src/drift/bets.js'
import { referenceBand, type ReferenceBand } from '#src/drift/reference-band.js'
import { runSeed } from '../support/run-seed.js'

const bands = fc.uniqueArray(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 32, maxLength: 300 }).map(referenceBand)

/** A share of scores for each cell: what the weights ask for, moved towards even ones until all bounds hold. */
function allowedShares ({ thresholds, tails, middles }: ReferenceBand, weights: readonly number[]): number[] {
  const cells = thresholds.length + 1
  const wished = Array.from({ length: cells }, (_, cell) => weights[cell % weights.length]!)
  const plain = Array.from({ length: cells }, (_, cell) => cell === 0 ? 0 : 1 / cells)
  const total = wished.reduce((sum, weight) => sum + weight, 0)
  const regions = [...tails, ...middles]
  const holds = (shares: readonly number[]) => regions.every(({ first, end, share }) => {
    return shares.slice(first, end).reduce((sum, one) => sum + one, 0) <= share
  })
  for (let part = 1; part > 1e-3; part *= 0.8) {
    const mixed = wished.map((weight, cell) => part * weight / total + (1 - part) * plain[cell]!)
    if (holds(mixed)) return mixed
  }
  return wished.map((_, cell) => cell === cells - 1 ? tails[0]!.share * 0.5 : 0)
}

describe('bets on pictures', () => {
  it('pay at most 1 on average wherever scores keep within the bounds', () => {
    fc.assert(fc.property(bands, fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }), (band, weights) => {
      const { count, logPays } = betsAgainst(band)
      const shares = allowedShares(band, weights)
      for (let bet = 0; bet < count; bet++) {
        const mean = shares.reduce((sum, share, cell) => sum + share * Math.exp(logPays[cell * count + bet]!), 0)
        assert.ok(mean <= 1 + 1e-12, `bet ${bet} pays ${mean}`)
      }
    }), { seed: runSeed })
  })

  it('pay 1 on average, if on strange scores, where the bounds are exact', () => {
    fc.assert(fc.property(bands, (band) => {
      const { count, logPays } = betsAgainst(band)
      const cellOfTail = [...band.tails.map(({ end }) => end - 1), band.thresholds.length]
      const edges = [0, ...band.tails.map(({ share }) => share), 1]
      for (let bet = 0; bet < 16; bet++) {
        const mean = cellOfTail.reduce((sum, cell, at) => {
          return sum + (edges[at + 1]! - edges[at]!) * Math.exp(logPays[cell * count + bet]!)
        }, 0)
        assert.ok(Math.abs(mean - 1) < 1e-12, `bet ${bet} pays ${mean}`)
      }
    }), { seed: runSeed })
  })

  it('have weights that sum to 1, by which they pay together', () => {
    fc.assert(fc.property(bands, (band) => {
      const { count, logPays, logMean, logWeights } = betsAgainst(band)
      const weights = [...logWeights].map(Math.exp)
      assert.ok(Math.abs(weights.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-12)
      for (const [cell, mean] of logMean.entries()) {
        const sum = weights.reduce((all, weight, bet) => all + weight * Math.exp(logPays[cell * count + bet]!), 0)
        assert.ok(Math.abs(Math.exp(mean) / sum - 1) < 1e-12)
      }
    }), { seed: runSeed })
  })
})
