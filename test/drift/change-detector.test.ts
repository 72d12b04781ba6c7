import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { betsAgainst } from '#src/drift/bets.js'
import { ChangeDetector, logThreshold } from '#src/drift/change-detector.js'
import { cellOf, referenceBand } from '#src/drift/reference-band.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

/** Of uniform scores. */
function sampleBand (count: number, uniform: () => number) {
  const band = referenceBand(Float64Array.from({ length: count }, uniform))
  return { band, bets: betsAgainst(band) }
}

const DIAL = 10_000

/** Over a million in-domain pictures, fifty thousand against each of twenty held-back samples. */
function falseAlarms (sampleOf: (uniform: () => number) => ReturnType<typeof sampleBand>, seed = runSeed): number {
  const uniform = seededUniform(seed)
  let alarms = 0
  for (let sample = 0; sample < 20; sample++) {
    const { band, bets } = sampleOf(uniform)
    const detector = new ChangeDetector(bets)
    for (let picture = 0; picture < 50_000; picture++) {
      detector.add(cellOf(band, uniform()), picture)
      if (detector.logStatistic < logThreshold(DIAL)) continue
      alarms++
      detector.reset()
    }
  }
  return alarms
}

describe('the change detector', () => {
  it('is the sum of products that it is in logarithms', () => {
    const { band, bets } = sampleBand(256, seededUniform(runSeed))
    fc.assert(fc.property(fc.array(fc.nat(band.thresholds.length), { minLength: 1, maxLength: 40 }), (cells) => {
      const detector = new ChangeDetector(bets)
      const sums = new Float64Array(bets.count)
      for (const [at, cell] of cells.entries()) {
        detector.add(cell, at)
        for (let bet = 0; bet < bets.count; bet++) sums[bet] = (1 + sums[bet]!) * Math.exp(bets.logPays[cell * bets.count + bet]!)
      }
      const statistic = sums.reduce((all, sum, bet) => all + Math.exp(bets.logWeights[bet]!) * sum, 0)
      assert.ok(Math.abs(Math.exp(detector.logStatistic) / statistic - 1) < 1e-9)
      assert.ok(Math.abs(detector.eValue * cells.length / statistic - 1) < 1e-9)
    }), { seed: runSeed })
  })

  it('stays finite over a hundred thousand of the strangest pictures and begins anew when told', () => {
    const { bets } = sampleBand(512, seededUniform(runSeed))
    const detector = new ChangeDetector(bets)
    for (let at = 0; at < 100_000; at++) detector.add(0, at)
    assert.ok(Number.isFinite(detector.logStatistic) && detector.logStatistic > 1e5)
    assert.equal(detector.since, 0)
    detector.reset()
    assert.deepEqual([detector.logStatistic, detector.eValue, detector.pictures, detector.since], [-Infinity, 0, 0, undefined])
  })

  it('takes at least as long to a false alarm as the dial says, averaged over held-back samples', () => {
    const uniform = seededUniform(runSeed)
    const dial = 300
    const threshold = logThreshold(dial)
    const lengths: number[] = []
    for (let run = 0; run < 150; run++) {
      const { band, bets } = sampleBand(256, uniform)
      const detector = new ChangeDetector(bets)
      while (detector.logStatistic < threshold && detector.pictures < 20 * dial) {
        detector.add(cellOf(band, uniform()), detector.pictures)
      }
      lengths.push(detector.pictures)
    }
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
    assert.ok(mean >= dial, `${mean} pictures`)
  })

  it('gives no more false alarms over a million in-domain pictures than the dial allows', () => {
    const alarms = falseAlarms((uniform) => sampleBand(512, uniform))
    assert.ok(alarms <= 1_000_000 / DIAL, `${alarms} alarms`)
  })

  it('would be fooled by p-values that ignore how few scores were held back', () => {
    // The same bets against the plain ranks: the error of a sample of 64 is found as drift.
    const heldBack = 64
    const alarms = falseAlarms((uniform) => {
      const { band } = sampleBand(heldBack, uniform)
      const plain = { ...band, tails: band.tails.map((tail, at) => ({ ...tail, share: 2 ** at / (heldBack + 1) })) }
      return { band, bets: betsAgainst(plain) }
      // Of twenty samples all may happen to be good ones; it is enough that some are not.
    }, 1)
    assert.ok(alarms > 2 * 1_000_000 / DIAL, `${alarms} alarms`)
  })

  it('finds a change soon, and tells when it began', () => {
    const uniform = seededUniform(runSeed)
    const { band, bets } = sampleBand(512, uniform)
    const delayOf = (share: number): { delay: number, since: number | undefined } => {
      const detector = new ChangeDetector(bets)
      for (let at = 0; at < 2000; at++) detector.add(cellOf(band, uniform() * 0.999), at)
      for (let at = 2000; ; at++) {
        detector.add(cellOf(band, uniform() < share ? 2 : uniform()), at)
        if (detector.logStatistic >= logThreshold(1e6)) return { delay: at - 1999, since: detector.since }
        assert.ok(at < 20_000)
      }
    }
    const all = delayOf(1)
    assert.ok(all.delay <= 10, `${all.delay} pictures`)
    assert.ok(Math.abs(all.since! - 2000) < 100, `since ${all.since}`)
    const few = delayOf(0.05)
    assert.ok(few.delay <= 3000, `${few.delay} pictures`)
  })
})
