/** The store on files: the contract, and what only files can do. */
import assert from 'node:assert/strict'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { openFileStore } from '#src/store/file/file-store.js'
import { gateFileName } from '#src/store/file/pointer-file.js'
import type { BankStore } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { CHANGES, storeContract } from './contract.js'
import { flipBit, versionPath } from './fixtures/damage.js'
import { interceptFileSystem } from './fixtures/file-system-calls.js'
import { fileOf, fillStore, newGate, newVersion, NOW } from './fixtures/operations.js'
import { assertTidy, filesBelow, reopen, snapshot } from './fixtures/snapshot.js'

storeContract('the store on files', async (t) => {
  const folder = join(await temporaryFolder(t), 'store')
  return {
    open: async () => {
      const { store, report } = await openFileStore(folder, { now: () => NOW })
      assert.deepEqual(report.removed, [], 'no change leaves anything to clean')
      return store
    },
    assertTidy: async (store) => await assertTidy(folder, await snapshot(store))
  }
})

async function emptyStore (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'store')
  return { folder, store: (await openFileStore(folder, { now: () => NOW })).store }
}

async function filledStore (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'store')
  await fillStore(folder)
  return { folder, store: (await openFileStore(folder, { now: () => NOW })).store }
}

/** Memory and a fresh look at the disk agree, and nothing lies about. */
async function assertDurable (folder: string, store: BankStore): Promise<void> {
  const { held } = await reopen(folder)
  assert.deepEqual(JSON.parse(JSON.stringify(held)), JSON.parse(JSON.stringify(await snapshot(store))))
  await assertTidy(folder, held)
}

test('a domain that is removed leaves nothing in its model', async (t) => {
  const { folder, store } = await filledStore(t)
  await store.removeDomain('signs', 'night')
  assert.deepEqual(await readdir(join(folder, 'signs')), ['day'])
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

for (const [what, change] of Object.entries<(store: BankStore, number: number) => Promise<unknown>>({
  'a gate': (store, absolute) => store.setGate('signs', 'night', { ...newGate('gate'), absolute }),
  'a share': (store, percent) => store.mark('signs', 'night', { kind: 'canary', candidate: { version: 3, percent } }),
  'a preprocessing': (store, mean) => store.publish('signs', 'night', newVersion('four', { preprocessing: { mean: [mean] } })),
  'a first version': (store, mean) => store.publish('signs', 'fog', newVersion('fog', { preprocessing: { mean } }))
})) {
  test(`${what} with a number that JSON cannot hold is refused, and nothing of it is left`, async (t) => {
    const { folder, store } = await filledStore(t)
    const before = await snapshot(store)
    for (const number of [Infinity, -Infinity, NaN]) await assert.rejects(change(store, number))
    assert.deepEqual(await snapshot(store), before)
    const { held, report } = await reopen(folder)
    assert.deepEqual(report.quarantined, [])
    assert.deepEqual(JSON.parse(JSON.stringify(held)), JSON.parse(JSON.stringify(before)))
    await change(store, -0)
    await assertDurable(folder, store)
  })
}

test('a gate that is damaged or lost keeps the door shut until it is set anew or removed', async (t) => {
  const folder = await temporaryFolder(t)
  await fillStore(folder)
  const { store } = await openFileStore(folder)
  const path = join('signs/day', gateFileName(store.domain('signs', 'day')!.gate!))
  await flipBit(join(folder, path))
  await assert.rejects(store.readGate('signs', 'day'), hasCode('STORE_CORRUPT'))
  const { store: after, report } = await openFileStore(folder)
  assert.deepEqual(report.quarantined, [{ path, reason: 'its digest is wrong' }])
  assert.ok(after.domain('signs', 'day')!.gate !== undefined)
  await assert.rejects(after.readGate('signs', 'day'), hasCode('STORE_CORRUPT'))
  await after.setGate('signs', 'day', newGate('anew'))
  await rm(join(folder, 'signs/day', gateFileName(after.domain('signs', 'day')!.gate!)))
  const { store: last } = await openFileStore(folder)
  await assert.rejects(last.readGate('signs', 'day'), hasCode('STORE_CORRUPT'))
  await last.removeGate('signs', 'day')
  assert.ok(!(await filesBelow(folder)).some((name) => name.includes('gate-')))
})
