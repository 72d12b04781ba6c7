/**
 * Kills between any two file system calls of every change that leave the disk in different states, in the middle of
 * every write and after the last call, and looks at what the next start finds. A kill leaves whatever the kernel was
 * told; that each step also reached the disk in order is for file-store-faults.test.ts. One process for each operation
 * is killed in earnest, to show that the copies of fixtures/kill-points.ts are what a kill leaves.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { temporaryFolder } from '../support/folders.js'
import { killPointsOf } from './fixtures/kill-points.js'
import { fileOf, fillStore, NOW, OPERATIONS, type OperationName } from './fixtures/operations.js'
import { assertTidy, reopen, type Snapshot } from './fixtures/snapshot.js'

const CHILD = new URL('fixtures/crashing-child.js', import.meta.url).pathname

/** What the next start makes of a folder. */
async function heldIn (folder: string): Promise<Snapshot> {
  const { held } = await reopen(folder)
  await assertTidy(folder, held)
  return held
}

/** A copy of the template after a process was killed in earnest, and what it said. */
async function killed (template: string, folder: string, operation: OperationName, n: number): Promise<string> {
  await cp(template, folder, { recursive: true })
  const { signal, stdout, stderr } = spawnSync(process.execPath, [CHILD, folder, operation, String(n)], { encoding: 'utf8' })
  assert.equal(signal, 'SIGKILL', stderr)
  return stdout
}

/** The domain that an operation changes, and its active version afterwards, null for none; undefined for no such domain. */
const AFTERWARDS: Record<OperationName, [place: string, active: number | null | undefined]> = {
  publish: ['signs/night', 4],
  publishFirst: ['plates/fog', 1],
  activate: ['signs/night', 3],
  deactivate: ['signs/night', null],
  rollBack: ['signs/night', 1],
  removeVersion: ['signs/night', 2],
  removeDomain: ['signs/night', undefined],
  label: ['signs/night', 2],
  unlabel: ['signs/day', 1],
  canary: ['signs/night', 2],
  shadow: ['signs/night', 2],
  setGate: ['signs/night', 2],
  replaceGate: ['signs/day', 1],
  removeGate: ['signs/day', 1]
}

for (const operation of Object.keys(OPERATIONS) as OperationName[]) {
  test(`${operation}, killed at any call, leaves the old state or the new one`, async (t) => {
    const room = await temporaryFolder(t)
    const [template, changed] = [join(room, 'template'), join(room, 'changed')]
    await fillStore(template)
    const { held: before } = await reopen(template)
    const texts = ['night one', 'night two', 'night three']
    assert.deepEqual(before['signs/night']!.files, texts.map((text) => sha256(fileOf(text))))
    await cp(template, changed, { recursive: true })
    const { store } = await openFileStore(changed, { now: () => NOW })
    const points = await killPointsOf(changed, room, () => OPERATIONS[operation](store))
    const after = await heldIn(changed)

    const [place, active] = AFTERWARDS[operation]
    assert.equal(after[place]?.record.active, active)
    assert.notDeepEqual(after[place], before[place])
    const n = Math.ceil(points.before.length / 2)
    const left = join(room, 'killed')
    assert.equal(await killed(template, left, operation, n), points.before[n - 1]!.where)
    const really = await heldIn(left)

    let isDone = false
    for (const [at, { where, folder }] of points.before.entries()) {
      const held = await heldIn(folder)
      isDone ||= JSON.stringify(held) === JSON.stringify(after)
      assert.deepEqual(held, isDone ? after : before, `point ${at + 1}, ${where}`)
      for (const other of Object.keys(before)) if (other !== place) assert.deepEqual(held[other], before[other])
      if (at === n - 1) assert.deepEqual(held, really)
    }
    assert.ok(isDone && points.before.length > 2, 'some kills come before the change and some after')
    assert.deepEqual(await heldIn(points.after.folder), after)
    for (const { folder } of points.torn) assert.deepEqual(await heldIn(folder), before)
  })
}
