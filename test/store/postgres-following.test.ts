/** Several stores over one database: what one changes the others have, in order, whole, and at once where they are asked. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { newPlace, postgres } from './fixtures/databases.js'
import { fileOf, fill, newGate, newVersion, OPERATIONS } from './fixtures/operations.js'
import { plain } from './contract.js'
import { snapshot } from './fixtures/snapshot.js'
import { hasCode } from '../support/errors.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

async function two (t: TestContext) {
  const place = await newPlace(t)
  const [a, b] = [await place.open(), await place.open()]
  return { ...place, a: a.store, b: b.store, database: a.database, sql: async (text: string) => await (await postgres()).ask(place.url, text) }
}

describe('stores over one database', () => {
  for (const [name, change] of Object.entries(OPERATIONS)) {
    it(`have what another one did: ${name}`, async (t) => {
      const { a, b } = await two(t)
      await fill(a)
      await b.catchUp()
      assert.deepEqual(plain(await snapshot(b)), plain(await snapshot(a)))
      await change(a)
      await b.catchUp()
      assert.deepEqual(plain(await snapshot(b)), plain(await snapshot(a)))
    })
  }

  it('follow without being asked', async (t) => {
    const place = await newPlace(t)
    const { store: a } = await place.open()
    const { store: b } = await place.open({ pollMs: 50 })
    await fill(a)
    await a.removeDomain('signs', 'day')
    while (b.domain('signs', 'night')?.revision !== 3 || b.domain('signs', 'day') !== undefined) await new Promise(setImmediate)
    assert.deepEqual(plain(await snapshot(b)), plain(await snapshot(a)))
    assert.ok(b.ageMs < 60_000)
  })

  it('tell of what another one removed', async (t) => {
    const { a, b } = await two(t)
    await fill(a)
    await b.catchUp()
    const told: unknown[] = []
    b.onGone(({ domain, versions, isWhole }) => told.push([domain, versions.map(({ version }) => version), isWhole]))
    await a.activate('signs', 'night', 1)
    await a.removeVersion('signs', 'night', 3)
    await b.catchUp()
    await a.removeDomain('signs', 'night')
    await b.catchUp()
    assert.deepEqual(told, [['night', [3], false], ['night', [1, 2], true]])
  })

  it('see their own changes at once, and those of others under them', async (t) => {
    const { a, b } = await two(t)
    await a.publish('signs', 'night', newVersion('one'))
    assert.equal(b.domain('signs', 'night'), undefined)
    // It looks at the domain as the database has it.
    assert.deepEqual((await b.publish('signs', 'night', newVersion('two'), 1)).versions.map(({ version }) => version), [1, 2])
    assert.deepEqual(Buffer.from(await b.read('signs', 'night', 1)), fileOf('one'))
    assert.equal(b.domain('signs', 'night')!.active, 2)
    assert.equal(a.domain('signs', 'night')!.active, 1)
    await assert.rejects(a.activate('signs', 'night', 1, 1), hasCode('PRECONDITION_FAILED', { expected: 1, received: 2 }))
    assert.equal((await a.activate('signs', 'night', 1, 2)).active, 1)
    await a.catchUp()
    assert.equal(a.domain('signs', 'night')!.revision, 3)
  })

  it('let one of two changes happen that expect the same revision, and the same gate', async (t) => {
    const { a, b } = await two(t)
    await fill(a)
    await b.catchUp()
    for (let round = 0; round < 5; round++) {
      const revision = a.domain('signs', 'night')!.revision
      const results = await Promise.allSettled([a, b].map((store, at) => store.publish('signs', 'night', newVersion(`${round} ${at}`), revision)))
      const refused = results.filter((result) => result.status === 'rejected')
      assert.equal(refused.length, 1)
      hasCode('PRECONDITION_FAILED')(refused[0]!.reason)
      await Promise.all([a.catchUp(), b.catchUp()])
      assert.equal(a.domain('signs', 'night')!.revision, revision + 1)
      assert.deepEqual(plain(a.domain('signs', 'night')), plain(b.domain('signs', 'night')))
    }
    await b.setGate('signs', 'night', newGate('new gate'))
    await assert.rejects(a.activate('signs', 'night', 3, undefined, null), hasCode('STORE_CHANGED'))
  })

  it('give publishes at the same time a number each, whichever store they come to', async (t) => {
    const { a, b } = await two(t)
    const records = await Promise.all(Array.from({ length: 16 }, (_, at) => {
      return (at % 2 === 0 ? a : b).publish('signs', 'night', newVersion(`bank ${at}`))
    }))
    assert.deepEqual(records.map(({ active }) => active!).toSorted((x, y) => x - y), Array.from({ length: 16 }, (_, at) => at + 1))
    await Promise.all([a.catchUp(), b.catchUp()])
    assert.deepEqual(plain(await snapshot(a)), plain(await snapshot(b)))
  })

  it('miss nothing, however changes of many domains overlap', async (t) => {
    const { a, b, open } = await two(t)
    const random = seededUniform(runSeed)
    const follower = (await open({ pollMs: 50 })).store
    const domains = Array.from({ length: 8 }, (_, at) => `domain-${at}`)
    await Promise.all(domains.map(async (domain, at) => {
      const store = at % 2 === 0 ? a : b
      for (let step = 0; step < 12; step++) {
        const isThere = store.domain('signs', domain) !== undefined
        if (isThere && random() < 0.2) await store.removeDomain('signs', domain)
        else if (isThere && random() < 0.3) await store.mark('signs', domain, { kind: 'label', label: `l${step}`, version: store.domain('signs', domain)!.active! })
        else await store.publish('signs', domain, newVersion(`${domain} ${step}`))
        if (random() < 0.5) await follower.catchUp()
      }
    }))
    for (const store of [a, b, follower]) await store.catchUp()
    const fresh = (await open()).store
    for (const store of [a, b, follower]) {
      assert.deepEqual(plain(await snapshot(store)), plain(await snapshot(fresh)))
    }
  })

  it('read all anew over a new connection, for it may be another database', async (t) => {
    const { a, b, sql } = await two(t)
    await fill(a)
    await b.catchUp()
    await sql('CREATE TABLE kept AS SELECT * FROM bankswitch_domains')
    await a.publish('signs', 'fog', newVersion('fog'))
    await a.activate('signs', 'night', 1)
    await b.catchUp()
    assert.equal(b.domain('signs', 'fog')!.active, 1)
    const told: string[] = []
    b.onGone(({ domain, isWhole }) => told.push(`${domain} ${isWhole}`))
    // As a restore would leave it, and further changes after it.
    await sql(`DELETE FROM bankswitch_domains; INSERT INTO bankswitch_domains SELECT * FROM kept;
      UPDATE bankswitch_store SET revision = (SELECT max(changed) FROM kept)`)
    await b.catchUp()
    assert.equal(b.domain('signs', 'fog'), undefined)
    assert.deepEqual(told, ['fog true'])
    assert.equal(b.domain('signs', 'night')!.active, 2)
  })

  it('share a look among all who ask, and look seldom for many', async (t) => {
    const { a, b, sql } = await two(t)
    await a.publish('signs', 'night', newVersion('one'))
    const looks = async () => Number((await sql('SELECT sum(seq_scan + coalesce(idx_scan, 0)) AS n FROM pg_stat_user_tables WHERE relname = \'bankswitch_store\''))[0]!.n)
    const before = await looks()
    await Promise.all(Array.from({ length: 500 }, () => b.catchUp()))
    assert.equal(b.domain('signs', 'night')!.active, 1)
    assert.ok(await looks() - before <= 4, 'a few looks for five hundred who ask')
  })
})

describe('the tables', () => {
  it('are brought up to date by one of many that start at once', async (t) => {
    const { open } = await newPlace(t)
    const opened = await Promise.all(Array.from({ length: 4 }, () => open()))
    await opened[0]!.store.publish('signs', 'night', newVersion('one'))
    await opened[3]!.store.catchUp()
    assert.equal(opened[3]!.store.domain('signs', 'night')!.active, 1)
  })

  it('of a newer server are refused by name, at the start and after it', async (t) => {
    const { a, b, open, sql } = await two(t)
    await fill(a)
    await b.catchUp()
    await sql('UPDATE bankswitch_store SET schema = 99')
    const refused = hasCode('STORE_FORMAT_UNKNOWN', { expected: 1, received: 99 })
    await assert.rejects(open(), refused)
    await assert.rejects(open({ isReading: true }), refused)
    const before = plain(await snapshot(b))
    await assert.rejects(b.publish('signs', 'night', newVersion('four')), refused)
    await b.catchUp()
    assert.deepEqual(plain(await snapshot(b)), before, 'what it has it goes on serving')
    await sql('UPDATE bankswitch_store SET schema = 1')
    assert.equal((await b.publish('signs', 'night', newVersion('four'))).active, 4)
  })

  it('are made by nobody who only reads', async (t) => {
    const { open, url } = await newPlace(t)
    await assert.rejects(open({ isReading: true }), hasCode('STORE_UNREADABLE'))
    assert.deepEqual(await (await postgres()).ask(url, "SELECT to_regclass('bankswitch_store') AS name"), [{ name: null }])
    const { store } = await open()
    await fill(store)
    const { store: reading } = await open({ isReading: true })
    assert.deepEqual(plain(await snapshot(reading)), plain(await snapshot(store)))
  })
})
