import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { bankDifference } from '#src/bank/difference.js'
import { differenceSvg } from '#src/bank/difference-svg.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'
import type { PartialLayer } from '#src/bank/bank.js'

const bank = (layers: Record<string, PartialLayer>) => new Map(Object.entries(layers))
const finite = fc.double({ min: -100, max: 100, noNaN: true })
const channel = fc.record({ mean: finite, variance: fc.double({ min: 0, max: 100, noNaN: true }) })
const layer = fc.array(channel, { minLength: 1, maxLength: 5 }).map((channels): PartialLayer => ({
  mean: channels.map(({ mean }) => mean), variance: channels.map(({ variance }) => variance)
}))

describe('the difference of two banks', () => {
  it('is what the formulas give, by hand', () => {
    const [{ meanShift, deviationRatio, distance, worstChannel, ...rest } = {} as never] = bankDifference(
      bank({ bn: { mean: [0, 1], variance: [1, 4], gamma: [1, 1], beta: [0, 0] } }),
      bank({ bn: { mean: [2, 1], variance: [1, 16], gamma: [1, 3], beta: [0, 0] } })
    )
    // Variances carry an epsilon of 1e-5.
    const near = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1e-4, `${actual} ${expected}`)
    near(meanShift, Math.sqrt((4 / 1 + 0) / 2))
    near(deviationRatio, Math.sqrt(1 * 2))
    near(distance, (4 / 8 + Math.log(20 / (2 * 8)) / 2) / 2)
    assert.equal(worstChannel, 0)
    assert.deepEqual(rest, { layer: 'bn', channels: 2, gammaShift: Math.sqrt(2), betaShift: 0 })
  })

  it('is nothing between equals, the same both ways, and never negative', () => {
    fc.assert(fc.property(layer, layer, (a, b) => {
      const [own] = bankDifference(bank({ bn: a }), bank({ bn: a }))
      assert.ok(own!.meanShift === 0 && own!.deviationRatio === 1 && own!.distance < 1e-9)
      if (a.mean!.length !== b.mean!.length) return
      const [there] = bankDifference(bank({ bn: a }), bank({ bn: b }))
      const [back] = bankDifference(bank({ bn: b }), bank({ bn: a }))
      assert.ok(there!.distance >= 0 && Math.abs(there!.distance - back!.distance) <= 1e-9 * Math.max(1, there!.distance))
      assert.ok(Math.abs(there!.deviationRatio * back!.deviationRatio - 1) < 1e-9)
    }), { seed: runSeed })
  })

  it('is refused where the banks are of different networks, or no banks', () => {
    const one = { mean: [0], variance: [1] }
    const compare = (a: Record<string, PartialLayer>, b: Record<string, PartialLayer>) => () => bankDifference(bank(a), bank(b))
    assert.throws(compare({}, {}), hasCode('BANK_EMPTY'))
    assert.throws(compare({ a: one }, { b: one }), hasCode('BANK_LAYER_UNKNOWN'))
    assert.throws(compare({ a: one, b: one }, { b: one }), hasCode('BANK_LAYER_MISSING'))
    assert.throws(compare({ a: one }, { a: { mean: [0] } }), hasCode('BANK_STATISTIC_MISSING'))
    assert.throws(compare({ a: one }, { a: { mean: [0, 0], variance: [1, 1] } }), hasCode('BANK_LENGTH_MISMATCH'))
    assert.throws(compare({ a: one }, { a: { mean: [0], variance: [-1] } }), hasCode('BANK_VALUE_INVALID'))
    assert.throws(compare({ a: one }, { a: { mean: [NaN], variance: [1] } }), hasCode('BANK_VALUE_INVALID'))
  })

  it('is drawn as SVG with nothing of a name taken for markup', () => {
    const hostile = '<script>"&'
    const layers = bankDifference(bank({ [hostile]: { mean: [0], variance: [1] } }), bank({ [hostile]: { mean: [1], variance: [2] } }))
    const svg = differenceSvg(layers, hostile, 'b')
    assert.ok(!svg.includes('<script'))
    assert.ok(svg.includes('&lt;script&gt;&quot;&amp;'))
    assert.equal(svg.match(/<rect/g)!.length, 1 + 2 + 2)
    assert.ok(!differenceSvg(bankDifference(bank({ a: { mean: [0], variance: [1] } }), bank({ a: { mean: [0], variance: [1] } })), 'a', 'a').includes('NaN'))
  })
})
