import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ALLOWANCE, FitWindow, LAST } from '#src/drift/fit-window.js'
import { deviationsOf, makeSignature, pValueOf, scoreOf } from '#src/signature/signature.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const FEATURES = 8
const FIT_MIN = 0.005
const PICTURES = 20_000

const draws = (seed: number) => {
  const normal = seededNormal(seed)
  return (spread = 1, centre = 0) => Float64Array.from({ length: FEATURES }, () => centre + spread * normal())
}
const made = draws(runSeed)
const signature = makeSignature(Array.from({ length: 2000 }, () => made()), { stem: 'stem', preparation: '' })
/** Pictures have nothing in common. */
const values = () => Float32Array.from(made())

const seenAs = (features: Float64Array, some = values()) => {
  return { score: scoreOf(signature, features), z: deviationsOf(signature, features), values: some }
}

/** p-values of the stream and of each picture. */
function follow (pictures: readonly Float64Array[]): Array<{ together: number, alone: number }> {
  const window = new FitWindow(signature)
  return pictures.map((features) => {
    window.add(seenAs(features))
    return { together: window.p, alone: pValueOf(signature, scoreOf(signature, features)) }
  })
}

describe(`the last pictures of a stream together, seed ${runSeed}`, () => {
  it('are told not to fit no more often than the threshold promises', () => {
    const draw = draws(runSeed + 1)
    const seen = follow(Array.from({ length: PICTURES }, () => draw()))
    const together = seen.filter((one) => one.together < FIT_MIN).length
    // Neighbours share pictures: where evidence is enough once, it is so for up to LAST of them.
    assert.ok(together <= FIT_MIN / ALLOWANCE * PICTURES + LAST, `${together} of ${PICTURES}`)
  })

  it('do not fit when each alone is the domain\'s and all of them are too much alike', () => {
    // Squared distances near the mean of the domain's, and never far from it.
    const draw = draws(runSeed + 2)
    const middle = () => {
      const features = draw()
      const length = Math.hypot(...features)
      return features.map((value) => value * Math.sqrt(FEATURES) / length)
    }
    const seen = follow(Array.from({ length: 2 * LAST }, middle))
    assert.ok(seen.every(({ alone }) => alone >= 0.1))
    assert.ok(seen.slice(LAST).every(({ together }) => together < FIT_MIN))
  })

  it('do not fit when many are a little strange', () => {
    const draw = draws(runSeed + 3)
    const seen = follow(Array.from({ length: 2 * LAST }, () => draw(1, 1)))
    assert.ok(seen.at(-1)!.together < FIT_MIN)
  })

  it('fit again once the strange ones are not among them', () => {
    const draw = draws(runSeed + 4)
    const seen = follow(Array.from({ length: 3 * LAST }, (_, at) => draw(1, at < LAST ? 1 : 0)))
    assert.ok(seen[LAST - 1]!.together < FIT_MIN)
    assert.ok(seen.at(-1)!.together > FIT_MIN)
  })

  it('are one picture while a camera stands still', () => {
    const window = new FitWindow(signature)
    const [picture, some] = [draws(runSeed + 5)(1.3), values()]
    for (let at = 0; at < 5000; at++) window.add(seenAs(picture, some))
    assert.ok(window.p > FIT_MIN)
  })

  it('leave out what is no number', () => {
    const window = new FitWindow(signature)
    for (let at = 0; at < LAST; at++) window.add(seenAs(new Float64Array(FEATURES).fill(at % 2 === 0 ? NaN : Infinity)))
    assert.equal(window.p, 1)
  })
})
