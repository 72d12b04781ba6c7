/**
 * Kills a process between any two file system calls of every change that leave the disk in different states, and looks
 * at what the next start finds. A kill leaves whatever the kernel was told; that each step also reached the disk in
 * order is for file-store-faults.test.ts.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { temporaryFolder } from '../support/folders.js'
import { fileOf, fillStore, OPERATIONS, type OperationName } from './fixtures/operations.js'
import { assertTidy, reopen, type Snapshot } from './fixtures/snapshot.js'

const CHILD = new URL('fixtures/crashing-child.js', import.meta.url).pathname

/** Children at a time. */
const LANES = 2

/** Nothing runs long enough in a child to be worth optimising. */
const QUICK_START = ['--no-opt', '--v8-pool-size=0']

/** What a child says that was not killed. */
const SURVIVED = /^acknowledged after (\d+) calls, (\d+) writes$/

type Mode = 'before' | 'after' | 'torn'

interface End {
  /** Where it was killed, or 0 for the survivor. */
  n: number
  /** What the child said last. */
  said: string
  held: Snapshot
}

/** Kills the operation once, in a copy of the template, and opens what is left. */
async function killOnce (
  t: TestContext, template: string, operation: OperationName, mode: Mode, n: number
): Promise<End> {
  const folder = join(await temporaryFolder(t), 'domains')
  await cp(template, folder, { recursive: true })
  const { said, isKilled } = await new Promise<{ said: string, isKilled: boolean }>((resolve, reject) => {
    execFile(process.execPath, [...QUICK_START, CHILD, folder, operation, mode, String(n)], (error, stdout, stderr) => {
      const isKilled = error?.signal === 'SIGKILL'
      if (error !== null && !isKilled) reject(new Error(`${error.message}\n${stderr}`))
      else resolve({ said: stdout.trim(), isKilled })
    })
  })
  assert.match(said, isKilled ? new RegExp(`^killed ${mode} \\S+$`) : SURVIVED)
  const { held } = await reopen(folder)
  await assertTidy(folder, held)
  return { n: isKilled ? n : 0, said, held }
}

/** Kills the operation at its 1st, 2nd, 3rd... point until it survives. */
async function sweep (
  t: TestContext, template: string, operation: OperationName
): Promise<{ kills: End[], survivor: End }> {
  const kills: End[] = []
  let survivor: End | undefined
  const failures: unknown[] = []
  let next = 1
  await Promise.all(Array.from({ length: LANES }, async () => {
    while (survivor === undefined && failures.length === 0) {
      try {
        const end = await killOnce(t, template, operation, 'before', next++)
        if (end.n === 0) survivor = end
        else kills.push(end)
      } catch (error) {
        failures.push(error)
      }
    }
  }))
  if (failures.length > 0) throw failures[0]
  return { kills: kills.sort((a, b) => a.n - b.n), survivor: survivor! }
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
    const template = join(await temporaryFolder(t), 'domains')
    await fillStore(template)
    const { held: before } = await reopen(template)
    const texts = ['night one', 'night two', 'night three']
    assert.deepEqual(before['signs/night']!.files, texts.map((text) => sha256(fileOf(text))))
    const { kills, survivor } = await sweep(t, template, operation)
    const after = survivor.held

    const [place, active] = AFTERWARDS[operation]
    assert.equal(after[place]?.record.active, active)
    assert.notDeepEqual(after[place], before[place])
    let isDone = false
    for (const { n, said, held } of kills) {
      isDone ||= JSON.stringify(held) === JSON.stringify(after)
      assert.deepEqual(held, isDone ? after : before, `point ${n}, ${said}`)
      for (const other of Object.keys(before)) if (other !== place) assert.deepEqual(held[other], before[other])
    }
    assert.ok(isDone && kills.length > 2, 'some kills come before the change and some after')

    const [, calls, writes] = SURVIVED.exec(survivor.said)!
    const last = await killOnce(t, template, operation, 'after', Number(calls))
    assert.equal(last.n, Number(calls))
    assert.deepEqual(last.held, after)

    for (let write = 1; write <= Number(writes); write++) {
      const torn = await killOnce(t, template, operation, 'torn', write)
      assert.equal(torn.n, write)
      assert.deepEqual(torn.held, before)
    }
  })
}
