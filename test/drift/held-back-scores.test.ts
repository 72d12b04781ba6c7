import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { termsOf } from '#src/drift/bets.js'
import { ChangeDetector, logThreshold } from '#src/drift/change-detector.js'
import { ALLOWANCE, FitWindow, LAST } from '#src/drift/fit-window.js'
import { cellOf } from '#src/drift/reference-band.js'
import { deviationsOf, makeSignature, scoreOf } from '#src/signature/signature.js'
import { ORIGIN } from '../support/feature-rows.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const DIAL = 10_000
const FIT_MIN = 0.005

/**
 * Many features against images; how many signatures are made of so many, and pictures held against each. On average
 * there are no more alarms than one in DIAL, but of one signature in twenty, which misleads, there are some at once:
 * `most` lies between these and the dozens that there are where too much is held back.
 */
const CASES = [
  { features: 128, images: 256, signatures: 8, pictures: 2500, most: 12 },
  { features: 256, images: 512, signatures: 1, pictures: 3000, most: 5 }
]

function follow (features: number, images: number, pictures: number, seed: number): { alarms: number, none: number } {
  const normal = seededNormal(seed)
  const draw = () => Float64Array.from({ length: features }, normal)
  const signature = makeSignature(Array.from({ length: images }, draw), ORIGIN)
  const { band, bets } = termsOf(signature.scores)
  const detector = new ChangeDetector(bets)
  const window = new FitWindow(signature)
  const told = { alarms: 0, none: 0 }
  for (let at = 0; at < pictures; at++) {
    const picture = draw()
    const score = scoreOf(signature, picture)
    window.add({ score, z: deviationsOf(signature, picture), values: Float32Array.from(picture.subarray(0, 64)) })
    if (window.p < FIT_MIN) told.none++
    detector.add(cellOf(band, score), at)
    if (detector.logStatistic < logThreshold(DIAL)) continue
    told.alarms++
    detector.reset()
  }
  return told
}

describe(`scores held back from few images of many features, seed ${runSeed}`, () => {
  for (const { features, images, signatures, pictures, most } of CASES) {
    it(`are as large as those of later pictures: ${images} images of ${features} features`, () => {
      const told = Array.from({ length: signatures }, (_, at) => follow(features, images, pictures, runSeed + at))
      const alarms = told.reduce((sum, one) => sum + one.alarms, 0)
      const none = told.reduce((sum, one) => sum + one.none, 0)
      const seen = signatures * pictures
      assert.ok(alarms <= most, `${alarms} alarms in ${seen} pictures`)
      // Neighbours share pictures: where evidence is enough once, it is so for up to LAST of them.
      assert.ok(none <= FIT_MIN / ALLOWANCE * seen + LAST, `${none} of ${seen} are told to fit none for their stream`)
    })
  }
})
