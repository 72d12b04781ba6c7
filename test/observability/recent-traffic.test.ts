import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BUCKETS, bucketOf, quantileOf } from '#src/observability/latency-histogram.js'
import { RecentTraffic, SLOT_MS, SLOTS } from '#src/observability/recent-traffic.js'
import { TimeRing } from '#src/observability/time-ring.js'
import { runSeed } from '../support/run-seed.js'

const GROWTH = 1.24

describe('a histogram of latencies', () => {
  it('tells any quantile within the factor from one bucket to the next', () => {
    fc.assert(fc.property(
      fc.array(fc.double({ min: 0.06, max: 30_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (latencies, q) => {
        const counts = new Uint32Array(BUCKETS)
        for (const ms of latencies) counts[bucketOf(ms)]!++
        const exact = latencies.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(q * latencies.length) - 1)]!
        const told = quantileOf(counts, q)!
        assert.ok(told <= exact * GROWTH * 1.0001 && told >= exact / GROWTH / 1.0001, `${told} for ${exact}`)
      }
    ), { seed: runSeed })
  })

  it('takes all that can be measured, and knows when there is nothing', () => {
    for (const ms of [0, -1, NaN]) assert.equal(bucketOf(ms), 0, String(ms))
    for (const ms of [1e9, Infinity]) assert.equal(bucketOf(ms), BUCKETS - 1, String(ms))
    assert.equal(quantileOf(new Uint32Array(BUCKETS), 0.5), undefined)
  })
})

describe('a ring of slots', () => {
  it('has what a list of all slots has at its end, however time jumps', () => {
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.record({ wait: fc.integer({ min: 0, max: 45 }), add: fc.integer({ min: 1, max: 9 }) }), { maxLength: 40 }),
      (slots, steps) => {
        const ring = new TimeRing(10, slots, new Uint32Array(slots))
        const all = [0]
        let now = 0
        for (const { wait, add } of steps) {
          now += wait
          while (all.length <= Math.floor(now / 10)) all.push(0)
          ring.at(now)[0]! += add
          all[all.length - 1]! += add
        }
        assert.deepEqual(ring.last(now, slots).map(([count]) => count), all.slice(-slots))
        const sums = new Float64Array(slots + 2).fill(1)
        const length = ring.addLast(now, sums.length, sums)
        const none = Array<number>(sums.length - length).fill(0)
        assert.deepEqual([...sums], [...none, ...all.slice(-slots)].map((count) => 1 + count))
      }
    ), { seed: runSeed })
  })
})

describe('recent traffic', () => {
  it('tells pace, failures, latencies and the slots of several versions together', () => {
    let now = 0
    const traffic = new RecentTraffic(() => now)
    assert.equal(traffic.of(['a']), undefined)
    for (let at = 0; at < 60; at++) {
      now = at * 1000
      traffic.countAnswered('a', 2)
      if (at % 2 === 0) traffic.countAnswered('b', 50)
    }
    traffic.countFailed('b')
    const both = traffic.of(['a', 'b', 'never'])!
    assert.deepEqual([both.requests, both.failures, both.series], [91, 1, [23, 22, 23, 23]])
    assert.ok(Math.abs(both.perSecond - 91 / 59) < 1e-9, String(both.perSecond))
    assert.ok(both.p50Ms! < 2.5 && both.p99Ms! > 40, JSON.stringify(both))
    assert.deepEqual(traffic.of(['a'], 2)!.series, [15, 15])
  })

  it('forgets what is more than an hour ago, and latencies sooner', () => {
    let now = 0
    const traffic = new RecentTraffic(() => now)
    traffic.countAnswered('a', 2)
    now = 1_500_000
    const later = traffic.of(['a'])!
    assert.deepEqual([later.requests, later.perSecond, later.p50Ms], [1, 0, undefined])
    now = SLOT_MS * SLOTS
    assert.equal(traffic.of(['a'])!.requests, 0)
    assert.equal(traffic.of(['a'])!.series.length, SLOTS)
    traffic.forget('a')
    assert.equal(traffic.of(['a']), undefined)
  })

  it('has room for a bounded number of versions: who was asked longest ago makes it', () => {
    const traffic = new RecentTraffic(() => 0)
    for (let at = 0; at < 2000; at++) traffic.countAnswered(String(at), 1)
    traffic.countAnswered('0', 1)
    traffic.countAnswered('new', 1)
    assert.deepEqual(['0', '1', '2', 'new'].map((key) => traffic.of([key])?.requests), [2, undefined, 1, 1])
  })
})
