/** The store on a disk that fails, and the order in which its steps reach the disk. */
import assert from 'node:assert/strict'
import { cp, mkdir } from 'node:fs/promises'
import * as promises from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { test } from 'node:test'
import { makeChange } from '#src/base/durable-change.js'
import { BLOCKING_CALLS, SYNCING_CALLS, type FileCalls } from '#src/base/file-calls.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { POINTER_FILE } from '#src/store/file/pointer-file.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { damage } from './fixtures/damage.js'
import { failAt, watchCalls } from './fixtures/faults.js'
import { interceptFileSystem, type FileCall } from './fixtures/file-system-calls.js'
import { fillStore, newVersion, NOW, OPERATIONS, type OperationName } from './fixtures/operations.js'
import { assertTidy, reopen, snapshot } from './fixtures/snapshot.js'

const NAMES = Object.keys(OPERATIONS) as OperationName[]

/** What changes another domain than signs/night. */
const ELSEWHERE: Partial<Record<OperationName, [model: string, domain: string]>> = {
  publishFirst: ['plates', 'fog'], unlabel: ['signs', 'day'], replaceGate: ['signs', 'day'], removeGate: ['signs', 'day']
}

/** A rollback takes the way of an activation. */
for (const operation of NAMES.filter((name) => name !== 'rollBack')) {
  for (const mode of ['undone', 'done', 'lasting'] as const) {
    test(`${operation} with a failing call (${mode}) keeps memory, pointer and files in step`, async (t) => {
      const template = join(await temporaryFolder(t), 'domains')
      await fillStore(template)
      const { held: before } = await reopen(template)
      const changed = join(await temporaryFolder(t), 'domains')
      await cp(template, changed, { recursive: true })
      await OPERATIONS[operation]((await openFileStore(changed, { now: () => NOW })).store)
      const { held: after } = await reopen(changed)

      const seen = new Set<string>()
      for (let n = 1; ; n++) {
        const folder = join(await temporaryFolder(t), 'domains')
        await cp(template, folder, { recursive: true })
        const { store } = await openFileStore(folder, { now: () => NOW })
        const { error, failed } = await failAt(n, mode, () => OPERATIONS[operation](store))
        if (failed === undefined) break
        seen.add(failed)
        const where = `call ${n}, ${failed}`
        if (error !== undefined) hasCode('STORE_UNWRITABLE')(error)

        if (mode === 'undone') {
          const inMemory = await snapshot(store)
          if (operation.startsWith('publish')) await assertTidy(folder, inMemory)
          const onDisk = await snapshot((await openFileStore(folder)).store)
          assert.deepEqual(onDisk, JSON.stringify(onDisk) === JSON.stringify(after) ? after : before, where)
          assert.deepEqual(plain(inMemory), plain(onDisk), where)
          if (error === undefined) assert.deepEqual(onDisk, after, where)
        }
        // The disk is well again: at the latest the second change of the domain goes through.
        const [model, domain] = ELSEWHERE[operation] ?? ['signs', 'night']
        const publish = () => store.publish(model, domain, newVersion('later', { isActivated: false }))
        await publish().catch(async (thrown) => {
          hasCode('STORE_CHANGED')(thrown)
          await publish()
        })
        const { held, report } = await reopen(folder)
        assert.deepEqual(report.quarantined, [], where)
        assert.deepEqual(plain(held), plain(await snapshot(store)), where)
        await assertTidy(folder, held)
      }
      assert.ok(seen.has('rename') && seen.has('FileHandle.sync'))
    })
  }
}

/** What the disk may still lack: contents of files, and entries of folders. */
class Unsynced {
  readonly contents = new Set<string>()
  readonly entries = new Set<string>()
  readonly #folder: string
  readonly #made = new Set<string>()

  constructor (folder: string) {
    this.#folder = folder
  }

  /** Takes in one call, and checks that what it builds on has reached the disk. */
  observe ({ name, path, rest }: FileCall): void {
    switch (name) {
      case 'mkdir':
        for (let made = path; made !== this.#folder && !this.#made.has(made); made = dirname(made)) {
          this.entries.add(made)
          this.#made.add(made)
        }
        break
      case 'open':
        if (String(rest[0]).startsWith('w')) this.entries.add(path)
        break
      case 'FileHandle.writeFile':
        this.contents.add(path)
        break
      case 'FileHandle.sync':
        this.contents.delete(path)
        for (const entry of this.entries) if (dirname(entry) === path) this.entries.delete(entry)
        break
      case 'rename':
        assert.deepEqual([...this.contents], [], 'contents are synced before they get their name')
        if (dirname(path) === dirname(String(rest[0]))) this.entries.delete(path)
        else this.entries.add(path)
        if (String(rest[0]).endsWith(POINTER_FILE)) this.assertNone('a pointer replaces what it builds on')
        this.entries.add(String(rest[0]))
        break
      case 'rm':
        this.assertNone('nothing is removed before the change that lets it go is durable')
    }
  }

  assertNone (message: string): void {
    assert.deepEqual([...this.contents, ...this.entries], [], message)
  }
}

/** Of the thread that writes, here on this one, where they can be watched. */
const CALLS_OF_THE_THREAD: Readonly<Record<string, FileCalls>> = {
  'call by call': promises, 'by calls that block': BLOCKING_CALLS, 'by calls of which only syncs do not': SYNCING_CALLS
}

for (const operation of NAMES) {
  for (const [how, fileCalls] of Object.entries(CALLS_OF_THE_THREAD)) {
    test(`${operation} ${how} syncs each step before the next one builds on it, and all before it resolves`, async (t) => {
      const folder = join(await temporaryFolder(t), 'domains')
      await fillStore(folder)
      const calls: FileCall[] = []
      const seen = fileCalls === promises ? promises : told(fileCalls, (call) => calls.push(call))
      const { store } = await openFileStore(folder, { disk: { change: (steps) => makeChange(steps, seen) } })
      const unsynced = new Unsynced(folder)
      const restore = await interceptFileSystem(async (call, proceed) => {
        calls.push(call)
        return await proceed()
      })
      try {
        await OPERATIONS[operation](store)
      } finally {
        restore()
      }
      for (const call of calls) unsynced.observe(call)
      unsynced.assertNone('resolved')
      assert.ok(calls.some(({ name }) => name === 'rename'))
    })
  }
}

/** The same calls, each told before it is made. */
function told (fileCalls: FileCalls, tell: (call: FileCall) => void): FileCalls {
  return {
    readFile: (path) => fileCalls.readFile(path),
    mkdir: (path, options) => {
      tell({ name: 'mkdir', path, rest: [options] })
      return fileCalls.mkdir(path, options)
    },
    rename: (from, to) => {
      tell({ name: 'rename', path: from, rest: [to] })
      return fileCalls.rename(from, to)
    },
    async open (path, flags, mode) {
      tell({ name: 'open', path, rest: [flags, mode] })
      const file = await fileCalls.open(path, flags, mode)
      const onFile = (name: string) => tell({ name: `FileHandle.${name}`, path, rest: [] })
      return {
        stat: () => file.stat(),
        read: (...args) => file.read(...args),
        appendFile: (data) => file.appendFile(data),
        datasync: () => file.datasync(),
        close: () => file.close(),
        writeFile: (data) => {
          onFile('writeFile')
          return file.writeFile(data)
        },
        sync: async () => {
          await file.sync()
          onFile('sync')
        }
      }
    }
  }
}

test('recovery syncs what it moves and rewrites', async (t) => {
  const folder = join(await temporaryFolder(t), 'domains')
  await fillStore(folder)
  await damage(folder, (await openFileStore(folder)).store)
  const unsynced = new Unsynced(folder)
  const calls = await watchCalls(() => openFileStore(folder))
  for (const call of calls.slice(calls.findIndex(({ name }) => name === 'readdir'))) unsynced.observe(call)
  unsynced.assertNone('opened')
  const renamed = calls.filter(({ name }) => name === 'rename').map(({ rest }) => String(rest[0]))
  assert.deepEqual(renamed.map((path) => basename(path)), ['content', 'content', POINTER_FILE])
})

test('a first publish syncs the folders above its own also when it finds them made', async (t) => {
  const folder = join(await temporaryFolder(t), 'domains')
  const { store } = await openFileStore(folder)
  await mkdir(join(folder, 'plates/fog'), { recursive: true })
  const calls = await watchCalls(() => OPERATIONS.publishFirst(store))
  const synced = calls.filter(({ name }) => name === 'FileHandle.sync').map(({ path }) => path)
  for (const path of [folder, join(folder, 'plates')]) assert.ok(synced.includes(path), path)
})

/** Without what memory holds beyond the interface. */
function plain (value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}
