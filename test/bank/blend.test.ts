import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { bankDigest, type Bank, type BatchNormLayer, type LayerStatistics } from '#src/bank/bank.js'
import { blendBanks } from '#src/bank/blend.js'
import { foldBank, pairsOf } from '#src/bank/fold.js'
import { runSeed } from '../support/run-seed.js'

const CHANNELS = 3
const LAYERS: readonly BatchNormLayer[] = [
  { key: 'first', channels: CHANNELS, epsilon: Math.fround(1e-5) }, { key: 'second', channels: CHANNELS, epsilon: 1e-3 }
]

/** A result is rounded to float32 once; sums before that are in float64. */
const ROUNDING = 2 ** -23
/** The smallest float32 above 0, of which the smallest numbers are multiples. */
const SMALLEST = 2 ** -149

const number = fc.float({ min: -1e6, max: 1e6, noNaN: true })
const variance = fc.float({ min: 0, max: 1e6, noNaN: true })
const channels = (of: fc.Arbitrary<number>) => {
  return fc.array(of, { minLength: CHANNELS, maxLength: CHANNELS }).map((values) => Float32Array.from(values))
}
const statistics: fc.Arbitrary<LayerStatistics> = fc.record({
  mean: channels(number), variance: channels(variance), gamma: channels(number), beta: channels(number)
})
const bank: fc.Arbitrary<Bank> = fc.tuple(statistics, statistics).map((all) => {
  return new Map(LAYERS.map(({ key }, at) => [key, all[at]!]))
})
/** Some shares of 1, in hundredths, as requests have them. */
const weights = fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 2, maxLength: 8 }).map((all) => {
  const sum = all.reduce((a, b) => a + b, 0)
  return all.map((one) => one / sum)
})
const blends = weights.chain((all) => {
  return fc.tuple(...all.map((weight) => bank.map((of) => ({ weight, bank: of }))))
})
const check = { seed: runSeed, numRuns: 300 }

function assertNear (received: number, expected: number, magnitude: number): void {
  assert.ok(Math.abs(received - expected) <= 4 * ROUNDING * magnitude + SMALLEST, `${received} is not ${expected}`)
}

describe('a blend of banks', () => {
  it('of one part is that bank, bit for bit', () => {
    fc.assert(fc.property(bank, (one) => {
      assert.equal(bankDigest(blendBanks(LAYERS, [{ bank: one, weight: 1 }])), bankDigest(one))
    }), check)
  })

  it('of equal banks is that bank, bit for bit, whatever the shares', () => {
    fc.assert(fc.property(bank, weights, (one, shares) => {
      assert.equal(bankDigest(blendBanks(LAYERS, shares.map((weight) => ({ bank: one, weight })))), bankDigest(one))
    }), check)
  })

  it('keeps a negative zero that all parts have', () => {
    const zeros = Float32Array.of(-0, -0, -0)
    const one: Bank = new Map(LAYERS.map(({ key }) => [key, { mean: zeros, variance: zeros, gamma: zeros, beta: zeros }]))
    const parts = [0.3, 0.7].map((weight) => ({ bank: one, weight }))
    assert.equal(bankDigest(blendBanks(LAYERS, parts)), bankDigest(one))
  })

  it('keeps gamma and beta that all parts share, bit for bit, and with them what a folded bank is made of', () => {
    fc.assert(fc.property(blends, (parts) => {
      const shared = parts[0]!.bank
      const given = parts.map(({ bank, weight }) => ({
        weight,
        bank: new Map([...bank].map(([key, layer]) => [key, { ...layer, gamma: shared.get(key)!.gamma, beta: shared.get(key)!.beta }]))
      }))
      for (const [key, { gamma, beta }] of blendBanks(LAYERS, given)) {
        assert.deepEqual([gamma, beta], [shared.get(key)!.gamma, shared.get(key)!.beta])
      }
    }), check)
  })

  it('in another order is the same but for a rounding', () => {
    fc.assert(fc.property(blends, (parts) => {
      const [one, other] = [blendBanks(LAYERS, parts), blendBanks(LAYERS, parts.toReversed())]
      for (const { key } of LAYERS) {
        for (const statistic of ['mean', 'variance', 'gamma', 'beta'] as const) {
          for (let channel = 0; channel < CHANNELS; channel++) {
            const magnitude = Math.max(...parts.map(({ bank }) => Math.abs(bank.get(key)![statistic][channel]!)))
            const [a, b] = [one.get(key)![statistic][channel]!, other.get(key)![statistic][channel]!]
            assertNear(a, b, Math.max(magnitude, Math.abs(a)))
          }
        }
      }
    }), check)
  })

  it('lies between its parts, and varies at least as much as they do in the mean', () => {
    fc.assert(fc.property(blends, (parts) => {
      const blend = blendBanks(LAYERS, parts)
      for (const { key } of LAYERS) {
        for (let channel = 0; channel < CHANNELS; channel++) {
          for (const statistic of ['mean', 'gamma', 'beta'] as const) {
            const values = parts.map(({ bank }) => bank.get(key)![statistic][channel]!)
            const slack = 4 * ROUNDING * Math.max(...values.map(Math.abs)) + SMALLEST
            const value = blend.get(key)![statistic][channel]!
            assert.ok(value >= Math.min(...values) - slack && value <= Math.max(...values) + slack)
          }
          const within = parts.reduce((sum, { bank, weight }) => sum + weight * bank.get(key)!.variance[channel]!, 0)
          assert.ok(blend.get(key)!.variance[channel]! >= within * (1 - 4 * ROUNDING) - SMALLEST)
        }
      }
    }), check)
  })

  it('has the moments of the pooled sample', () => {
    const sample = fc.array(fc.double({ min: -1000, max: 1000, noNaN: true }), { minLength: 1, maxLength: 40 })
    const layers = [{ key: 'bn', channels: 1, epsilon: 0 }]
    fc.assert(fc.property(fc.array(sample, { minLength: 1, maxLength: 6 }), (samples) => {
      const pooled = samples.flat()
      const parts = samples.map((values) => ({ weight: values.length / pooled.length, bank: bankOf(moments(values)) }))
      const { mean, variance } = moments(pooled)
      const blend = blendBanks(layers, parts).get('bn')!
      assertNear(blend.mean[0]!, mean, 1000)
      assertNear(blend.variance[0]!, variance, 1000 ** 2)
    }), check)
  })

  it('does not lose its digits where means are far from zero and near to each other', () => {
    const parts = [1e6, 1e6 + 0.5].map((mean) => ({ weight: 0.5, bank: bankOf({ mean, variance: 0.25 }) }))
    const { mean, variance } = blendBanks([{ key: 'bn', channels: 1, epsilon: 0 }], parts).get('bn')!
    assert.deepEqual([mean[0], variance[0]], [1e6 + 0.25, 0.25 + 0.0625])
  })

  it('answers less steeply than the mean of the answers of its parts, unless they agree', () => {
    fc.assert(fc.property(blends, (parts) => {
      const ones = new Float32Array(CHANNELS).fill(1)
      const given = parts.map(({ bank, weight }) => ({
        weight, bank: new Map([...bank].map(([key, layer]) => [key, { ...layer, gamma: ones }]))
      }))
      const scaleOf = (of: Bank) => pairsOf(LAYERS, foldBank(LAYERS, of))
      const blend = scaleOf(blendBanks(LAYERS, given))
      for (const { key } of LAYERS) {
        for (let channel = 0; channel < CHANNELS; channel++) {
          const mean = given.reduce((sum, { bank, weight }) => sum + weight * scaleOf(bank).get(key)!.scale[channel]!, 0)
          assert.ok(blend.get(key)!.scale[channel]! <= mean * (1 + 4 * ROUNDING))
        }
      }
    }), check)
  })
})

function moments (values: readonly number[]): { mean: number, variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length }
}

function bankOf ({ mean, variance }: { mean: number, variance: number }): Bank {
  const one = Float32Array.of(1)
  return new Map([['bn', { mean: Float32Array.of(mean), variance: Float32Array.of(variance), gamma: one, beta: one }]])
}
