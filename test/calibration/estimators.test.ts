/** What the moments of images become, by mode, against the definitions in two passes. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LayerObserver, runningFrom, type BatchObservation } from '#src/calibration/estimators.js'
import type { Estimate } from '#src/calibration/priors.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

/** Values of one channel: images of positions. */
type Images = readonly (readonly number[])[]

const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const spread = (values: readonly number[], around: number) => values.reduce((sum, value) => sum + (value - around) ** 2, 0)
const population = (values: readonly number[]) => spread(values, average(values)) / values.length
const unbiased = (values: readonly number[]) => spread(values, average(values)) / (values.length - 1)

/** What a batch of images gives for channels that hold the same, shifted by the channel's number. */
function observation (images: Images, channels: number): BatchObservation {
  const perImage = (value: (image: readonly number[], channel: number) => number) => {
    return Float64Array.from(images.flatMap((image) => Array.from({ length: channels }, (_, channel) => value(image, channel))))
  }
  return {
    images: images.length,
    positions: images[0]!.length,
    mean: perImage((image, channel) => average(image) + channel),
    variance: perImage((image) => population(image))
  }
}

function observe (observer: LayerObserver, batches: readonly Images[], channels = 2): LayerObserver {
  for (const batch of batches) observer.add(observation(batch, channels))
  return observer
}

function near ({ mean, variance }: Estimate, expected: { mean: number, variance: number }): void {
  for (const channel of mean.keys()) {
    assert.ok(Math.abs(mean[channel]! - channel - expected.mean) <= 1e-9, `${mean[channel]} is not ${expected.mean + channel}`)
    assert.ok(Math.abs(variance[channel]! - expected.variance) <= 1e-9 * Math.max(1, expected.variance), `${variance[channel]} is not ${expected.variance}`)
  }
}

const value = fc.double({ min: -100, max: 100, noNaN: true })
const image = fc.array(value, { minLength: 3, maxLength: 3 })
const batch = fc.array(image, { minLength: 1, maxLength: 4 })
const batches = fc.array(batch, { minLength: 1, maxLength: 5 })

describe('pooled', () => {
  it('every value counts once, however the images were batched', () => {
    fc.assert(fc.property(batches, (given) => {
      const values = given.flat(2)
      const expected = { mean: average(values), variance: population(values) }
      near(observe(new LayerObserver('bn', 2), given).estimate, expected)
      near(observe(new LayerObserver('bn', 2), given.flat().map((one) => [one])).estimate, expected)
      near(observe(new LayerObserver('bn', 2), [given.flat()]).estimate, expected)
    }), { seed: runSeed })
  })

  it('images of other sizes count by their positions', () => {
    const observer = new LayerObserver('bn', 2)
    const [small, large] = [[[1, 2]], [[3, 4, 5, 6, 7, 8]]]
    observe(observer, [small, large])
    const values = [...small.flat(), ...large.flat()]
    near(observer.estimate, { mean: average(values), variance: population(values) })
    assert.equal(observer.moments.count, 8)
  })

  it('a layer of several sites is the pool of them all', () => {
    const observer = observe(new LayerObserver('bn', 2), [[[1, 2, 3]], [[10, 20, 30]]])
    near(observer.estimate, { mean: 11, variance: population([1, 2, 3, 10, 20, 30]) })
    assert.equal(observer.spread.images, 2, 'the error counts every view as a draw')
  })

  it('nothing was seen: mean and variance 0', () => {
    assert.deepEqual(new LayerObserver('bn', 2).estimate, { mean: new Float64Array(2), variance: new Float64Array(2) })
  })
})

describe('torch: every batch counts once, with its unbiased variance', () => {
  it('whatever its size', () => {
    fc.assert(fc.property(batches, (given) => {
      const observer = observe(new LayerObserver('bn', 2, runningFrom(2, undefined, 0)), given)
      near(observer.estimate, {
        mean: average(given.map((one) => average(one.flat()))),
        variance: average(given.map((one) => unbiased(one.flat())))
      })
      assert.equal(observer.running!.batches, given.length)
    }), { seed: runSeed })
  })

  it('the first batch leaves nothing of the fresh buffers', () => {
    const observer = observe(new LayerObserver('bn', 2, runningFrom(2, undefined, 0)), [[[4, 4, 4]]])
    near(observer.estimate, { mean: 4, variance: 0 })
  })
})

describe('ema', () => {
  const start = {
    mean: Float32Array.of(1, 2), variance: Float32Array.of(2, 2), gamma: Float32Array.of(1, 1), beta: Float32Array.of(0, 0)
  }

  it('s <- (1 - m) s + m new, from the base bank on', () => {
    fc.assert(fc.property(batches, fc.double({ min: 0.01, max: 1, noNaN: true }), (given, momentum) => {
      const observer = observe(new LayerObserver('bn', 2, runningFrom(2, start, 5), momentum), given)
      let [mean, variance] = [1, 2]
      for (const one of given) {
        mean = (1 - momentum) * mean + momentum * average(one.flat())
        variance = (1 - momentum) * variance + momentum * unbiased(one.flat())
      }
      near(observer.estimate, { mean, variance })
    }), { seed: runSeed })
  })

  it('fresh, it begins at mean 0 and variance 1', () => {
    const { estimate } = runningFrom(3, undefined, 0)
    assert.deepEqual(estimate, { mean: Float64Array.of(0, 0, 0), variance: Float64Array.of(1, 1, 1) })
    const observer = observe(new LayerObserver('bn', 1, runningFrom(1, undefined, 0), 0.25), [[[2, 4, 6]]], 1)
    near(observer.estimate, { mean: 1, variance: 0.75 + 0.25 * 4 })
  })

  it('momentum null is the cumulative average, over the batches before too', () => {
    const running = runningFrom(1, { ...start, mean: Float32Array.of(1), variance: Float32Array.of(2) }, 3)
    const observer = observe(new LayerObserver('bn', 1, running, null), [[[5, 7, 9]]], 1)
    near(observer.estimate, { mean: (3 * 1 + 7) / 4, variance: (3 * 2 + 4) / 4 })
    assert.equal(running.batches, 4)
  })

  it('leaves the bank it began at as it was, and the pooled sums untouched by momentum', () => {
    const observer = observe(new LayerObserver('bn', 2, runningFrom(2, start, 0), 0.1), [[[1, 2, 3]], [[4, 5, 6]]])
    assert.deepEqual([...start.mean, ...start.variance], [1, 2, 2, 2])
    assert.equal(observer.moments.count, 6)
    assert.ok(Math.abs(observer.moments.mean[0]! - 3.5) < 1e-12)
  })
})

describe('an observation is refused', () => {
  for (const [what, change] of [
    ['a mean that is no number', (one: BatchObservation) => { one.mean[3] = NaN }],
    ['an infinite mean', (one: BatchObservation) => { one.mean[0] = -Infinity }],
    ['an infinite variance', (one: BatchObservation) => { one.variance[2] = Infinity }],
    ['a variance that is no number', (one: BatchObservation) => { one.variance[5] = NaN }]
  ] as const) {
    it(`for ${what}, by the layer's name`, () => {
      const one = observation([[1, 2], [3, 4], [5, 6]], 2)
      change(one)
      assert.throws(() => new LayerObserver('layer4.bn2', 2).add(one), hasCode('CALIBRATION_NOT_FINITE', { layer: 'layer4.bn2' }))
    })
  }

  it('for one value per channel, where a variance is to be unbiased', () => {
    const single = observation([[7]], 2)
    for (const running of [runningFrom(2, undefined, 0), runningFrom(2, undefined, 9)]) {
      assert.throws(() => new LayerObserver('fc.bn', 2, running).add(single), hasCode('CALIBRATION_BATCH_TOO_SMALL', {
        layer: 'fc.bn', received: 1
      }))
      assert.equal(running.batches % 9, 0, 'it is not counted')
    }
    near(observe(new LayerObserver('fc.bn', 2), [[[7]]]).estimate, { mean: 7, variance: 0 })
    new LayerObserver('fc.bn', 2, runningFrom(2, undefined, 0)).add(observation([[7], [8]], 2))
  })
})
