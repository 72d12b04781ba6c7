/** Stores that are only read, beside a process that writes: what it is about to acknowledge is none of their business. */
import assert from 'node:assert/strict'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createLogger } from '#src/observability/logger.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { openStore, openStoreToRead } from '#src/store/open-store.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { CHANGES, plain } from './contract.js'
import { flipBit, versionPath } from './fixtures/damage.js'
import { watchCalls } from './fixtures/faults.js'
import { interceptFileSystem } from './fixtures/file-system-calls.js'
import { fileOf, fillStore, newVersion, OPERATIONS } from './fixtures/operations.js'
import { assertTidy, filesBelow, reopen, snapshot } from './fixtures/snapshot.js'
import type { BankStore } from '#src/store/bank-store.js'

const LOOKS = new Set(['access', 'lstat', 'opendir', 'readdir', 'readFile', 'stat', 'FileHandle.read', 'FileHandle.readFile', 'FileHandle.close'])

const logger = createLogger('silent')

async function readFrom (store: string, domainsDir: string): Promise<BankStore> {
  return (await openStoreToRead({ store, domainsDir, storePollMs: 250 }, logger)).store
}

async function place (t: TestContext) {
  const room = await temporaryFolder(t)
  const [store, domainsDir] = [join(room, 'store'), join(room, 'shipped')]
  await fillStore(store)
  const { store: writer } = await openFileStore(store)
  return { store, domainsDir, writer, read: () => readFrom(store, domainsDir) }
}

test('reads what the writer has, and touches nothing', async (t) => {
  const { store, domainsDir, writer, read } = await place(t)
  await fillStore(domainsDir)
  await writer.removeDomain('signs', 'day')
  await flipBit(join(store, 'signs/night/domain.json'))
  await writeFile(join(store, 'signs/night/.tmp-left'), '')
  await mkdir(join(store, 'plates/fog'), { recursive: true })
  const before = await filesBelow(store)
  let opened: BankStore | undefined
  const calls = await watchCalls(async () => {
    opened = await read()
    assert.throws(() => opened!.domain('signs', 'night'), hasCode('STORE_CORRUPT'))
    await opened.read('signs', 'day', 1)
  })
  assert.deepEqual(calls.filter(({ name }) => !LOOKS.has(name)), [])
  assert.equal(opened!.domain('plates', 'fog'), undefined)
  assert.deepEqual(await filesBelow(store), before)
})

test('holds what a start would, shipped domains too, but those that were removed', async (t) => {
  const { store, domainsDir, read } = await place(t)
  await fillStore(domainsDir)
  await (await openFileStore(domainsDir)).store.publish('plates', 'fog', newVersion('shipped fog'))
  const early = await read()
  assert.deepEqual(Buffer.from(await early.read('plates', 'fog', 1)), fileOf('shipped fog'))
  const { store: started, close } = await openStore({ store, domainsDir, storePollMs: 250 }, logger)
  assert.deepEqual(plain(await snapshot(early)), plain(await snapshot(started)))
  await started.removeDomain('plates', 'fog')
  await close()
  assert.deepEqual(plain(await snapshot(await read())), plain(await snapshot(started)))
  assert.deepEqual((await readFrom(join(store, 'none'), join(store, 'nor'))).domains('signs'), [])
})

for (const [name, change] of Object.entries(OPERATIONS)) {
  test(`opened at every call of ${name}, it costs the writer nothing`, async (t) => {
    const { store, writer, read } = await place(t)
    let isReading = false
    let count = 0
    const restore = await interceptFileSystem(async (_call, proceed) => {
      if (!isReading) {
        isReading = true
        const opened = await read()
        for (const domain of ['day', 'night'].filter((known) => opened.domain('signs', known) !== undefined)) {
          await opened.read('signs', domain, 1).catch((error: Error) => assert.match(String((error as { code?: string }).code), /NOT_FOUND$/))
        }
        isReading = false
        count++
      }
      return await proceed()
    })
    try {
      await change(writer)
    } finally {
      restore()
    }
    assert.ok(count > 3)
    const { held } = await reopen(store)
    assert.deepEqual(plain(held), plain(await snapshot(writer)))
    await assertTidy(store, held)
  })
}

test('a version, a gate or a domain that goes meanwhile is not there, rather than damaged', async (t) => {
  const { store, writer, read } = await place(t)
  const opened = await read()
  await writer.removeVersion('signs', 'night', 1)
  await assert.rejects(opened.read('signs', 'night', 1), hasCode('VERSION_NOT_FOUND', { expected: [2, 3], received: 1 }))
  assert.deepEqual(Buffer.from(await opened.read('signs', 'night', 2)), fileOf('night two'))
  await writer.removeGate('signs', 'day')
  await assert.rejects(opened.readGate('signs', 'day'), hasCode('GATE_NOT_FOUND'))
  const path = join(store, versionPath(writer, 'signs', 'night', 2))
  await flipBit(path)
  await assert.rejects(opened.read('signs', 'night', 2), hasCode('STORE_CORRUPT'))
  await writer.removeDomain('signs', 'night')
  await assert.rejects(opened.read('signs', 'night', 3), hasCode('DOMAIN_NOT_FOUND'))
})

test('is never changed', async (t) => {
  const { read } = await place(t)
  const opened = await read()
  for (const act of Object.values(CHANGES)) await assert.rejects(act(opened), /opened for reading/)
})

test('two that may change a store: the second is refused by name, before it looks at anything', async (t) => {
  const { store, domainsDir, read } = await place(t)
  const settings = { store, domainsDir, storePollMs: 250 }
  const { close } = await openStore(settings, logger)
  await writeFile(join(store, 'signs/night/.tmp-of-the-first'), '')
  await assert.rejects(openStore(settings, logger), (error: Error) => {
    assert.match(error.message, new RegExp(`in use by process ${process.pid} on .* since .*admin API.*--url`))
    return hasCode('STORE_IN_USE')(error)
  })
  assert.ok((await readdir(join(store, 'signs/night'))).includes('.tmp-of-the-first'))
  assert.deepEqual((await read()).domains('signs').length, 2)
  await close()
  const second = await openStore(settings, logger)
  await second.close()
  await rm(store, { recursive: true })
  await writeFile(store, 'no folder')
  await assert.rejects(openStore(settings, logger), hasCode('STORE_UNWRITABLE'))
})
