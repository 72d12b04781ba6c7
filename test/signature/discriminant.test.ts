import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Discriminant } from '#src/signature/discriminant.js'
import { makeSignature } from '#src/signature/signature.js'
import { featureRows, ORIGIN } from '../support/feature-rows.js'
import { runSeed } from '../support/run-seed.js'

const signatureOf = (centre: number, seed: number) => makeSignature(featureRows(400, 3, seed, centre), ORIGIN)
const day = signatureOf(0, runSeed)
const night = signatureOf(6, runSeed + 1)

describe('the discriminant', () => {
  it('chooses the domain that an image is of, and tells the next', () => {
    const discriminant = new Discriminant(new Map([['day', day], ['night', night]]))
    const choices = featureRows(200, 3, runSeed + 2, 6).map((row) => discriminant.choose(row))
    assert.ok(choices.filter(({ domain }) => domain === 'night').length > 195)
    const fitting = choices.find(({ domain, p }) => domain === 'night' && p > 0.1)!
    assert.equal(fitting.runnerUp, 'day')
    assert.ok(fitting.margin! > 0)
    assert.equal(fitting.z.length, 6)
  })

  it('knows a single domain, where only the fit is a question', () => {
    const discriminant = new Discriminant(new Map([['day', day]]))
    const [row] = featureRows(1, 3, runSeed + 3)
    const { domain, runnerUp, margin } = discriminant.choose(row!)
    assert.deepEqual({ domain, runnerUp, margin }, { domain: 'day', runnerUp: undefined, margin: undefined })
    assert.equal(discriminant.choose(featureRows(1, 3, 1, 50)[0]!).p, 1 / (1 + day.scores.length))
  })

  it('says something of what is no number', () => {
    const discriminant = new Discriminant(new Map([['day', day], ['night', night]]))
    for (const odd of [NaN, Infinity, -1e308]) {
      const { domain, margin, p } = discriminant.choose(new Float64Array(6).fill(odd))
      assert.equal(domain, 'day')
      assert.equal(margin, 0)
      assert.equal(p, 1 / (1 + day.scores.length))
    }
  })
})
