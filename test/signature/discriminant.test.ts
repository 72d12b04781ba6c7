import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { finish } from '#src/base/slices.js'
import { makeDiscriminant } from '#src/signature/discriminant.js'
import { makeSignature, scoreOf, type Signature } from '#src/signature/signature.js'
import { featureRows, ORIGIN } from '../support/feature-rows.js'
import { runSeed } from '../support/run-seed.js'

const signatureOf = (centre: number, seed: number) => makeSignature(featureRows(400, 3, seed, centre), ORIGIN)
const discriminantOf = (...given: Parameters<typeof makeDiscriminant>) => finish(makeDiscriminant(...given))
const day = signatureOf(0, runSeed)
const night = signatureOf(6, runSeed + 1)

/** Of normally spread features, but for a constant; by Gaussian elimination of the whole matrix. */
function logLikelihood (row: Float64Array, mean: Float64Array, covariance: number[][]): number {
  const size = row.length
  const rest = covariance.map((line, at) => [...line, row[at]! - mean[at]!])
  let sum = 0
  for (let pivot = 0; pivot < size; pivot++) {
    const diagonal = rest[pivot]![pivot]!
    sum += Math.log(diagonal) + rest[pivot]![size]! ** 2 / diagonal
    for (let other = pivot + 1; other < size; other++) {
      const share = rest[other]![pivot]! / diagonal
      rest[other] = rest[other]!.map((value, at) => value - share * rest[pivot]![at]!)
    }
  }
  return -sum / 2
}

function mixed (own: Signature, all: readonly Signature[]): number[][] {
  const images = all.reduce((sum, one) => sum + one.images, 0)
  const at = ({ covariance }: Signature, i: number, j: number) => covariance[Math.max(i, j) * (Math.max(i, j) + 1) / 2 + Math.min(i, j)]!
  return Array.from(own.mean, (_, i) => Array.from(own.mean, (_, j) => {
    return 0.1 * at(own, i, j) + 0.9 * all.reduce((sum, one) => sum + at(one, i, j) * one.images / images, 0)
  }))
}

describe('the discriminant', () => {
  it('chooses the domain that an image is of, and tells the next', () => {
    const discriminant = discriminantOf(new Map([['day', day], ['night', night]]))
    const choices = featureRows(200, 3, runSeed + 2, 6).map((row) => discriminant.choose(row))
    assert.ok(choices.filter(({ domain }) => domain === 'night').length > 195)
    const fitting = choices.find(({ domain, p }) => domain === 'night' && p > 0.1)!
    assert.equal(fitting.runnerUp, 'day')
    assert.ok(fitting.margin! > 0)
  })

  it('compares likelihoods under covariances that are partly the domains\' own', () => {
    const wide = makeSignature(featureRows(400, 3, runSeed + 4).map((row) => row.map((value) => 5 * value)), ORIGIN)
    const discriminant = discriminantOf(new Map([['day', day], ['wide', wide]]))
    for (const row of featureRows(50, 3, runSeed + 5, 2)) {
      const [ofDay, ofWide] = [day, wide].map((one) => logLikelihood(row, one.mean, mixed(one, [day, wide]))) as [number, number]
      const { domain, margin } = discriminant.choose(row)
      assert.equal(domain, ofDay >= ofWide ? 'day' : 'wide')
      assert.ok(Math.abs(margin! - Math.abs(ofDay - ofWide)) < 1e-6 * (1 + Math.abs(ofDay)), `${margin}, not ${ofDay - ofWide}`)
    }
  })

  it('finds the best and the next of several, in whatever order they stand', () => {
    const all = Array.from({ length: 6 }, (_, at): [string, Signature] => [`d${at}`, signatureOf(at / 2, runSeed + 10 * at)])
    const signatures = all.map(([, signature]) => signature)
    for (const [at, row] of featureRows(60, 3, runSeed + 7, 1).entries()) {
      const turned = [...all.slice(at % 6), ...all.slice(0, at % 6)]
      const likelihoods = new Map(turned.map(([domain, one]) => [domain, logLikelihood(row, one.mean, mixed(one, signatures))]))
      const [best, next] = [...likelihoods.keys()].sort((a, b) => likelihoods.get(b)! - likelihoods.get(a)!) as [string, string]
      const { domain, runnerUp, margin } = discriminantOf(new Map(turned)).choose(row)
      assert.deepEqual([domain, runnerUp], [best, next])
      assert.ok(Math.abs(margin! - likelihoods.get(best)! + likelihoods.get(next)!) < 1e-6 * (1 + Math.abs(likelihoods.get(best)!)))
    }
  })

  it('passes over the likeliest where that does not fit and another does, of those for the likeliest', () => {
    const wide = (by: number, seed: number) => makeSignature(featureRows(400, 3, seed).map((row) => row.map((value) => by * value)), ORIGIN)
    const all = new Map([['day', day], ['wide', wide(6, runSeed + 8)], ['wider', wide(8, runSeed + 9)]])
    const fitMin = 0.005
    const plain = discriminantOf(all)
    const choosing = discriminantOf(all, { fitMin })
    let passed = 0
    for (const row of featureRows(400, 3, runSeed + 11, 0).map((values, at) => values.map((value) => value * (1 + at / 50)))) {
      const [likeliest, choice, fits] = [plain.choose(row), choosing.choose(row), plain.pValues(row)]
      if (likeliest.p >= fitMin || [...fits.values()].every((p) => p < fitMin)) {
        assert.deepEqual(choice, likeliest)
        continue
      }
      passed++
      const fitting = new Map([...all].filter(([domain]) => fits.get(domain)! >= fitMin))
      assert.equal(choice.runnerUp, likeliest.domain)
      assert.ok(fitting.has(choice.domain) && choice.margin! <= 0)
      assert.equal(choice.p, fits.get(choice.domain))
      if (fitting.size === 1) continue
      const [wideAt, widerAt] = ['wide', 'wider'].map((domain) => logLikelihood(row, all.get(domain)!.mean, mixed(all.get(domain)!, [...all.values()])))
      assert.equal(choice.domain, wideAt! >= widerAt! ? 'wide' : 'wider')
    }
    assert.ok(passed > 10, `only ${passed} were`)
  })

  it('never takes for a fit what a signature of few images cannot refuse', () => {
    const few = makeSignature(featureRows(40, 3, runSeed + 12, 3), ORIGIN)
    const discriminant = discriminantOf(new Map([['few', few], ['day', day]]), { fitMin: 0.005 })
    for (const row of featureRows(50, 3, runSeed + 13, -40)) {
      const { domain, p } = discriminant.choose(row)
      if (domain === 'day') assert.equal(p, 1 / (1 + day.scores.length))
      assert.equal(domain, discriminantOf(new Map([['few', few], ['day', day]])).choose(row).domain)
    }
  })

  it('prefers the default domain by a factor of two', () => {
    const both = new Map([['day', day], ['night', night]])
    for (const row of featureRows(50, 3, runSeed + 6, 3)) {
      const towards = (defaultDomain?: string) => {
        const { domain, margin } = discriminantOf(both, { defaultDomain }).choose(row)
        return domain === 'day' ? margin! : -margin!
      }
      assert.ok(Math.abs(towards('day') - towards() - Math.LN2) < 1e-9)
      assert.ok(Math.abs(towards('night') - towards() + Math.LN2) < 1e-9)
      assert.equal(towards('fog'), towards())
    }
  })

  it('finds the domain of an image among very many', () => {
    const many = new Map(Array.from({ length: 40 }, (_, at) => [`d${at}`, signatureOf(10 * at, runSeed + at)]))
    const discriminant = discriminantOf(many, { defaultDomain: 'd0' })
    for (const at of [0, 1, 17, 39]) {
      const choices = featureRows(50, 3, runSeed + 100 + at, 10 * at).map((row) => discriminant.choose(row).domain)
      assert.ok(choices.filter((domain) => domain === `d${at}`).length >= 45, `${choices}`)
    }
  })

  it('is made step by step, no more than one matrix of one domain in each', () => {
    const signatures = new Map(Array.from({ length: 5 }, (_, at) => [`d${at}`, day]))
    assert.equal([...makeDiscriminant(signatures)].length, 2 * signatures.size)
  })

  it('knows a single domain, where only the fit is a question', () => {
    const discriminant = discriminantOf(new Map([['day', day]]))
    const [row] = featureRows(1, 3, runSeed + 3)
    const { domain, runnerUp, margin } = discriminant.choose(row!)
    assert.deepEqual({ domain, runnerUp, margin }, { domain: 'day', runnerUp: undefined, margin: undefined })
    assert.equal(discriminant.choose(featureRows(1, 3, 1, 50)[0]!).p, 1 / (1 + day.scores.length))
  })

  it('tells of each domain what choosing tells of the one that it chose', () => {
    const discriminant = discriminantOf(new Map([['day', day], ['night', night]]))
    for (const row of [...featureRows(20, 3, runSeed + 4, 3), new Float64Array(6).fill(NaN)]) {
      const values = discriminant.pValues(row)
      const { domain, score, p } = discriminant.choose(row)
      assert.equal(values.get(domain), p)
      assert.equal(score, scoreOf(discriminant.signatureOf(domain)!, row))
      assert.deepEqual([...values.keys()], ['day', 'night'])
      for (const value of values.values()) assert.ok(value > 0 && value <= 1)
    }
    const far = discriminant.pValues(featureRows(1, 3, 1, 50)[0]!)
    assert.deepEqual([...far.values()], [1 / (1 + day.scores.length), 1 / (1 + night.scores.length)])
  })

  it('says something of what is no number', () => {
    const discriminant = discriminantOf(new Map([['day', day], ['night', night]]))
    for (const odd of [NaN, Infinity, -1e308]) {
      const { domain, margin, p } = discriminant.choose(new Float64Array(6).fill(odd))
      assert.equal(domain, 'day')
      assert.equal(margin, 0)
      assert.equal(p, 1 / (1 + day.scores.length))
    }
  })
})
