/** A store that moves between files and PostgreSQL: by one archive, whole, and refused whole. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { exportStore } from '#src/store/file/export-store.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { importStore } from '#src/store/file/import-store.js'
import { exportDatabase, importDatabase } from '#src/store/postgres/move.js'
import { sha256 } from '#src/base/digest.js'
import type { BankStore } from '#src/store/bank-store.js'
import { plain } from './contract.js'
import { newPlace, postgres } from './fixtures/databases.js'
import { fill, newGate, newVersion } from './fixtures/operations.js'
import { snapshot } from './fixtures/snapshot.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'

async function archived (write: (target: Writable) => Promise<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = []
  await write(new Writable({
    write (chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    }
  }))
  return Buffer.concat(chunks)
}

const ofFolder = (folder: string) => archived((target) => exportStore(folder, target))
const ofDatabase = (url: string) => archived((target) => exportDatabase(url, target))

/** All that a store can hold: versions, marks, gates, memories, and the numbers of a domain that is gone. */
async function fillWholly (store: BankStore): Promise<void> {
  await fill(store)
  await store.mark('signs', 'night', { kind: 'label', label: 'next', version: 3 })
  await store.mark('signs', 'night', { kind: 'canary', candidate: { version: 3, percent: 12.5 } })
  await store.setGate('signs', 'night', { ...newGate('night gate'), absolute: 1e-7, relative: 0.1 })
  await store.removeVersion('signs', 'night', 1)
  await store.publish('plates', 'fog', newVersion('fog', {
    description: 'a line\u2028, a \u0000, half a \ud800 and a 🚦', preprocessing: { mean: [0.1, 1e-300], size: { width: 1, height: 2 } }
  }))
  await store.publish('plates', 'gone', newVersion('gone'))
  await store.removeDomain('plates', 'gone')
  await store.rememberShipped('signs', 'day', { files: [sha256('a'), sha256('b')], revision: 3 })
}

async function both (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'store')
  const { store } = await openFileStore(folder)
  await fillWholly(store)
  const place = await newPlace(t)
  return { folder, store, ...place }
}

test('files, a database and files again hold the same to the byte', async (t) => {
  const { folder, store, url, open } = await both(t)
  const archive = await ofFolder(folder)
  const report = { domains: 3, versions: 4, unchanged: 0 }
  assert.deepEqual(await importDatabase(url, Readable.from([archive]), { isReplacing: false }), report)
  const { store: moved } = await open()
  assert.deepEqual(plain(await snapshot(moved)), plain(await snapshot(store)))
  assert.deepEqual(await moved.shipped('signs', 'day'), await store.shipped('signs', 'day'))
  assert.ok((await ofDatabase(url)).equals(archive), 'the database gives the archive of the files')
  const back = join(await temporaryFolder(t), 'store')
  assert.deepEqual(await importStore(back, Readable.from([await ofDatabase(url)]), { isReplacing: false }), report)
  assert.ok((await ofFolder(back)).equals(archive))
  // Numbers go on where they were, those of a removed domain too.
  assert.equal((await moved.publish('plates', 'gone', newVersion('again'))).active, 2)
  assert.equal((await moved.publish('signs', 'night', newVersion('four'))).active, 4)
})

test('an import that is done again changes nothing, and one that differs is refused but for --replace', async (t) => {
  const { folder, store, url, open } = await both(t)
  const { store: other } = await open()
  const archive = await ofFolder(folder)
  await importDatabase(url, Readable.from([archive]), { isReplacing: false })
  assert.equal((await importDatabase(url, Readable.from([archive]), { isReplacing: false })).unchanged, 3)
  await other.catchUp()
  await other.activate('signs', 'night', 3)
  await other.setGate('plates', 'fog', newGate('a gate'))
  await other.publish('plates', 'own', newVersion('own'))
  const before = plain(await snapshot(other))
  await assert.rejects(importDatabase(url, Readable.from([archive]), { isReplacing: false }), hasCode('DOMAIN_EXISTS'))
  await other.catchUp()
  assert.deepEqual(plain(await snapshot(other)), before)
  const { revision } = other.domain('signs', 'night')!
  assert.equal((await importDatabase(url, Readable.from([archive]), { isReplacing: true })).unchanged, 1)
  await other.catchUp()
  assert.deepEqual(plain({ ...other.domain('signs', 'night'), revision: 0 }), plain({ ...store.domain('signs', 'night'), revision: 0 }))
  assert.equal(other.domain('signs', 'night')!.revision, revision + 1, 'no revision comes twice')
  assert.equal(other.domain('plates', 'fog')!.gate, undefined)
  assert.equal(other.domain('plates', 'own')!.active, 1)
})

test('an archive that is damaged anywhere is refused whole', async (t) => {
  const { folder, url, open } = await both(t)
  const archive = await ofFolder(folder)
  const { store } = await open()
  for (const spoil of [
    (bytes: Buffer) => bytes.subarray(0, bytes.length / 2),
    (bytes: Buffer) => bytes.subarray(0, bytes.length - 4096),
    (bytes: Buffer) => {
      bytes[bytes.indexOf('night three ') + 2]! ^= 1
      return bytes
    }
  ]) {
    await assert.rejects(importDatabase(url, Readable.from([spoil(Buffer.from(archive))]), { isReplacing: true }), hasCode('SNAPSHOT_INVALID'))
    await store.catchUp()
    assert.deepEqual(store.domains('signs'), [])
  }
})

test('an export of damaged rows is refused, and what a newer server wrote is left out and told', async (t) => {
  const { url, open } = await both(t)
  const { store } = await open()
  await fillWholly(store)
  const sql = async (text: string) => await (await postgres()).ask(url, text)
  await sql('UPDATE bankswitch_domains SET pointer = jsonb_set(pointer::jsonb, \'{later}\', \'1\')::json WHERE domain = \'day\'')
  let told: unknown
  await archived(async (target) => { told = await exportDatabase(url, target) })
  assert.deepEqual((told as { leftOut: Array<{ path: string }> }).leftOut.map(({ path }) => path), ['signs/day'])
  await sql("UPDATE bankswitch_versions SET file = set_byte(file, 1, 255) WHERE domain = 'fog'")
  await assert.rejects(ofDatabase(url), hasCode('STORE_CORRUPT'))
})
