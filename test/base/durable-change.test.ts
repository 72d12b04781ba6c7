/** The same changes made call by call, at once, and in the thread. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { DiskThread } from '#src/base/disk-thread.js'
import { ASYNCHRONOUS_DISK, DiskLost, FileChanged, makeChange, type Disk, type Step } from '#src/base/durable-change.js'
import { hasErrno } from '#src/base/errors.js'
import { BLOCKING_CALLS, SYNCING_CALLS } from '#src/base/file-calls.js'
import { temporaryFolder } from '../support/folders.js'

const write = (path: string, text: string): Step => ({ kind: 'write', path, bytes: Buffer.from(text) })
const expectText = (path: string, text?: string): Step => {
  return { kind: 'expect', path, digest: text === undefined ? undefined : sha256(text) }
}

const DISKS: Record<string, (t: TestContext) => Disk> = {
  'call by call': () => ASYNCHRONOUS_DISK,
  'at once': () => ({ change: (steps) => makeChange(steps, BLOCKING_CALLS) }),
  'at once but for syncs': () => ({ change: (steps) => makeChange(steps, SYNCING_CALLS) }),
  'in the thread': (t) => {
    const disk = new DiskThread()
    t.after(() => disk.close())
    return disk
  }
}

for (const [how, open] of Object.entries(DISKS)) {
  describe(`changes made ${how}`, () => {
    test('hold their files when they are told, and nothing else is left', async (t) => {
      const disk = open(t)
      const folder = await temporaryFolder(t)
      const [bank, pointer, log] = ['bank', 'pointer', 'log'].map((name) => join(folder, name)) as [string, string, string]
      await disk.change([expectText(pointer), write(bank, 'first'), write(pointer, 'one')])
      const large = Buffer.alloc(3_000_001, 'abc')
      const view = large.subarray(1, 3_000_000)
      await disk.change([expectText(pointer, 'one'), { kind: 'write', path: bank, bytes: view }, write(pointer, 'two')])
      assert.ok(view.equals(await readFile(bank)))
      assert.equal(large.length, 3_000_001)
      assert.equal(await readFile(pointer, 'utf8'), 'two')
      await disk.change([{ kind: 'append', path: log, lines: 'a\nb\n' }])
      await disk.change([{ kind: 'append', path: log, lines: 'c\n' }])
      assert.equal(await readFile(log, 'utf8'), 'a\nb\nc\n')
      assert.equal((await stat(log)).mode & 0o777, 0o600)
      assert.deepEqual(await readdir(folder), ['bank', 'log', 'pointer'])
    })

    test('end at a file that holds something else, which stays', async (t) => {
      const disk = open(t)
      const folder = await temporaryFolder(t)
      const pointer = join(folder, 'pointer')
      await writeFile(pointer, 'mended by hand')
      const change = [expectText(pointer, 'one'), write(join(folder, 'bank'), 'x'), write(pointer, 'two')]
      await assert.rejects(disk.change(change), FileChanged)
      await assert.rejects(disk.change([expectText(pointer), write(pointer, 'two')]), FileChanged)
      assert.deepEqual(await readdir(folder), ['pointer'])
      assert.equal(await readFile(pointer, 'utf8'), 'mended by hand')
    })

    test('reject with the errno error, and leave no temporary file', async (t) => {
      const disk = open(t)
      const folder = await temporaryFolder(t)
      await mkdir(join(folder, 'taken', 'inside'), { recursive: true })
      const into = write(join(folder, 'taken'), 'a folder is there')
      const failed = (thrown: unknown) => hasErrno(thrown, 'EISDIR', 'ENOTEMPTY', 'EEXIST') && 'syscall' in (thrown as Error)
      await assert.rejects(disk.change([into, write(join(folder, 'later'), 'x')]), failed)
      await assert.rejects(disk.change([write(join(folder, 'no', 'such'), 'x')]), (thrown) => hasErrno(thrown, 'ENOENT'))
      assert.deepEqual(await readdir(folder), ['taken'])
    })

    test('append on a line of their own after one that was cut off, to a new file after a rotation', async (t) => {
      const disk = open(t)
      const log = join(await temporaryFolder(t), 'below', 'log')
      await disk.change([{ kind: 'append', path: log, lines: 'whole\ncut o' }])
      await disk.change([{ kind: 'append', path: log, lines: 'next\n' }])
      await rename(log, `${log}.1`)
      await disk.change([{ kind: 'append', path: log, lines: 'new\n' }])
      assert.equal(await readFile(`${log}.1`, 'utf8'), 'whole\ncut o\nnext\n')
      assert.equal(await readFile(log, 'utf8'), 'new\n')
    })
  })
}

test('changes that come at once are all made by the thread, and it ends when it is closed', async (t) => {
  const folder = await temporaryFolder(t)
  const disk = new DiskThread()
  const changes = Array.from({ length: 60 }, (_, at) => disk.change([write(join(folder, `${at}`), `text ${at}`)]))
  await Promise.all(changes)
  assert.equal((await readdir(folder)).length, 60)
  assert.equal(await readFile(join(folder, '41'), 'utf8'), 'text 41')
  await disk.close()
})

test('changes that are under way when the thread ends are told so, and the next begins another', async (t) => {
  const folder = await temporaryFolder(t)
  const disk = new DiskThread()
  t.after(() => disk.close())
  const changes = Array.from({ length: 20 }, (_, at) => disk.change([write(join(folder, `${at}`), 'x')]))
  const settled = Promise.allSettled(changes)
  await disk.close()
  const reasons = (await settled).flatMap((result) => result.status === 'rejected' ? [result.reason as unknown] : [])
  assert.ok(reasons.length > 0)
  for (const reason of reasons) assert.ok(reason instanceof DiskLost)
  await disk.change([write(join(folder, 'next'), 'y')])
  assert.equal(await readFile(join(folder, 'next'), 'utf8'), 'y')
})
