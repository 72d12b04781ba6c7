import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdir, open, readdir, readFile, stat, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { makeFolderDurably, removeDurably, syncFolder, TEMPORARY_PREFIX, writeDurably } from '#src/base/durable-file.js'
import { temporaryFolder } from '../support/folders.js'

const PERMISSIONS = 0o777

async function permissionsOf (path: string): Promise<number> {
  return (await stat(path)).mode & PERMISSIONS
}

/** Where the methods of open files can be mocked. */
async function handlePrototype (): Promise<FileHandle> {
  const handle = await open(import.meta.filename)
  await handle.close()
  return Object.getPrototypeOf(handle) as FileHandle
}

/** Runs `onSync` before every fsync; what it throws the fsync throws. Tells how many there were. */
async function interceptSync (t: TestContext, onSync: () => void): Promise<() => number> {
  const prototype = await handlePrototype()
  const { sync } = prototype
  const { mock } = t.mock.method(prototype, 'sync', async function (this: FileHandle) {
    onSync()
    await sync.call(this)
  })
  return () => mock.callCount()
}

describe('writeDurably', () => {
  test('makes a file, replaces it, and leaves nothing else', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'bank')
    await writeDurably(path, Buffer.from('old'))
    assert.equal(await readFile(path, 'utf8'), 'old')
    await writeDurably(path, new Uint8Array())
    assert.equal(await readFile(path, 'utf8'), '')
    const large = Buffer.alloc(3_000_001, 'abc')
    await writeDurably(path, large)
    assert.ok(large.equals(await readFile(path)))
    assert.deepEqual(await readdir(folder), ['bank'])
  })

  test('writes just the bytes of a view', async (t) => {
    const path = join(await temporaryFolder(t), 'view')
    await writeDurably(path, Buffer.from('abcdef').subarray(2, 4))
    assert.equal(await readFile(path, 'utf8'), 'cd')
  })

  test('gives the file the mode it was asked for, also over an open one', async (t) => {
    const path = join(await temporaryFolder(t), 'key')
    await writeDurably(path, Buffer.from('secret'), 0o600)
    assert.equal(await permissionsOf(path), 0o600)
    await chmod(path, 0o644)
    await writeDurably(path, Buffer.from('secret'), 0o600)
    assert.equal(await permissionsOf(path), 0o600)
  })

  test('a secret is never readable by others, not even under its temporary name', async (t) => {
    const folder = await temporaryFolder(t)
    const modes: number[] = []
    const prototype = await handlePrototype()
    const { writeFile: write } = prototype
    t.mock.method(prototype, 'writeFile', async function (this: FileHandle, bytes: Uint8Array) {
      modes.push((await this.stat()).mode & PERMISSIONS)
      await write.call(this, bytes)
    })
    await writeDurably(join(folder, 'key'), Buffer.from('secret'), 0o600)
    assert.deepEqual(modes, [0o600])
  })

  test('syncs the whole file before it gets its name, and the folder after', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'bank')
    await writeFile(path, 'old')
    const seen: Array<{ named: string, temporary: string | undefined }> = []
    await interceptSync(t, () => {
      const [name] = readdirSync(folder).filter((entry) => entry.startsWith(TEMPORARY_PREFIX))
      const temporary = name === undefined ? undefined : readFileSync(join(folder, name), 'utf8')
      seen.push({ named: readFileSync(path, 'utf8'), temporary })
    })
    await writeDurably(path, Buffer.from('new and longer'))
    assert.deepEqual(seen, [
      { named: 'old', temporary: 'new and longer' }, { named: 'new and longer', temporary: undefined }
    ])
  })

  test('keeps the old file whole and cleans up when the disk fails', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'bank')
    await writeFile(path, 'old')
    await interceptSync(t, () => { throw Object.assign(new Error('no space'), { code: 'ENOSPC' }) })
    await assert.rejects(writeDurably(path, Buffer.from('new')), { code: 'ENOSPC' })
    assert.equal(await readFile(path, 'utf8'), 'old')
    assert.deepEqual(await readdir(folder), ['bank'])
  })

  test('rejects with the errno and leaves nothing when the folder is missing', async (t) => {
    const folder = await temporaryFolder(t)
    await assert.rejects(writeDurably(join(folder, 'none', 'bank'), Buffer.from('x')), { code: 'ENOENT' })
    assert.deepEqual(await readdir(folder), [])
  })

  test('leaves no temporary file when the name cannot be taken', async (t) => {
    const folder = await temporaryFolder(t)
    await mkdir(join(folder, 'bank', 'inner'), { recursive: true })
    await assert.rejects(writeDurably(join(folder, 'bank'), Buffer.from('x')), /EISDIR|ENOTEMPTY|EEXIST/)
    assert.deepEqual(await readdir(folder), ['bank'])
    assert.deepEqual(await readdir(join(folder, 'bank')), ['inner'])
  })

  test('readers and other writers at the same time see one whole file', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'bank')
    const size = 200_000
    const contents = [...'abcdefgh'].map((letter) => Buffer.alloc(size, letter))
    await writeDurably(path, contents[0]!)
    await Promise.all(contents.map(async (content) => {
      await writeDurably(path, content)
      for (let reading = 0; reading < 5; reading++) {
        const read = await readFile(path)
        assert.ok(contents.some((whole) => whole.equals(read)))
      }
    }))
    assert.deepEqual(await readdir(folder), ['bank'])
  })
})

describe('removeDurably', () => {
  test('removes a file and syncs its folder; one that is not there is no error', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'bank')
    await writeFile(path, 'x')
    const isThere: boolean[] = []
    await interceptSync(t, () => { isThere.push(existsSync(path)) })
    await removeDurably(path)
    assert.deepEqual(isThere, [false])
    await removeDurably(path)
    assert.deepEqual(await readdir(folder), [])
  })
})

describe('makeFolderDurably', () => {
  test('makes missing parents, syncs every folder that got an entry, and is at peace with what exists', async (t) => {
    const folder = await temporaryFolder(t)
    const syncs = await interceptSync(t, () => {})
    await makeFolderDurably(join(folder, 'a', 'b', 'c'))
    assert.ok((await stat(join(folder, 'a', 'b', 'c'))).isDirectory())
    assert.equal(syncs(), 3)
    await makeFolderDurably(join(folder, 'a', 'b', 'c'))
    assert.equal(syncs(), 3)
    await makeFolderDurably(join(folder, 'a', 'd'))
    assert.equal(syncs(), 4)
  })

  test('rejects where a file stands in the way', async (t) => {
    const folder = await temporaryFolder(t)
    await writeFile(join(folder, 'file'), '')
    await assert.rejects(makeFolderDurably(join(folder, 'file')), { code: 'EEXIST' })
    await assert.rejects(makeFolderDurably(join(folder, 'file', 'inner')), { code: 'ENOTDIR' })
  })
})

test('syncFolder rejects for a folder that is not there', async (t) => {
  await assert.rejects(syncFolder(join(await temporaryFolder(t), 'none')), { code: 'ENOENT' })
})
