import assert from 'node:assert/strict'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { openFileStore } from '#src/store/file-store.js'
import { sha256 } from '#src/base/digest.js'
import type { BankStore, ExpectedRevision } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { flipBit, versionPath } from './fixtures/damage.js'
import { interceptFileSystem } from './fixtures/file-system-calls.js'
import { fileOf, fillStore, newVersion, NOW } from './fixtures/operations.js'
import { assertTidy, reopen, snapshot } from './fixtures/snapshot.js'

async function emptyStore (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'domains')
  return { folder, store: (await openFileStore(folder, { now: () => NOW })).store }
}

async function filledStore (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'domains')
  await fillStore(folder)
  return { folder, store: (await openFileStore(folder, { now: () => NOW })).store }
}

/** Memory and a fresh look at the disk agree, and nothing lies about. */
async function assertDurable (folder: string, store: BankStore): Promise<void> {
  const { held } = await reopen(folder)
  assert.deepEqual(JSON.parse(JSON.stringify(held)), JSON.parse(JSON.stringify(await snapshot(store))))
  await assertTidy(folder, held)
}

test('a first publish makes a domain with its version', async (t) => {
  const { folder, store } = await emptyStore(t)
  const added = newVersion('one', { source: 'calibration', description: 'dark' })
  const record = await store.publish('signs', 'night', added)
  assert.deepEqual([record.domain, record.description, record.revision], ['night', 'dark', 1])
  assert.deepEqual([record.active, record.previous], [1, []])
  assert.deepEqual(record.versions, [{
    version: 1,
    sha256: sha256(fileOf('one')),
    bytes: fileOf('one').length,
    digest: sha256('one'),
    fingerprint: sha256('fingerprint'),
    source: 'calibration',
    createdAt: '2024-01-01T00:00:00.000Z'
  }])
  assert.deepEqual(store.domain('signs', 'night'), record)
  await assertDurable(folder, store)
})

test('a version can be stored without being activated', async (t) => {
  const { folder, store } = await emptyStore(t)
  assert.equal((await store.publish('signs', 'night', newVersion('one', { isActivated: false }))).active, null)
  assert.equal((await store.publish('signs', 'night', newVersion('two'))).active, 2)
  assert.equal((await store.publish('signs', 'night', newVersion('three', { isActivated: false }))).active, 2)
  await assertDurable(folder, store)
})

test('domains come in the order of their names, each model its own', async (t) => {
  const { store } = await emptyStore(t)
  for (const domain of ['b', 'c', 'a']) await store.publish('signs', domain, newVersion(domain))
  await store.publish('plates', 'z', newVersion('z'))
  assert.deepEqual(store.domains('signs').map(({ domain }) => domain), ['a', 'b', 'c'])
  assert.deepEqual(store.domains('plates').map(({ domain }) => domain), ['z'])
  assert.deepEqual(store.domains('faces'), [])
  assert.equal(store.domain('faces', 'a'), undefined)
  assert.equal(store.domain('plates', 'a'), undefined)
})

test('activating, rolling back and removing last over a restart', async (t) => {
  const { folder, store } = await filledStore(t)
  assert.equal((await store.activate('signs', 'night', 3)).active, 3)
  await assertDurable(folder, store)
  assert.equal((await store.rollBack('signs', 'night')).active, 2)
  assert.equal((await store.rollBack('signs', 'night')).active, 1)
  await assertDurable(folder, store)
  await store.removeVersion('signs', 'night', 2)
  await assertDurable(folder, store)
  await store.removeDomain('signs', 'night')
  assert.equal(store.domain('signs', 'night'), undefined)
  assert.deepEqual(await readdir(join(folder, 'signs')), ['day'])
  await assertDurable(folder, store)
})

test('a record that was given out stays as it was', async (t) => {
  const { store } = await filledStore(t)
  const record = store.domain('signs', 'night')!
  const copy = structuredClone(record)
  await store.publish('signs', 'night', newVersion('four'))
  await store.removeVersion('signs', 'night', 1)
  assert.deepEqual(record, copy)
})

test('a number is not given twice, though the highest version was removed and the store restarted', async (t) => {
  const { folder, store } = await filledStore(t)
  await store.removeVersion('signs', 'night', 3)
  const { versions } = await store.publish('signs', 'night', newVersion('four'))
  assert.deepEqual(versions.map(({ version }) => version), [1, 2, 4])
  await store.rollBack('signs', 'night')
  await store.removeVersion('signs', 'night', 4)
  const { store: restarted } = await openFileStore(folder)
  assert.equal((await restarted.publish('signs', 'night', newVersion('five'))).active, 5)
})

test('a refused publish takes no number and leaves no file', async (t) => {
  const { folder, store } = await filledStore(t)
  await assert.rejects(store.publish('signs', 'night', newVersion('four'), 99), hasCode('PRECONDITION_FAILED'))
  await assertDurable(folder, store)
  assert.equal((await store.publish('signs', 'night', newVersion('four'))).active, 4)
})

test('the same bytes can be published again', async (t) => {
  const { folder, store } = await emptyStore(t)
  await store.publish('signs', 'night', newVersion('same'))
  await store.publish('signs', 'night', newVersion('same'))
  await store.removeVersion('signs', 'night', 1)
  assert.deepEqual(Buffer.from(await store.read('signs', 'night', 2)), fileOf('same'))
  await assertDurable(folder, store)
})

test('what is not there is told by name', async (t) => {
  const { store } = await filledStore(t)
  for (const change of [
    () => store.activate('signs', 'fog', 1), () => store.rollBack('signs', 'fog'),
    () => store.removeVersion('signs', 'fog', 1), () => store.removeDomain('signs', 'fog'),
    () => store.read('plates', 'night', 1)
  ]) await assert.rejects(change(), hasCode('DOMAIN_NOT_FOUND'))
  for (const change of [
    () => store.activate('signs', 'night', 4), () => store.removeVersion('signs', 'night', 4),
    () => store.read('signs', 'night', 4)
  ]) await assert.rejects(change(), hasCode('VERSION_NOT_FOUND', { expected: [1, 2, 3], received: 4 }))
  await assert.rejects(store.removeVersion('signs', 'night', 2), hasCode('VERSION_ACTIVE'))
  await assert.rejects(store.rollBack('signs', 'day'), hasCode('ROLLBACK_IMPOSSIBLE'))
})

/** Every change of domain `night` in a filled store, where its revision is 3. */
const CHANGES: Record<string, (store: BankStore, expected?: ExpectedRevision) => Promise<unknown>> = {
  publish: (store, expected) => store.publish('signs', 'night', newVersion('four'), expected),
  activate: (store, expected) => store.activate('signs', 'night', 3, expected),
  rollBack: (store, expected) => store.rollBack('signs', 'night', expected),
  removeVersion: (store, expected) => store.removeVersion('signs', 'night', 3, expected),
  removeDomain: (store, expected) => store.removeDomain('signs', 'night', expected)
}

for (const [name, change] of Object.entries(CHANGES)) {
  test(`${name} happens at the expected revision only`, async (t) => {
    const { folder, store } = await filledStore(t)
    for (const expected of [0, 2, 4]) {
      await assert.rejects(change(store, expected), hasCode('PRECONDITION_FAILED', { expected, received: 3 }))
    }
    assert.equal(store.domain('signs', 'night')?.revision, 3)
    await assertDurable(folder, store)
    await change(store, 3)
    assert.equal(store.domain('signs', 'night')?.revision, name === 'removeDomain' ? undefined : 4)
    await assertDurable(folder, store)
  })
}

test('revision 0 expects a domain that does not exist', async (t) => {
  const { store } = await filledStore(t)
  await assert.rejects(store.publish('signs', 'fog', newVersion('fog'), 1), hasCode('PRECONDITION_FAILED', {
    expected: 1, received: 0
  }))
  assert.equal((await store.publish('signs', 'fog', newVersion('fog'), 0)).revision, 1)
  await assert.rejects(store.publish('signs', 'fog', newVersion('fog'), 0), hasCode('PRECONDITION_FAILED'))
})

test('of changes that expect the same revision one happens', async (t) => {
  const { folder, store } = await filledStore(t)
  const results = await Promise.allSettled(
    Array.from({ length: 5 }, (_, index) => store.publish('signs', 'night', newVersion(`try ${index}`), 3))
  )
  assert.deepEqual(results.map(({ status }) => status), ['fulfilled', ...Array(4).fill('rejected')])
  for (const result of results.slice(1)) hasCode('PRECONDITION_FAILED')((result as PromiseRejectedResult).reason)
  assert.equal(store.domain('signs', 'night')!.versions.length, 4)
  await assertDurable(folder, store)
})

test('publishes at the same time all succeed, each with its own number', async (t) => {
  const { folder, store } = await emptyStore(t)
  const texts = Array.from({ length: 12 }, (_, index) => `bank ${index}`)
  const records = await Promise.all(texts.map((text) => store.publish('signs', 'night', newVersion(text))))
  assert.deepEqual(records.map(({ active }) => active), texts.map((_, index) => index + 1))
  for (const [index, text] of texts.entries()) {
    assert.deepEqual(Buffer.from(await store.read('signs', 'night', index + 1)), fileOf(text))
  }
  await assertDurable(folder, store)
})

test('first publishes of several domains and models at the same time all succeed', async (t) => {
  const { folder, store } = await emptyStore(t)
  const domains = ['day', 'night', 'fog']
  const places = ['signs', 'plates'].flatMap((model) => domains.map((domain) => [model, domain] as const))
  await Promise.all(places.map(([model, domain]) => store.publish(model, domain, newVersion(`${model} ${domain}`))))
  for (const [model, domain] of places) assert.equal(store.domain(model, domain)?.active, 1)
  await assertDurable(folder, store)
})

test('a change that fails does not hold up the next one', async (t) => {
  const { store } = await filledStore(t)
  const failing = store.activate('signs', 'night', 99)
  const next = store.activate('signs', 'night', 3)
  await assert.rejects(failing, hasCode('VERSION_NOT_FOUND'))
  assert.equal((await next).active, 3)
})

test('records change when the disk has, and domains do not wait for each other', async (t) => {
  const { store } = await filledStore(t)
  let arrive: () => void, proceedNow: () => void
  const arrived = new Promise<void>((resolve) => { arrive = resolve })
  const gate = new Promise<void>((resolve) => { proceedNow = resolve })
  const restore = await interceptFileSystem(async ({ name, rest }, proceed) => {
    if (name === 'rename' && String(rest[0]).endsWith('night/domain.json')) {
      arrive()
      await gate
    }
    return await proceed()
  })
  t.after(restore)
  const change = store.activate('signs', 'night', 3)
  await arrived
  assert.equal(store.domain('signs', 'night')?.active, 2)
  assert.equal((await store.publish('signs', 'day', newVersion('day two'))).active, 2)
  assert.deepEqual(Buffer.from(await store.read('signs', 'night', 1)), fileOf('night one'))
  assert.equal(store.domain('signs', 'night')?.active, 2)
  proceedNow!()
  await change
  assert.equal(store.domain('signs', 'night')?.active, 3)
})

test('reading verifies the digest', async (t) => {
  const { folder, store } = await filledStore(t)
  const path = join(folder, versionPath(store, 'signs', 'night', 2))
  assert.deepEqual(Buffer.from(await store.read('signs', 'night', 2)), fileOf('night two'))
  await flipBit(path)
  await assert.rejects(store.read('signs', 'night', 2), hasCode('STORE_CORRUPT', { version: 2 }))
  await rm(path)
  await assert.rejects(store.read('signs', 'night', 2), hasCode('STORE_CORRUPT', { version: 2 }))
  assert.deepEqual(Buffer.from(await store.read('signs', 'night', 1)), fileOf('night one'))
})

for (const [name, change] of Object.entries(CHANGES)) {
  test(`${name} on a broken disk says so, and goes through when it is well again`, async (t) => {
    const { folder, store } = await filledStore(t)
    const place = join(folder, 'signs/night')
    const aside = join(folder, 'aside')
    await rename(place, aside)
    await writeFile(place, 'a file where a folder should be')
    await assert.rejects(change(store), hasCode('STORE_UNWRITABLE'))
    assert.equal(store.domain('signs', 'night')?.revision, 3)
    await rm(place)
    await rename(aside, place)
    await change(store)
    await assertDurable(folder, store)
  })

  test(`${name} over a pointer that went bad meanwhile is refused`, async (t) => {
    const { folder, store } = await filledStore(t)
    const path = join(folder, 'signs/night/domain.json')
    await flipBit(path)
    const spoilt = await readFile(path)
    await assert.rejects(change(store), hasCode('STORE_CORRUPT'))
    assert.deepEqual(await readFile(path), spoilt)
  })
}

test('a first publish into a folder that is a file is refused, and the store goes on', async (t) => {
  const { folder, store } = await emptyStore(t)
  await writeFile(join(folder, 'signs'), '')
  await assert.rejects(store.publish('signs', 'night', newVersion('one')), hasCode('STORE_UNWRITABLE'))
  assert.deepEqual(store.domains('signs'), [])
  assert.equal((await store.publish('plates', 'night', newVersion('one'))).active, 1)
})

test('a mistake in the program is not taken for a broken disk', async (t) => {
  const { folder } = await emptyStore(t)
  const { store } = await openFileStore(folder, { now: () => NaN })
  await assert.rejects(store.publish('signs', 'night', newVersion('one')), RangeError)
})
