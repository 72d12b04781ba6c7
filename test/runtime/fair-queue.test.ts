import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FairQueue, type Waiting } from '#src/runtime/fair-queue.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

interface Item extends Waiting { id: number }

let ids = 0
const item = (turnOf: string, rows = 1, runKey: string | undefined = turnOf): Item => {
  return { id: ids++, turnOf, runKey, rows }
}
const add = (queue: FairQueue<Item>, ...items: Item[]) => {
  for (const one of items) queue.add([one])
}
const domainsOf = (items: readonly Item[]) => items.map(({ turnOf }) => turnOf).join('')

describe('FairQueue', () => {
  it('serves domains in turns, however much one of them has waiting', () => {
    const queue = new FairQueue<Item>(1000)
    add(queue, ...Array.from({ length: 50 }, () => item('a')), item('b'), item('c'))
    const served = Array.from({ length: 6 }, () => domainsOf(queue.take(1)))
    assert.deepEqual(served, ['a', 'b', 'c', 'a', 'a', 'a'])
  })

  it('serves a domain that had nothing waiting first, once a round', () => {
    const queue = new FairQueue<Item>(1000)
    add(queue, ...Array.from({ length: 9 }, () => item('a')), item('b'), item('b'))
    assert.equal(domainsOf(queue.take(1)), 'a')
    assert.equal(domainsOf(queue.take(1)), 'b')
    add(queue, item('c'))
    assert.equal(domainsOf(queue.take(1)), 'c')
    add(queue, item('c'))
    assert.deepEqual(Array.from({ length: 3 }, () => domainsOf(queue.take(1))), ['a', 'b', 'c'])
    add(queue, item('c'))
    assert.equal(domainsOf(queue.take(1)), 'c')
    assert.equal(domainsOf(queue.take(1)), 'a')
  })

  it('lets no domain stay ahead by coming back again and again', () => {
    const queue = new FairQueue<Item>(1000)
    add(queue, item('a'), item('a'), item('a'))
    let served = ''
    for (let at = 0; at < 6; at++) {
      add(queue, item('b'))
      served += domainsOf(queue.take(1))
    }
    assert.equal(served, 'ababab')
  })

  it('passes over domains with much waiting when asked for little, and lets them keep their turn', () => {
    const queue = new FairQueue<Item>(1000)
    add(queue, ...Array.from({ length: 9 }, () => item('a')))
    const small = (_turnOf: string, rows: number) => rows <= 2
    assert.equal(domainsOf(queue.take(1)), 'a')
    assert.deepEqual(queue.take(2, small), [])
    assert.deepEqual([queue.hasLineAbove(7), queue.hasLineAbove(8)], [true, false])
    add(queue, item('b'), item('b'), item('b'), item('c'))
    assert.equal(domainsOf(queue.take(2, small)), 'c')
    assert.deepEqual(queue.take(2, small), [])
    // As often as it likes, though its round is not over.
    add(queue, item('c'))
    assert.equal(domainsOf(queue.take(2, small)), 'c')
    assert.deepEqual(Array.from({ length: 3 }, () => domainsOf(queue.take(2))), ['bb', 'aa', 'b'])
    assert.deepEqual([queue.rows, queue.domains], [6, 1])
  })

  it('lets rows with one key share a run, up to the limit and in order', () => {
    const queue = new FairQueue<Item>(1000)
    const items = [item('a', 3), item('a', 4), item('a', 2), item('a', 1)]
    add(queue, ...items)
    assert.deepEqual(queue.take(8), [items[0], items[1], items[3]])
    assert.deepEqual(queue.take(8), [items[2]])
  })

  it('never mixes keys, and runs an item without a key alone', () => {
    const queue = new FairQueue<Item>(1000)
    const alone = { ...item('a'), runKey: undefined }
    const [first, other, second] = [item('a', 1, 'k1'), item('a', 1, 'k2'), item('a', 1, 'k1')]
    add(queue, first, other, second, alone)
    assert.deepEqual(queue.take(8), [first, second])
    assert.deepEqual(queue.take(8), [other])
    assert.deepEqual(queue.take(8), [alone])
    assert.deepEqual(queue.take(8), [])
  })

  it('an item above the run limit still runs, by itself', () => {
    const queue = new FairQueue<Item>(100)
    add(queue, item('a', 30), item('a', 1))
    assert.equal(queue.take(8).length, 1)
    assert.equal(queue.rows, 1)
  })

  it('refuses what does not fit, in rows, and what could never fit', () => {
    const queue = new FairQueue<Item>(10)
    add(queue, item('a', 7))
    assert.throws(() => add(queue, item('b', 4)), hasCode('QUEUE_FULL'))
    assert.throws(() => add(queue, item('b', 11)), hasCode('REQUEST_TOO_MANY_ROWS', { received: 11 }))
    add(queue, item('b', 3))
    assert.equal(queue.rows, 10)
  })

  it('lets in all parts of a request or none', () => {
    const queue = new FairQueue<Item>(10)
    assert.throws(() => queue.add([item('a', 6), item('a', 6)]), hasCode('REQUEST_TOO_MANY_ROWS'))
    add(queue, item('b', 1))
    assert.throws(() => queue.add([item('a', 5), item('a', 5)]), hasCode('QUEUE_FULL'))
    assert.equal(queue.rows, 1)
    assert.equal(queue.domains, 1)
  })

  it('lets in parts of several domains or none', () => {
    const queue = new FairQueue<Item>(10)
    add(queue, item('a', 7))
    assert.throws(() => queue.add([item('b', 2), item('c', 2)]), hasCode('QUEUE_FULL'))
    assert.throws(() => queue.add([item('b', 6), item('c', 6)]), hasCode('REQUEST_TOO_MANY_ROWS', { received: 12 }))
    assert.equal(queue.domains, 1)
    queue.add([item('b', 1), item('a', 1), item('b', 1)])
    assert.deepEqual([queue.rows, queue.domains], [10, 2])
  })

  it('keeps room for others when one domain floods', () => {
    const queue = new FairQueue<Item>(100)
    let flooded = 0
    assert.throws(() => { for (;;) { add(queue, item('flood')); flooded++ } }, hasCode('QUEUE_FULL'))
    assert.ok(flooded >= 75 && flooded <= 85, `the flood got ${flooded} of 100 rows`)
    for (let at = 0; at < 15; at++) add(queue, item('quiet'))
  })

  it('tells beforehand whose request it would refuse, however small', () => {
    const queue = new FairQueue<Item>(10)
    queue.requireRoom('a', 1)
    add(queue, item('a', 8))
    assert.throws(() => queue.requireRoom('a', 1), hasCode('QUEUE_FULL'))
    queue.requireRoom('b', 1)
    add(queue, item('b', 2))
    assert.throws(() => queue.requireRoom('c', 1), hasCode('QUEUE_FULL'))
    queue.take(8)
    queue.requireRoom('c', 1)
  })

  it('believes a guess of many rows only so far', () => {
    const queue = new FairQueue<Item>(160)
    queue.requireRoom('a', 1e9)
    add(queue, item('a', 150))
    queue.requireRoom('b', 9)
    queue.requireRoom('b', 1e9)
    add(queue, item('b', 1))
    assert.throws(() => queue.requireRoom('c', 1e9), hasCode('QUEUE_FULL'))
    queue.requireRoom('c', 9)
  })

  it('removes an item once', () => {
    const queue = new FairQueue<Item>(10)
    const one = item('a', 2)
    add(queue, one)
    assert.equal(queue.remove(one), true)
    assert.equal(queue.remove(one), false)
    assert.equal(queue.rows, 0)
    assert.equal(queue.domains, 0)
  })

  it('keeps its counts, loses nothing and starves nobody, whatever happens', () => {
    const operation = fc.oneof(
      fc.record({
        kind: fc.constant('add' as const),
        domain: fc.integer({ min: 0, max: 4 }),
        rows: fc.integer({ min: 1, max: 9 })
      }),
      fc.record({ kind: fc.constant('take' as const), rowsMax: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ kind: fc.constant('take small' as const), lineMax: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ kind: fc.constant('remove' as const), pick: fc.nat() })
    )
    fc.assert(fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const queue = new FairQueue<Item>(60)
      const waiting: Item[] = []
      const passedOver = new Map<string, number>()
      for (const step of operations) {
        if (step.kind === 'add') {
          const one = item(`d${step.domain}`, step.rows, `d${step.domain}k${step.rows % 2}`)
          try {
            add(queue, one)
            waiting.push(one)
          } catch (error) {
            assert.ok(hasCode('QUEUE_FULL')(error))
          }
        } else if (step.kind === 'take') {
          const taken = queue.take(step.rowsMax)
          assert.equal(taken.length === 0, waiting.length === 0)
          assert.ok(new Set(taken.map(({ runKey }) => runKey)).size <= 1)
          const rows = taken.reduce((sum, one) => sum + one.rows, 0)
          assert.ok(taken.length <= 1 || rows <= step.rowsMax)
          for (const one of taken) waiting.splice(waiting.indexOf(one), 1)
          for (const { turnOf } of waiting) passedOver.set(turnOf, (passedOver.get(turnOf) ?? 0))
          const domains = new Set(waiting.map(({ turnOf }) => turnOf))
          for (const domain of domains) {
            const count = domain === taken[0]?.turnOf ? 0 : passedOver.get(domain)! + 1
            passedOver.set(domain, count)
            // Each of the four others at most twice a round: once when it comes, once in its turn.
            assert.ok(count <= 8, `${domain} was passed over ${count} times`)
          }
          for (const domain of passedOver.keys()) if (!domains.has(domain)) passedOver.delete(domain)
        } else if (step.kind === 'take small') {
          const rowsOf = (domain: string) => waiting.reduce((sum, { turnOf, rows }) => sum + (turnOf === domain ? rows : 0), 0)
          const small = new Set(waiting.map(({ turnOf }) => turnOf).filter((domain) => rowsOf(domain) <= step.lineMax))
          const taken = queue.take(step.lineMax, (_turnOf, rows) => rows <= step.lineMax)
          assert.equal(taken.length === 0, small.size === 0)
          assert.ok(taken.every(({ turnOf }) => small.has(turnOf)))
          for (const one of taken) waiting.splice(waiting.indexOf(one), 1)
          const domains = new Set(waiting.map(({ turnOf }) => turnOf))
          for (const domain of passedOver.keys()) if (!domains.has(domain)) passedOver.delete(domain)
        } else if (waiting.length > 0) {
          const [gone] = waiting.splice(step.pick % waiting.length, 1)
          assert.ok(queue.remove(gone!))
        }
        assert.equal(queue.rows, waiting.reduce((sum, one) => sum + one.rows, 0))
        assert.equal(queue.domains, new Set(waiting.map(({ turnOf }) => turnOf)).size)
      }
    }), { seed: runSeed, numRuns: 300 })
  })
})
