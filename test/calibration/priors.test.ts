import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addSet, emptyMoments, varianceOf } from '#src/calibration/moments.js'
import { shrink } from '#src/calibration/priors.js'
import { calibrateNet, ownBankOf, readCalibrationGolden, worstDifference } from '../support/calibration.js'
import { runSeed } from '../support/run-seed.js'

const base = {
  mean: Float32Array.of(1, -2), variance: Float32Array.of(4, 0.5), gamma: Float32Array.of(1, 1), beta: Float32Array.of(0, 0)
}
const target = { mean: Float64Array.of(3, 5), variance: Float64Array.of(2, 1) }

describe('a prior', () => {
  it('schneider: N / (N + n) of the base, variances too', () => {
    const { mean, variance } = shrink(target, base, { kind: 'schneider', images: 16 }, 48)
    assert.deepEqual([...mean], [0.25 * 1 + 0.75 * 3, 0.25 * -2 + 0.75 * 5])
    assert.deepEqual([...variance], [0.25 * 4 + 0.75 * 2, 0.25 * 0.5 + 0.75 * 1])
  })

  it('mixture: the moments of base and target together, as merging them gives', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 1000 }), (prior, images) => {
      const { mean, variance } = shrink(target, base, { kind: 'mixture', images: prior }, images)
      const merged = emptyMoments(2)
      addSet(merged, prior, base.mean, base.variance)
      addSet(merged, images, target.mean, target.variance)
      for (const channel of [0, 1]) {
        assert.ok(Math.abs(mean[channel]! - merged.mean[channel]!) < 1e-12)
        assert.ok(Math.abs(variance[channel]! - varianceOf(merged)[channel]!) < 1e-12)
      }
    }), { seed: runSeed })
  })

  it('of nothing changes nothing', () => {
    assert.equal(shrink(target, base, undefined, 10), target)
    assert.equal(shrink(target, base, { kind: 'mixture', images: 0 }, 10), target)
  })

  it('moves a calibration from its own result to the base bank', async () => {
    const net = await readCalibrationGolden('residual')
    const own = ownBankOf(net.model)
    const distances: number[] = []
    for (const priorImages of [0, 23, 1e9]) {
      const { bank } = await calibrateNet(net, { priorImages })
      distances.push(worstDifference(bank, own))
    }
    assert.ok(distances[0]! > distances[1]! && distances[1]! > 1e-3, distances.join())
    assert.ok(distances[2]! < 1e-6, distances.join())
  })
})
