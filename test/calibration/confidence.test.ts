import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { layerConfidence, verdictOf, warningsOf, type WarningFacts } from '#src/calibration/confidence.js'
import { LayerObserver } from '#src/calibration/estimators.js'
import { effectiveClasses, totalVariation } from '#src/calibration/predictions.js'

const layer = (name: string, error: number) => ({
  layer: name, meanError: error, varianceError: error / 2, isSettled: error <= 0.1, deadChannels: 0
})

const facts = (more: Partial<WarningFacts> = {}): WarningFacts => ({
  layers: [], verdict: verdictOf([], 100, 0.1), images: 100, duplicates: 0, broken: 0, drift: undefined, ...more
})

const drift = (before: number[], after: number[]) => ({
  images: 100, before, after, distance: totalVariation(before, after), effectiveClasses: effectiveClasses(after)
})

const codes = (more: Partial<WarningFacts>) => warningsOf(facts(more)).map(({ code }) => code)

describe('the verdict', () => {
  it('names what is not settled, and how many images would do: errors fall with their root', () => {
    assert.deepEqual(verdictOf([layer('bn1', 0.05), layer('layer3.1.bn2', 0.2)], 40, 0.1), {
      isSettled: false,
      imagesNeeded: 160,
      text: '40 images are not enough: layer3.1.bn2 is not settled; about 160 would be'
    })
    assert.equal(verdictOf([layer('bn1', 0.05)], 40, 0.1).text, '40 images are enough')
  })

  it('names five layers at most', () => {
    const layers = Array.from({ length: 8 }, (_, at) => layer(`bn${at}`, 1))
    assert.match(verdictOf(layers, 10, 0.1).text, /bn4 and 3 more are not settled/)
  })
})

describe('warnings', () => {
  it('are none where nothing is wrong', () => {
    assert.deepEqual(codes({ drift: drift(Array(43).fill(2), Array(43).fill(2)) }), [])
  })

  it('tell of a single class, of a shift of labels, of copies and of broken images', () => {
    const one = Array.from({ length: 43 }, (_, at) => at === 3 ? 100 : 0)
    const other = Array.from({ length: 43 }, (_, at) => at === 9 ? 100 : 0)
    assert.deepEqual(codes({ drift: drift(one, one) }), ['SINGLE_CLASS'])
    assert.deepEqual(codes({ drift: drift(other, one) }), ['SINGLE_CLASS', 'LABEL_SHIFT'])
    assert.deepEqual(codes({ duplicates: 2, broken: 1 }), ['DUPLICATES', 'BROKEN_IMAGES'])
  })

  it('say nothing of classes from a handful of images', () => {
    assert.deepEqual(codes({ drift: { ...drift([0, 9], [9, 0]), images: 9 } }), [])
  })

  it('do not take two classes of two for one', () => {
    assert.deepEqual(codes({ drift: drift([50, 50], [100, 0]) }), [])
  })
})

describe('class histograms', () => {
  it('differ by total variation', () => {
    assert.equal(totalVariation([1, 1], [4, 4]), 0)
    assert.equal(totalVariation([2, 0], [0, 7]), 1)
    assert.equal(totalVariation([1, 1], [1, 0]), 0.5)
    assert.equal(totalVariation([0, 0], [1, 0]), 0)
  })

  it('have as many classes as their entropy says', () => {
    assert.ok(Math.abs(effectiveClasses([5, 5, 5, 0]) - 3) < 1e-12)
    assert.equal(effectiveClasses([7, 0, 0]), 1)
  })
})

describe('a layer', () => {
  const bn = { key: 'bn', channels: 2, epsilon: 1e-5 }

  /** Images of one mean and variance a channel each. */
  function observed (...images: Array<[means: number[], variances: number[]]>): LayerObserver {
    const observer = new LayerObserver('bn', 2)
    for (const [mean, variance] of images) {
      observer.add({ images: 1, positions: 9, mean: Float64Array.from(mean), variance: Float64Array.from(variance) })
    }
    return observer
  }

  it('is as sure as its images agree, in units of its own spread', () => {
    const observer = observed([[1, 10], [4, 400]], [[3, 30], [4, 400]])
    const { meanError, varianceError, isSettled, deadChannels } = layerConfidence(bn, observer, 0.1)
    // Means 1 and 3: standard error 1, variance 4 + 1; the other channel is ten times as wide in every respect.
    assert.ok(Math.abs(meanError - 1 / Math.sqrt(5)) < 1e-12)
    assert.ok(varianceError < 1e-12, 'the second moments around the mean are the same')
    assert.deepEqual([isSettled, deadChannels], [false, 0])
    assert.equal(layerConfidence(bn, observer, 0.45).isSettled, true)
  })

  it('is unsettled by its variance alone, too', () => {
    const { meanError, varianceError, isSettled } = layerConfidence(bn, observed([[1, 1], [1, 1]], [[1, 1], [3, 3]]), 0.4)
    assert.equal(meanError, 0)
    assert.ok(Math.abs(varianceError - 1 / 2) < 1e-12)
    assert.equal(isSettled, false)
  })

  it('knows nothing from one image, in a number that JSON has', () => {
    const { meanError, varianceError, isSettled } = layerConfidence(bn, observed([[1, 1], [1, 1]]), 10)
    assert.deepEqual([meanError, varianceError, isSettled], [1e6, 1e6, false])
  })

  it('leaves out channels that hardly vary, by its epsilon, and counts them', () => {
    const images = [[[1, 5], [1, 1e-9]], [[3, 5], [1, 1e-9]]] as Array<[number[], number[]]>
    const { deadChannels, meanError } = layerConfidence(bn, observed(...images), 0.1)
    assert.equal(deadChannels, 1)
    assert.ok(Math.abs(meanError - 1 / Math.sqrt(2)) < 1e-12, 'the average over those that live')
    assert.equal(layerConfidence({ ...bn, epsilon: 1e-7 }, observed(...images), 0.1).deadChannels, 0)
  })

  it('of dead channels alone is settled: more images would tell nothing', () => {
    const { deadChannels, meanError, isSettled } = layerConfidence(bn, observed([[1, 1], [0, 0]], [[1, 1], [0, 0]]), 0.1)
    assert.deepEqual([deadChannels, meanError, isSettled], [2, 0, true])
  })
})
