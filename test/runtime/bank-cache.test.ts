import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BankCache } from '#src/runtime/bank-cache.js'
import type { FoldedBank } from '#src/bank/fold.js'

/** 16 bytes each. */
const bank = (value: number, length = 2) => new Float64Array(length).fill(value)

describe('BankCache', () => {
  it('loads once and then hits', async () => {
    const seen: string[] = []
    const cache = new BankCache(1000, { onHit: () => seen.push('hit'), onMiss: () => seen.push('miss') })
    const load = async () => bank(1)
    const first = await cache.get('a', load)
    assert.equal(await cache.get('a', load), first)
    assert.deepEqual(seen, ['miss', 'hit'])
    assert.deepEqual(cache.size, { count: 1, bytes: 16 })
  })

  it('shares one load between requests that come together', async () => {
    const cache = new BankCache(1000)
    let loads = 0
    let open: (bank: FoldedBank) => void = () => {}
    const load = () => {
      loads++
      return new Promise<FoldedBank>((resolve) => { open = resolve })
    }
    const both = Promise.all([cache.get('a', load), cache.get('a', load)])
    open(bank(1))
    const [first, second] = await both
    assert.equal(first, second)
    assert.equal(loads, 1)
  })

  it('with a limit of 0 keeps next to nothing', async () => {
    const cache = new BankCache(0)
    for (const key of ['a', 'b']) await cache.get(key, async () => bank(1))
    assert.equal(cache.size.count, 1)
  })

  it('forgets a load that failed', async () => {
    const cache = new BankCache(1000)
    await assert.rejects(cache.get('a', async () => { throw new Error('disk') }), /disk/)
    assert.deepEqual(await cache.get('a', async () => bank(2)), bank(2))
  })

  it('drops the least recently used when the bytes run out, and tells', async () => {
    let evictions = 0
    const cache = new BankCache(48, { onEviction: () => evictions++ })
    for (const [value, key] of ['a', 'b', 'c'].entries()) await cache.get(key, async () => bank(value))
    await cache.get('a', async () => assert.fail('it is held'))
    cache.put('d', bank(3))
    assert.equal(evictions, 1)
    await cache.get('a', async () => assert.fail('it was used after b'))
    assert.deepEqual(await cache.get('b', async () => bank(9)), bank(9))
    assert.ok(cache.size.bytes <= 48)
  })

  it('forgets a bank without calling it an eviction, and loads it again', async () => {
    let evictions = 0
    const cache = new BankCache(1000, { onEviction: () => evictions++ })
    await cache.get('a', async () => bank(1))
    cache.forget('a')
    cache.forget('never there')
    assert.deepEqual([cache.size, evictions], [{ count: 0, bytes: 0 }, 0])
    assert.deepEqual(await cache.get('a', async () => bank(2)), bank(2))
  })

  it('serves a bank that is larger than the whole cache', async () => {
    const cache = new BankCache(8)
    assert.deepEqual(await cache.get('a', async () => bank(1, 100)), bank(1, 100))
  })
})
