/** Marks and gates in a store on disk. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { openFileStore } from '#src/store/file-store.js'
import { gateFileName } from '#src/store/pointer-file.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { flipBit } from './fixtures/damage.js'
import { fileOf, fillStore, newGate, newVersion } from './fixtures/operations.js'
import { assertTidy, filesBelow, reopen } from './fixtures/snapshot.js'

test('marks and gates are there after a restart', async (t) => {
  const folder = await temporaryFolder(t)
  await fillStore(folder)
  const { store } = await openFileStore(folder)
  await store.mark('signs', 'night', { kind: 'canary', candidate: { version: 3, percent: 5 } })
  const set = await store.setGate('signs', 'night', newGate('gate'))
  assert.deepEqual([set.gate!.bytes, set.gate!.rows, set.gate!.absolute], [fileOf('gate').length, 2, 0.5])
  const { held, store: again } = await reopen(folder)
  assert.deepEqual(again.domain('signs', 'night'), set)
  assert.deepEqual(Buffer.from(await again.readGate('signs', 'night')), Buffer.from(fileOf('gate')))
  await assertTidy(folder, held)
})

test('a gate replaces the one before; the same one may come again', async (t) => {
  const folder = await temporaryFolder(t)
  await fillStore(folder)
  const { store } = await openFileStore(folder)
  await store.setGate('signs', 'day', newGate('new'))
  await store.setGate('signs', 'day', newGate('new'))
  assert.equal(sha256(await store.readGate('signs', 'day')), sha256(fileOf('new')))
  await assertTidy(folder, (await reopen(folder)).held)
  await store.removeGate('signs', 'day')
  await assert.rejects(store.readGate('signs', 'day'), hasCode('GATE_NOT_FOUND'))
  await assert.rejects(store.removeGate('signs', 'day'), hasCode('GATE_NOT_FOUND'))
  await assert.rejects(store.setGate('signs', 'dusk', newGate('x')), hasCode('DOMAIN_NOT_FOUND'))
  await assert.rejects(store.setGate('signs', 'day', newGate('x'), 1), hasCode('PRECONDITION_FAILED'))
  await assertTidy(folder, (await reopen(folder)).held)
})

test('what has not passed the gate of now is refused, and a version that is only stored is not', async (t) => {
  const folder = await temporaryFolder(t)
  await fillStore(folder)
  const { store } = await openFileStore(folder)
  const passed = store.domain('signs', 'day')!.gate!.sha256
  const refused = hasCode('STORE_CHANGED')
  await store.publish('signs', 'day', newVersion('day two', { isActivated: false, passed: null }))
  const before = store.domain('signs', 'day')
  await assert.rejects(store.publish('signs', 'day', newVersion('day three', { passed: null })), refused)
  await assert.rejects(store.activate('signs', 'day', 2, undefined, null), refused)
  await assert.rejects(store.mark('signs', 'day', { kind: 'label', label: 'x', version: 2 }, undefined, null), refused)
  assert.deepEqual(store.domain('signs', 'day'), before)
  await store.activate('signs', 'day', 2, undefined, passed)
  await assert.rejects(store.rollBack('signs', 'day', undefined, sha256('another')), refused)
  assert.equal((await store.rollBack('signs', 'day', undefined, passed)).active, 1)
})

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
