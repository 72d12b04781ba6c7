/** Predictions before and after, on a classifier whose answers can be told by heart. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DRIFT_IMAGES_MAX, effectiveClasses, predictionDrift, totalVariation } from '#src/calibration/predictions.js'
import type { Bank } from '#src/bank/bank.js'
import type { Tensors } from '#src/ort/rows.js'
import { GraphBuilder } from '../support/graph-builder.js'

const CLASSES = 3

/** The class is the channel with the largest value once it is normalised. */
function classifier (): Uint8Array {
  const g = new GraphBuilder()
  const x = g.input('x', ['n', CLASSES, 1, 1])
  const y = g.batchNorm(x, CLASSES, 'bn')
  return g.output(g.node('Flatten', [y], {}, ['scores']), ['n', CLASSES]).bytes()
}

const bankOf = (mean: number[]): Bank => new Map([['bn', {
  mean: Float32Array.from(mean),
  variance: new Float32Array(CLASSES).fill(1),
  gamma: new Float32Array(CLASSES).fill(1),
  beta: new Float32Array(CLASSES)
}]])

function batch (...rows: number[][]): Tensors {
  return { x: { type: 'float32', dims: [rows.length, CLASSES, 1, 1], data: Float32Array.from(rows.flat()) } }
}

const PLAIN = bankOf([0, 0, 0])

describe('prediction drift', () => {
  it('counts every image under both banks', async () => {
    const batches = [batch([3, 1, 0], [0, 3, 1]), batch([0, 1, 3], [3, 1, 0], [2, 1, 0])]
    const drift = await predictionDrift(classifier(), 'scores', batches, PLAIN, bankOf([5, 0, 0]))
    assert.deepEqual([drift.images, drift.before, drift.after], [5, [3, 1, 1], [0, 4, 1]])
    assert.ok(Math.abs(drift.distance - 3 / 5) < 1e-12)
    assert.ok(Math.abs(drift.effectiveClasses - Math.exp(-(0.8 * Math.log(0.8) + 0.2 * Math.log(0.2)))) < 1e-12)
  })

  it('under the same bank there is none', async () => {
    const drift = await predictionDrift(classifier(), 'scores', [batch([3, 1, 0], [0, 3, 1])], PLAIN, PLAIN)
    assert.deepEqual([drift.before, drift.after, drift.distance, drift.effectiveClasses], [[1, 1, 0], [1, 1, 0], 0, 2])
  })

  it('takes the first of equal scores, as argmax does', async () => {
    const { before } = await predictionDrift(classifier(), 'scores', [batch([1, 1, 1], [0, 2, 2])], PLAIN, PLAIN)
    assert.deepEqual(before, [1, 1, 0])
  })

  it('looks at whole batches until there are enough images', async () => {
    const rows = (count: number) => batch(...Array.from({ length: count }, () => [1, 0, 0]))
    const many = await predictionDrift(classifier(), 'scores', [rows(100), rows(100), rows(100), rows(100)], PLAIN, PLAIN)
    assert.equal(many.images, 300)
    const exactly = await predictionDrift(classifier(), 'scores', [rows(DRIFT_IMAGES_MAX), rows(1)], PLAIN, PLAIN)
    assert.equal(exactly.images, DRIFT_IMAGES_MAX)
    assert.deepEqual(exactly.before, [DRIFT_IMAGES_MAX, 0, 0])
  })

  it('scores that are no numbers are of no class', async () => {
    const { before, after, images, distance } = await predictionDrift(
      classifier(), 'scores', [batch([NaN, 1, 0], [0, 3, 1])], PLAIN, PLAIN
    )
    assert.deepEqual([before, after, images, distance], [[0, 1, 0], [0, 1, 0], 2, 0])
    assert.deepEqual(Object.keys(before), ['0', '1', '2'])
  })
})

describe('histograms', () => {
  it('of nothing are as far from each other as nothing', () => {
    assert.equal(totalVariation([], []), 0)
    assert.equal(totalVariation([0], [3]), 0)
    assert.equal(effectiveClasses([0, 0]), 1)
  })

  it('are compared by shares: the number of images does not count', () => {
    assert.ok(totalVariation([1, 2, 3], [100, 200, 300]) < 1e-15)
    assert.ok(Math.abs(totalVariation([10, 0, 0], [5, 5, 0]) - 0.5) < 1e-15)
    assert.ok(Math.abs(effectiveClasses([3, 3, 3]) - effectiveClasses([70, 70, 70])) < 1e-12)
  })
})
