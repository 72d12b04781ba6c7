import assert from 'node:assert/strict'
import { readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { withFileLease } from '#src/base/file-lease.js'
import { temporaryFolder } from '../support/folders.js'

test('the file is there while the work lasts, and gone after it succeeded or failed', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'lease')
  assert.equal(await withFileLease(path, {}, async () => (await stat(path)).isFile()), true)
  await assert.rejects(withFileLease(path, {}, async () => { throw new Error('work') }), /work/)
  assert.deepEqual(await readdir(folder), [])
})

test('one after another', async (t) => {
  const path = join(await temporaryFolder(t), 'lease')
  let inside = 0
  let waited = 0
  const works = Array.from({ length: 4 }, () => withFileLease(path, { onWaiting: () => { waited++ } }, async () => {
    assert.equal(++inside, 1)
    await new Promise(setImmediate)
    inside--
  }))
  await Promise.all(works)
  assert.ok(waited >= 1)
})

test('a file that nobody touched for a while belongs to nobody', async (t) => {
  const path = join(await temporaryFolder(t), 'lease')
  await writeFile(path, '')
  const minuteAgo = Date.now() / 1000 - 60
  await utimes(path, minuteAgo, minuteAgo)
  assert.equal(await withFileLease(path, { onWaiting: () => assert.fail('waited for a dead process') }, async () => 1), 1)
})

test('a folder that is not there is an error, not a wait', async (t) => {
  const path = join(await temporaryFolder(t), 'missing', 'lease')
  await assert.rejects(withFileLease(path, {}, async () => {}), { code: 'ENOENT' })
})
