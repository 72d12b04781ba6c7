/** Two stores over one folder, as when a second process is started by mistake: nothing acknowledged is overwritten. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { openFileStore } from '#src/store/file/file-store.js'
import type { BankStore } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { interceptFileSystem } from './fixtures/file-system-calls.js'
import { fileOf, fillStore, newVersion } from './fixtures/operations.js'
import { assertTidy, reopen, snapshot } from './fixtures/snapshot.js'

async function twoStores (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'domains')
  await fillStore(folder)
  const open = async () => (await openFileStore(folder)).store
  return { folder, first: await open(), second: await open() }
}

const CHANGES: Record<string, (store: BankStore) => Promise<unknown>> = {
  publish: (store) => store.publish('signs', 'night', newVersion('four')),
  activate: (store) => store.activate('signs', 'night', 3),
  rollBack: (store) => store.rollBack('signs', 'night'),
  removeVersion: (store) => store.removeVersion('signs', 'night', 1),
  removeDomain: (store) => store.removeDomain('signs', 'night')
}

for (const [name, change] of Object.entries(CHANGES)) {
  test(`${name} is refused once when the other store has changed the domain, then sees the change`, async (t) => {
    const { folder, first, second } = await twoStores(t)
    await first.publish('signs', 'night', newVersion('from the first'))
    await assert.rejects(change(second), hasCode('STORE_CHANGED', { expected: 3, received: 4 }))
    assert.deepEqual(await snapshot(second), await snapshot(first))
    await assertTidy(folder, await snapshot(first))
    await change(second)
    const { held } = await reopen(folder)
    assert.deepEqual(JSON.parse(JSON.stringify(await snapshot(second))), JSON.parse(JSON.stringify(held)))
    await assertTidy(folder, held)
  })

  test(`${name} finds that the other store has removed the domain`, async (t) => {
    const { folder, first, second } = await twoStores(t)
    await first.removeDomain('signs', 'night')
    await assert.rejects(change(second), hasCode('STORE_CHANGED', { expected: 3, received: 0 }))
    assert.equal(second.domain('signs', 'night'), undefined)
    await assertTidy(folder, await snapshot(second))
  })

  test(`${name} notices a domain that was made anew`, async (t) => {
    const { folder, first, second } = await twoStores(t)
    await first.removeDomain('signs', 'night')
    for (const text of ['new one', 'new two', 'new three']) await first.publish('signs', 'night', newVersion(text))
    await assert.rejects(change(second), hasCode('STORE_CHANGED', { expected: 3, received: 6 }))
    assert.deepEqual(await snapshot(second), await snapshot(first))
    await assertTidy(folder, await snapshot(first))
  })
}

test('both make the same domain: the second is refused and the first kept', async (t) => {
  const { folder, first, second } = await twoStores(t)
  await first.publish('signs', 'fog', newVersion('first'))
  await assert.rejects(second.publish('signs', 'fog', newVersion('second')), hasCode('STORE_CHANGED', {
    expected: 0, received: 1
  }))
  assert.deepEqual(Buffer.from(await second.read('signs', 'fog', 1)), fileOf('first'))
  await assertTidy(folder, await snapshot(second))
})

test('both publish the same bytes in the same moment: refusing the second leaves the file of the first', async (t) => {
  const { folder, first, second } = await twoStores(t)
  let isFirstDone = false
  const restore = await interceptFileSystem(async ({ name, rest }, proceed) => {
    const result = await proceed()
    if (name === 'rename' && String(rest[0]).endsWith('.safetensors') && !isFirstDone) {
      isFirstDone = true
      await first.publish('signs', 'night', newVersion('same'))
    }
    return result
  })
  t.after(restore)
  await assert.rejects(second.publish('signs', 'night', newVersion('same')), hasCode('STORE_CHANGED', {
    expected: 3, received: 4
  }))
  assert.equal(isFirstDone, true)
  assert.deepEqual(Buffer.from(await first.read('signs', 'night', 4)), fileOf('same'))
  const { held, report } = await reopen(folder)
  assert.deepEqual(report, { removed: [], quarantined: [], refused: [] })
  await assertTidy(folder, held)
})
