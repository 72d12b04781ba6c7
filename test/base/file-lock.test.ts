import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { tryFileLock, withFileLock, type LockAttempt } from '#src/base/file-lock.js'
import { temporaryFolder } from '../support/folders.js'

const MODULE = new URL(import.meta.resolve('#src/base/file-lock.js')).href

function taken (attempt: LockAttempt) {
  assert.ok(attempt.isTaken)
  return attempt
}

test('one has it, the other is told who; given back, it leaves nothing', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'lock')
  const first = taken(await tryFileLock(path))
  for (const attempt of [await tryFileLock(path), await tryFileLock(path)]) {
    assert.ok(!attempt.isTaken)
    assert.deepEqual({ ...attempt.owner, since: '' }, { pid: process.pid, host: hostname(), since: '' })
    assert.ok(Date.parse(attempt.owner!.since) <= Date.now())
  }
  await first.release()
  assert.deepEqual(await readdir(folder), [])
  const second = taken(await tryFileLock(path))
  // Once more by the first takes nothing from the second.
  await first.release()
  assert.equal((await tryFileLock(path)).isTaken, false)
  await second.release()
})

test('it ends with its process, however that ends, whatever the file says', async (t) => {
  const path = join(await temporaryFolder(t), 'lock')
  const child = spawn(process.execPath, ['--input-type=module', '-e', `
    import { tryFileLock } from ${JSON.stringify(MODULE)}
    console.log((await tryFileLock(${JSON.stringify(path)})).isTaken)
    setInterval(() => {}, 1000)
  `], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  assert.equal(String(await once(child.stdout, 'data')), 'true\n')
  const refused = await tryFileLock(path)
  assert.ok(!refused.isTaken)
  assert.equal(refused.owner!.pid, child.pid)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const left = await readFile(path, 'utf8')
  assert.match(left, new RegExp(`"pid":${child.pid}`))
  // As in another container: a process of that number lives, and has nothing to do with the lock.
  await writeFile(path, left.replace(String(child.pid), String(process.pid)))
  await taken(await tryFileLock(path)).release()
})

test('a file that was removed under its owner is nobody\'s: the next one makes a new one, and both know their own', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'lock')
  let inside = 0
  let most = 0
  await Promise.all(Array.from({ length: 12 }, () => withFileLock(path, async () => {
    most = Math.max(most, ++inside)
    await new Promise(setImmediate)
    inside--
  })))
  assert.deepEqual([inside, most, await readdir(folder)], [0, 1, []])
})

for (const [what, content] of [['nothing', ''], ['no JSON', '{'], ['null', 'null'], ['strange types', '{"pid":"1","host":2,"since":[]}']] as const) {
  test(`an owner is not told from ${what}`, async (t) => {
    const path = join(await temporaryFolder(t), 'lock')
    const { release } = taken(await tryFileLock(path))
    await writeFile(path, content)
    assert.deepEqual(await tryFileLock(path), { isTaken: false, owner: undefined })
    await release()
  })
}

test('what fails inside gives the lock back; a folder that is not there is an error, not a wait', async (t) => {
  const folder = await temporaryFolder(t)
  await assert.rejects(withFileLock(join(folder, 'lock'), async () => { throw new Error('work') }), /work/)
  assert.deepEqual(await readdir(folder), [])
  await assert.rejects(withFileLock(join(folder, 'missing/lock'), async () => {}), { code: 'ENOENT' })
  await rm(folder, { recursive: true })
})
