/** A database that goes away: what is answered meanwhile, what became of a change that was cut off, and its return. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { openPostgres } from '#src/store/postgres/open.js'
import { BankswitchError } from '#src/base/errors.js'
import type { BankStore } from '#src/store/bank-store.js'
import { CHANGES, plain } from './contract.js'
import { newPlace, postgres, SILENT } from './fixtures/databases.js'
import { fileOf, fill, newGate, newVersion } from './fixtures/operations.js'
import { snapshot } from './fixtures/snapshot.js'
import { hasCode } from '../support/errors.js'
import { startProxy } from '../support/database-proxy.js'
import { DATABASE_PASSWORD } from '../support/postgres.js'

/** A store behind a proxy, and one with the database itself. */
async function behindProxy (t: TestContext, pollMs = 50) {
  const { url, open } = await newPlace(t)
  const proxy = await startProxy((await postgres()).socket)
  t.after(() => proxy.close())
  const log: unknown[][] = []
  const note = (...given: unknown[]) => { log.push(given) }
  const { store, database } = await open({ url: proxy.through(url), pollMs, askedMs: 500, logger: { info: note, warn: note } })
  return { proxy, store, database, direct: (await open()).store, open, log, url }
}

async function until (isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate)
}

describe('while the database is away', () => {
  it('records are those of before, changes and bytes are refused as passing, and all is well on its return', async (t) => {
    const { proxy, store, direct, log } = await behindProxy(t)
    await fill(direct)
    await store.catchUp()
    const before = plain(store.domains('signs'))
    proxy.cut()
    for (const change of Object.values(CHANGES)) {
      await assert.rejects(change(store), (error: BankswitchError) => {
        assert.equal(error.kind, 'unavailable')
        return hasCode('STORE_UNWRITABLE')(error)
      })
    }
    await assert.rejects(store.rememberShipped('signs', 'night', { files: [], revision: 1 }), hasCode('STORE_UNWRITABLE'))
    for (const read of [() => store.read('signs', 'night', 1), () => store.readGate('signs', 'day'), () => store.shipped('signs', 'day')]) {
      await assert.rejects(read, hasCode('STORE_UNREADABLE'))
    }
    await until(() => log.length > 0)
    const age = store.ageMs
    await store.catchUp()
    assert.deepEqual(plain(store.domains('signs')), before)
    assert.ok(store.ageMs >= age)
    await direct.activate('signs', 'night', 3)
    proxy.mend()
    await until(() => store.domain('signs', 'night')!.active === 3)
    await CHANGES.publish!(store)
    assert.deepEqual(Buffer.from(await store.read('signs', 'night', 4)), fileOf('four'))
    assert.deepEqual(log.map(([, message]) => message), [
      'the database of the store is away; what is in memory is served', 'the database of the store is back'
    ])
    assert.ok(!JSON.stringify(log.map(([given]) => [String((given as { err?: Error }).err?.stack), given])).includes(DATABASE_PASSWORD))
  })

  it('a start says so, and shows no password', async (t) => {
    const { url } = await newPlace(t)
    const { socket } = await postgres()
    const proxy = await startProxy(socket)
    t.after(() => proxy.close())
    proxy.cut()
    const wrong = url.replace(DATABASE_PASSWORD, 'another-password')
    for (const [address, code] of [
      [proxy.through(url), 'STORE_UNREADABLE'], [wrong, 'STORE_UNREADABLE'], ['postgres://u:another-password@[', 'CONFIG_INVALID']
    ] as const) {
      await assert.rejects(openPostgres({ url: address, pollMs: 100, logger: SILENT }), (error: BankswitchError) => {
        const causes: unknown[] = []
        for (let one: unknown = error; one instanceof Error; one = one.cause) causes.push(one.message, one.stack, { ...one })
        const told = JSON.stringify(causes)
        assert.ok(!told.includes(DATABASE_PASSWORD) && !told.includes('another-password'), told)
        return hasCode(code)(error)
      })
    }
  })
})

/** Changes of domain `night`, whose state a run leaves as it was or moves on; each may run again and again. */
const STEPS: Record<string, (store: BankStore, turn: number) => Promise<unknown>> = {
  publish: (store, turn) => store.publish('signs', 'night', newVersion(`turn ${turn}`)),
  'first publish': (store, turn) => store.publish('plates', `fog-${turn}`, newVersion('fog')),
  activate: (store, turn) => store.activate('signs', 'night', 1 + turn % 2),
  setGate: (store, turn) => store.setGate('signs', 'night', newGate(`gate ${turn}`)),
  removeDomain: async (store) => await store.removeDomain('signs', 'night')
}

describe('a connection that is lost', () => {
  for (const [name, change] of Object.entries(STEPS)) {
    it(`at any step of ${name} leaves it whole or not at all, and the caller knows which`, async (t) => {
      const { proxy, store, direct, open } = await behindProxy(t, 60_000)
      await fill(direct)
      let turn = 0
      let answered = 0
      for (let cutAt = 1, isThrough = false; !isThrough; cutAt++) {
        for (const verdict of ['cut-before', 'cut-after'] as const) {
          if (direct.domain('signs', 'night') === undefined) await direct.publish('signs', 'night', newVersion('anew'))
          await direct.catchUp()
          const before = plain(await snapshot(direct))
          let pieces = 0
          proxy.judge = () => ++pieces === cutAt ? verdict : 'pass'
          const told = await change(store, ++turn).then(() => 'done', (error: unknown) => error)
          isThrough = pieces < cutAt
          proxy.judge = () => 'pass'
          await direct.catchUp()
          const after = plain(await snapshot(direct))
          if (told === 'done') {
            answered++
            assert.ok(!isDeepStrictEqual(after, before), `cut at ${cutAt}: what was acknowledged is there`)
          } else {
            hasCode('STORE_UNWRITABLE')(told)
            assert.deepEqual(after, before, `cut at ${cutAt}: what was refused has not happened`)
          }
          assert.deepEqual(plain(await snapshot((await open()).store)), after)
        }
      }
      // Among them the one whose commit was done and whose answer was lost.
      assert.ok(answered > 2)
    })
  }

  it('and a database that stays away leave it open whether a change has happened, and say so', async (t) => {
    const { proxy, store, direct } = await behindProxy(t, 60_000)
    await fill(direct)
    proxy.judge = (piece) => {
      if (!piece.includes('COMMIT\0')) return 'pass'
      proxy.cut()
      return 'cut-before'
    }
    await assert.rejects(store.activate('signs', 'night', 1), hasCode('STORE_UNWRITABLE', { isUnknown: true }))
    proxy.judge = () => 'pass'
    proxy.mend()
    const { active } = await store.mark('signs', 'night', { kind: 'label', label: 'seen', version: 1 })
    await direct.catchUp()
    assert.equal(direct.domain('signs', 'night')!.active, active)
  })
})
