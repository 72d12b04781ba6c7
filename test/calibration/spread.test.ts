import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Spread } from '#src/calibration/spread.js'
import { seededNormal } from '../support/random.js'

const IMAGES = 40
const TRIALS = 2000

/** Standard deviation of numbers. */
function deviation (numbers: readonly number[]): number {
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length
  return Math.sqrt(numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (numbers.length - 1))
}

describe('standard errors', () => {
  it('are what the statistics of repeated draws really spread by, far from zero too', () => {
    const normal = seededNormal(3)
    const [means, variances]: [number[], number[]] = [[], []]
    let [meanError, varianceError] = [0, 0]
    for (let trial = 0; trial < TRIALS; trial++) {
      const spread = new Spread(1)
      const [a, v]: [number[], number[]] = [[], []]
      for (let image = 0; image < IMAGES; image++) {
        a.push(1e4 + 2 * normal())
        v.push(Math.abs(1 + 0.5 * normal()))
        spread.add([a.at(-1)!], [v.at(-1)!])
      }
      const mean = a.reduce((sum, value) => sum + value, 0) / IMAGES
      means.push(mean)
      variances.push(v.reduce((sum, value, at) => sum + value + (a[at]! - mean) ** 2, 0) / IMAGES)
      const errors = spread.standardErrors()
      meanError += errors.mean[0]! / TRIALS
      varianceError += errors.variance[0]! / TRIALS
    }
    // 2,000 trials know a deviation to 1.6 %; the delta method is short by about 1 / images.
    assert.ok(Math.abs(meanError / deviation(means) - 1) < 0.06, `${meanError} ${deviation(means)}`)
    assert.ok(Math.abs(varianceError / deviation(variances) - 1) < 0.1, `${varianceError} ${deviation(variances)}`)
  })

  it('are infinite for one image and zero for equal ones', () => {
    const spread = new Spread(1)
    spread.add([3], [1])
    assert.deepEqual([...spread.standardErrors().mean, ...spread.standardErrors().variance], [Infinity, Infinity])
    spread.add([3], [1])
    assert.deepEqual([...spread.standardErrors().mean, ...spread.standardErrors().variance], [0, 0])
  })
})
