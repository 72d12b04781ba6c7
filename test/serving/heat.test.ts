import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ASKED_MS_MIN, COUNTED_MAX, decide, HALF_LIFE_MS, HeatBook, HOT_ROWS_MIN, type Asked } from '#src/serving/heating/heat.js'
import { runSeed } from '../support/run-seed.js'
import { seededUniform } from '../support/random.js'

const LOOK_MS = 5000

const bankOf = (bank: string): Asked => ({ bank, model: bank.split(':')[0]! })

/** Traffic over simulated time, looked at as the service does; keeps what is decided. */
class Simulation {
  readonly book = new HeatBook()
  readonly hot = new Map<string, number>()
  readonly built: string[] = []
  readonly dropped: string[] = []
  readonly budgetBytes: number
  readonly bytesOf: (asked: Asked) => number
  nowMs = 0

  constructor ({ budgetBytes = 1000, bytesOf = (_asked: Asked): number => 100 } = {}) {
    this.budgetBytes = budgetBytes
    this.bytesOf = bytesOf
  }

  /** Rows a second, by bank. */
  run (seconds: number, rates: Record<string, number>): this {
    for (let second = 1; second <= seconds; second++) {
      this.nowMs += 1000
      for (const [bank, rate] of Object.entries(rates)) if (rate > 0) this.book.count(bankOf(bank), rate, this.nowMs)
      if (this.nowMs % LOOK_MS === 0) this.look()
    }
    return this
  }

  look (): void {
    const { drop, build } = decide({
      heats: this.book.heats(this.nowMs), hot: this.hot, budgetBytes: this.budgetBytes, bytesOf: this.bytesOf
    })
    for (const bank of drop) {
      assert.ok(this.hot.delete(bank))
      this.dropped.push(bank)
    }
    if (build === undefined) return
    this.hot.set(build.bank, this.bytesOf(build))
    this.built.push(build.bank)
    const used = [...this.hot.values()].reduce((sum, bytes) => sum + bytes, 0)
    assert.ok(used <= this.budgetBytes, `${used} bytes`)
  }
}

describe('HeatBook', () => {
  it('halves what it has counted in each half-life, and shares it out by model', () => {
    const book = new HeatBook()
    book.count(bankOf('m:a'), 300, 0)
    book.count(bankOf('m:b'), 50, HALF_LIFE_MS)
    book.count(bankOf('n:c'), 8, HALF_LIFE_MS)
    const heats = book.heats(2 * HALF_LIFE_MS)
    assert.deepEqual(heats.map(({ what, rows, share, askedMs }) => [what.bank, rows, share, askedMs]), [
      ['m:a', 75, 0.75, 2 * HALF_LIFE_MS], ['m:b', 25, 0.25, HALF_LIFE_MS], ['n:c', 4, 1, HALF_LIFE_MS]
    ])
  })

  it('tells what was asked last, and begins anew after silence and after forgetting', () => {
    const book = new HeatBook<Asked & { version: number }>()
    book.count({ ...bankOf('m:a'), version: 1 }, 4, 0)
    book.count({ ...bankOf('m:a'), version: 2 }, 4, 10)
    assert.deepEqual(book.heats(10).map(({ what, askedMs }) => [what.version, askedMs]), [[2, 10]])
    assert.deepEqual(book.heats(4 * HALF_LIFE_MS), [])
    book.count({ ...bankOf('m:a'), version: 2 }, 4, 4 * HALF_LIFE_MS)
    assert.equal(book.heats(4 * HALF_LIFE_MS)[0]!.askedMs, 0)
    book.forget('m:a')
    assert.deepEqual(book.heats(4 * HALF_LIFE_MS), [])
  })

  it('forgets whom it has not heard of for longest, beyond so many', () => {
    const book = new HeatBook()
    for (let at = 0; at <= COUNTED_MAX; at++) {
      book.count(bankOf(`m:${at}`), 5, at)
      book.count(bankOf('m:0'), 5, at)
    }
    const banks = new Set(book.heats(COUNTED_MAX).map(({ what }) => what.bank))
    assert.equal(banks.size, COUNTED_MAX)
    assert.deepEqual([banks.has('m:0'), banks.has('m:1')], [true, false])
  })
})

describe('decide', () => {
  it('heats who has more than half the rows of its model, many, and for a while', () => {
    const one = new Simulation().run(ASKED_MS_MIN / 1000, { 'm:a': 100, 'm:b': 90 })
    assert.deepEqual(one.built, [])
    assert.deepEqual(one.run(LOOK_MS / 1000, { 'm:a': 100, 'm:b': 90 }).built, ['m:a'])
    assert.deepEqual(new Simulation().run(600, { 'm:a': 49, 'm:b': 49, 'm:c': 2 }).built, [])
    const few = HOT_ROWS_MIN * Math.LN2 * 1000 / HALF_LIFE_MS
    assert.deepEqual(new Simulation().run(3600, { 'm:a': 0.95 * few }).built, [])
    assert.deepEqual(new Simulation().run(3600, { 'm:a': 1.05 * few }).built, ['m:a'])
  })

  it('heats a bank of each model', () => {
    assert.deepEqual(new Simulation().run(120, { 'm:a': 10, 'm:b': 1, 'n:c': 20 }).built, ['n:c', 'm:a'])
  })

  it('cools who falls below a quarter, or hardly asks any more', () => {
    const share = new Simulation().run(120, { 'm:a': 100 }).run(600, { 'm:a': 30, 'm:b': 70 })
    assert.deepEqual([share.dropped, share.built], [[], ['m:a', 'm:b']])
    share.run(600, { 'm:a': 20, 'm:b': 80 })
    assert.deepEqual(share.dropped, ['m:a'])
    const silence = new Simulation().run(120, { 'm:a': 100 })
    silence.run(3600, { 'm:a': 0.1 })
    assert.deepEqual([silence.dropped, [...silence.hot]], [['m:a'], []])
  })

  it('does not go back and forth, however traffic swings about the limits', () => {
    const uniform = seededUniform(runSeed)
    const { built, dropped } = new Simulation().run(120, { 'm:a': 100 })
    assert.deepEqual([built, dropped], [['m:a'], []])
    const bursts = new Simulation({ budgetBytes: 100 })
    for (let at = 0; at < 60; at++) bursts.run(30, at % 2 === 0 ? { 'm:a': 100 } : { 'm:b': 100 })
    assert.ok(bursts.built.length + bursts.dropped.length <= 3, [bursts.built, bursts.dropped].join(' - '))
    const noisy = new Simulation()
    for (let at = 0; at < 3600; at++) {
      const a = 80 * uniform()
      noisy.run(1, { 'm:a': a, 'm:b': 80 - a })
    }
    assert.deepEqual(noisy.dropped, [])
    assert.ok(noisy.built.length <= 2, `seed ${runSeed}`)
  })

  it('keeps to the budget: who finds no room waits, or takes the place of who has less than half its rows', () => {
    const full = new Simulation({ budgetBytes: 100 }).run(120, { 'm:a': 100 })
    full.run(600, { 'm:a': 100, 'n:b': 150 })
    assert.deepEqual([full.built, full.dropped], [['m:a'], []])
    full.run(600, { 'm:a': 100, 'n:b': 250 })
    assert.deepEqual([full.built, full.dropped], [['m:a', 'n:b'], ['m:a']])
    full.run(600, { 'm:a': 100, 'n:b': 150 })
    assert.deepEqual([...full.hot.keys()], ['n:b'])
  })

  it('leaves alone who must not get one, or is too large, and heats the next', () => {
    const bytes: Record<string, number> = { 'm:a': Infinity, 'n:b': 1001, 'o:c': 1000 }
    const { built } = new Simulation({ bytesOf: ({ bank }) => bytes[bank]! }).run(60, { 'm:a': 300, 'n:b': 200, 'o:c': 100 })
    assert.deepEqual(built, ['o:c'])
  })
})
