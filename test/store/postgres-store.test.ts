/** The store in PostgreSQL: the contract, and what rows and bytes there may hold. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { CHANGES, storeContract } from './contract.js'
import { newPlace, postgres } from './fixtures/databases.js'
import { fileOf, fill, newGate, newVersion } from './fixtures/operations.js'
import { snapshot } from './fixtures/snapshot.js'
import { hasCode } from '../support/errors.js'

storeContract('the store in PostgreSQL', async (t) => {
  const place = await newPlace(t)
  return {
    open: async () => (await place.open()).store,
    assertTidy: async () => {
      const [left] = await (await postgres()).ask(place.url, `
        SELECT count(*)::int AS versions FROM bankswitch_versions v
        LEFT JOIN bankswitch_domains d ON d.model = v.model AND d.domain = v.domain AND d.pointer IS NOT NULL
        WHERE d.model IS NULL OR v.changed = 0 OR v.changed > (SELECT revision FROM bankswitch_store)`)
      const [gates] = await (await postgres()).ask(place.url, `
        SELECT count(*)::int AS gates FROM bankswitch_domains
        WHERE changed = 0 OR (gate IS NOT NULL AND pointer->'gate' IS NULL)`)
      assert.deepEqual([left, gates], [{ versions: 0 }, { gates: 0 }], 'no row that belongs to nothing')
    }
  }
})

async function filled (t: TestContext) {
  const place = await newPlace(t)
  const { store, database } = await place.open()
  await fill(store)
  const sql = async (text: string, values?: unknown[]) => await (await postgres()).ask(place.url, text, values)
  return { ...place, store, database, sql }
}

test('bytes are verified when they are read: of a version, of a gate, of a row that is gone', async (t) => {
  const { store, sql } = await filled(t)
  await sql("UPDATE bankswitch_versions SET file = set_byte(file, 7, 255) WHERE domain = 'night' AND version = 2")
  await sql("UPDATE bankswitch_versions SET file = file || '\\x00' WHERE domain = 'night' AND version = 3")
  await sql("UPDATE bankswitch_domains SET gate = substring(gate FROM 2) WHERE domain = 'day'")
  for (const version of [2, 3]) await assert.rejects(store.read('signs', 'night', version), hasCode('STORE_CORRUPT', { version }))
  await assert.rejects(store.readGate('signs', 'day'), hasCode('STORE_CORRUPT'))
  assert.deepEqual(Buffer.from(await store.read('signs', 'night', 1)), fileOf('night one'))
  await sql("DELETE FROM bankswitch_versions WHERE domain = 'night' AND version = 1")
  await assert.rejects(store.read('signs', 'night', 1), hasCode('STORE_CORRUPT', { version: 1 }))
})

test('files longer than what is read at once come back whole', async (t) => {
  const { store } = await filled(t)
  for (const length of [0, 1, 2 ** 22, 2 ** 22 + 1, 2 ** 23 + 5]) {
    const file = Buffer.alloc(length, 'some bytes of a bank')
    const { versions } = await store.publish('signs', 'night', newVersion('long', { file, isActivated: false }))
    assert.ok(Buffer.from(await store.read('signs', 'night', versions.at(-1)!.version)).equals(file), String(length))
  }
})

test('a domain whose row is unusable is refused by name, and the others served', async (t) => {
  const { sql, open, store } = await filled(t)
  await sql('UPDATE bankswitch_domains SET pointer = \'{"domain": "night", "revision": 3}\' WHERE domain = \'night\'')
  await sql('UPDATE bankswitch_domains SET pointer = jsonb_set(pointer::jsonb, \'{later}\', \'1\')::json WHERE domain = \'day\'')
  await store.publish('signs', 'fog', newVersion('fog'))
  const { store: next } = await open()
  assert.throws(() => next.domain('signs', 'night'), hasCode('STORE_CORRUPT'))
  assert.throws(() => next.domain('signs', 'day'), hasCode('STORE_FORMAT_UNKNOWN'))
  assert.deepEqual(next.domains('signs').map(({ domain }) => domain), ['fog'])
  for (const change of Object.values(CHANGES)) await assert.rejects(change(next), hasCode('STORE_CORRUPT'))
  assert.equal((await next.activate('signs', 'fog', 1)).revision, 2)
})

test('a file that the database cannot take is refused before it is sent', async (t) => {
  const { store } = await filled(t)
  const before = await snapshot(store)
  const file = { length: 2 ** 29 + 1 } as Uint8Array
  await assert.rejects(store.setGate('signs', 'night', { ...newGate('x'), file }))
  assert.deepEqual(await snapshot(store), before)
})

test('the database is told to be durable, whatever it does by default', async (t) => {
  const { database } = await filled(t)
  const told = async () => await database.transaction({}, (statements) => statements.rows<{ it: string }>("SELECT current_setting('synchronous_commit') AS it"))
  assert.deepEqual(await told(), [{ it: 'on' }])
  assert.deepEqual(await database.rows("SELECT current_setting('synchronous_commit') AS it"), [{ it: 'off' }])
})
