import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { featuresOfRows } from '#src/signature/features.js'
import {
  deviationsOf, farthestFitting, foldsOf, IMAGES_MIN, makeSignature, pValueOf, scoreOf, SCORES_MAX, signatureOf
} from '#src/signature/signature.js'
import { choleskyOf, packedLength, squaredLength, whitened } from '#src/signature/symmetric.js'
import { featureRows, ORIGIN } from '../support/feature-rows.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { hasCode } from '../support/errors.js'

describe('a packed symmetric matrix', () => {
  it('is L Lᵀ of its Cholesky factor, which whitens what it describes', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 8 }), fc.integer(), (size, seed) => {
      const normal = seededNormal(seed)
      const root = Array.from({ length: size }, () => Array.from({ length: size }, normal))
      const product = (i: number, j: number) => root[i]!.reduce((sum, value, at) => sum + value * root[j]![at]!, i === j ? 0.1 : 0)
      const matrix = new Float64Array(packedLength(size))
      for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) matrix[packedLength(i) + j] = product(i, j)
      const factor = choleskyOf(matrix, size)!
      const full = (i: number, j: number) => j > i ? 0 : factor[packedLength(i) + j]!
      for (let i = 0; i < size; i++) {
        for (let j = 0; j <= i; j++) {
          let sum = 0
          for (let at = 0; at < size; at++) sum += full(i, at) * full(j, at)
          assert.ok(Math.abs(sum - product(i, j)) < 1e-9)
        }
      }
      const vector = Float64Array.from({ length: size }, normal)
      const back = Float64Array.from({ length: size }, (_, i) => vector.reduce((sum, value, j) => sum + full(i, j) * value, 0))
      const again = whitened(factor, back)
      assert.ok(again.every((value, at) => Math.abs(value - vector[at]!) < 1e-7))
    }), { seed: runSeed })
  })

  it('has no factor where it is not positive definite', () => {
    assert.equal(choleskyOf(Float64Array.of(1, 2, 1), 2), undefined)
    assert.equal(choleskyOf(Float64Array.of(NaN), 1), undefined)
    assert.equal(choleskyOf(Float64Array.of(0), 1), undefined)
  })
})

describe('a signature', () => {
  it('gives images of its domain p-values that are uniform or larger', () => {
    const signature = makeSignature(featureRows(2000, 4, runSeed), ORIGIN)
    const fresh = featureRows(4000, 4, runSeed + 1).map((row) => pValueOf(signature, scoreOf(signature, row)))
    for (const level of [0.01, 0.05, 0.2, 0.5]) {
      const share = fresh.filter((p) => p <= level).length / fresh.length
      // Both draws are finite: four deviations of each.
      const slack = 4 * Math.sqrt(level * (1 - level) * (1 / 4000 + 1 / SCORES_MAX))
      assert.ok(Math.abs(share - level) <= slack, `${share} of the p-values are at most ${level}`)
    }
  })

  it('holds back as few images at a time as its features ask for', () => {
    assert.equal(foldsOf(1000, 48), 10)
    assert.equal(foldsOf(4096, 128), 10)
    assert.equal(foldsOf(256, 128), 80)
    assert.equal(foldsOf(IMAGES_MIN, 2), 10)
    assert.equal(foldsOf(IMAGES_MIN, 256), IMAGES_MIN)
  })

  it('knows few images and constant channels', () => {
    const rows = featureRows(IMAGES_MIN, 20, runSeed)
    for (const row of rows) row[0] = row[20] = 1
    const signature = makeSignature(rows, ORIGIN)
    assert.equal(signature.scores.length, IMAGES_MIN)
    assert.ok(Number.isFinite(scoreOf(signature, rows[0]!)))
    const other = rows[0]!.slice()
    other[0] = 2
    assert.equal(pValueOf(signature, scoreOf(signature, other)), 1 / (1 + IMAGES_MIN))
  })

  it('refuses too few images, counting only those with numbers', () => {
    const rows = featureRows(IMAGES_MIN, 2, runSeed)
    rows[3]![1] = NaN
    assert.throws(() => makeSignature(rows, ORIGIN), hasCode('SIGNATURE_TOO_FEW_IMAGES'))
  })

  it('gives what is no number the smallest p-value, and pictures of one colour features that are numbers', () => {
    const signature = makeSignature(featureRows(300, 2, runSeed), ORIGIN)
    for (const odd of [NaN, Infinity, -Infinity, 1e300]) {
      assert.equal(pValueOf(signature, scoreOf(signature, Float64Array.of(0, 0, odd, 0))), 1 / 301)
    }
    const [plain, odd] = featuresOfRows(Float32Array.of(0, 1, 0, 1e-9, 0, 0, NaN, 1, NaN, 0, NaN, 1), 2)
    assert.ok(plain!.every(Number.isFinite))
    assert.deepEqual([...odd!], [NaN, 1, NaN, 0])
  })

  it('has a p-value that counts itself and ties', () => {
    const scores = Float64Array.of(1, 2, 2, 3)
    assert.equal(pValueOf({ scores }, 0), 1)
    assert.equal(pValueOf({ scores }, 2), 4 / 5)
    assert.equal(pValueOf({ scores }, 2.5), 2 / 5)
    assert.equal(pValueOf({ scores }, Infinity), 1 / 5)
  })

  it('has a farthest score that fits, where any does not', () => {
    const shares = fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 20 })).map(([part, whole]) => Math.min(1, part / whole))
    const fitMins = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), shares)
    fc.assert(fc.property(fc.array(fc.nat(5), { maxLength: 20 }), fitMins, (given, fitMin) => {
      const scores = Float64Array.from(given).sort()
      const farthest = farthestFitting({ scores }, fitMin)
      for (let score = -0.5; score <= 6; score += 0.5) {
        assert.equal(pValueOf({ scores }, score) >= fitMin, farthest === undefined || score <= farthest, `${score}`)
      }
      assert.equal(farthest === undefined, pValueOf({ scores }, Infinity) >= fitMin)
    }), { seed: runSeed, numRuns: 1000 })
  })

  it('tells how far each feature is from the mean', () => {
    const signature = signatureOf({
      origin: ORIGIN, images: 100, mean: Float64Array.of(1, 2), covariance: Float64Array.of(4, 0, 9), scores: new Float64Array(0)
    })
    const z = deviationsOf(signature, Float64Array.of(3, -1))
    assert.deepEqual([...z], [1, -1])
    assert.equal(scoreOf(signature, Float64Array.of(3, -1)), squaredLength(z))
  })
})
