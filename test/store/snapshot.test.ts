/** A store as one archive, and back: whole, and refused whole. */
import assert from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { extract, type Header } from 'tar-stream'
import { sha256 } from '#src/base/digest.js'
import { BankswitchError } from '#src/base/errors.js'
import { exportStore } from '#src/store/file/export-store.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { importStore } from '#src/store/file/import-store.js'
import type { ImportReport } from '#src/store/archive/read-archive.js'
import { serializeRemoved } from '#src/store/file/removed-file.js'
import { serializeShipped } from '#src/store/file/shipped-file.js'
import { tarOf } from '../support/archives.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { runSeed } from '../support/run-seed.js'
import { cutInHalf, flipBit, versionPath, writeIn } from './fixtures/damage.js'
import { stallAt } from './fixtures/faults.js'
import { interceptFileSystem } from './fixtures/file-system-calls.js'
import { fileOf, fillStore, newVersion, OPERATIONS } from './fixtures/operations.js'
import { assertTidy, filesBelow, reopen } from './fixtures/snapshot.js'

interface Entry {
  name: string
  bytes: Uint8Array
  header?: Partial<Header>
}

async function filled (t: TestContext): Promise<string> {
  const folder = await empty(t)
  await fillStore(folder)
  return folder
}

async function empty (t: TestContext): Promise<string> {
  return join(await temporaryFolder(t), 'domains')
}

async function exported (folder: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  await exportStore(folder, new Writable({
    write (chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    }
  }))
  return Buffer.concat(chunks)
}

function imported (folder: string, archive: Uint8Array, isReplacing = false): Promise<ImportReport> {
  return importStore(folder, Readable.from([archive]), { isReplacing })
}

async function entriesOf (archive: Uint8Array): Promise<Entry[]> {
  const entries: Entry[] = []
  const unpacking = extract()
  Readable.from([archive]).pipe(unpacking)
  for await (const entry of unpacking) entries.push({ name: entry.header.name, bytes: await buffer(entry) })
  return entries
}

test('a store comes back from its archive, to the byte', async (t) => {
  const folder = await filled(t)
  const archive = await exported(folder)
  assert.deepEqual((await entriesOf(archive)).map(({ name }) => name.replace(/[0-9a-f]{16}/, '*')), [
    'signs/day/domain.json', 'signs/day/000001-*.safetensors', 'signs/day/gate-*.safetensors',
    'signs/night/domain.json', 'signs/night/000001-*.safetensors', 'signs/night/000002-*.safetensors',
    'signs/night/000003-*.safetensors', 'snapshot.json'
  ])
  const other = await empty(t)
  assert.deepEqual(await imported(other, archive), { domains: 2, versions: 4, unchanged: 0 })
  const { held } = await reopen(other)
  assert.deepEqual(held, (await reopen(folder)).held)
  await assertTidy(other, held)
  assert.deepEqual(await exported(other), archive)
})

test('an empty store is a whole archive too, and a missing folder an empty store', async (t) => {
  const archive = await exported(await empty(t))
  const folder = await empty(t)
  assert.deepEqual(await imported(folder, archive), { domains: 0, versions: 0, unchanged: 0 })
  assert.deepEqual(await filesBelow(folder), [])
})

test('domains that are the same are left alone, so that an import can be done again', async (t) => {
  const folder = await filled(t)
  const archive = await exported(folder)
  assert.deepEqual(await imported(folder, archive), { domains: 2, versions: 4, unchanged: 2 })
  assert.deepEqual(await exported(folder), archive)
})

test('a domain that differs is refused, or replaced with all its files', async (t) => {
  const folder = await filled(t)
  const archive = await exported(folder)
  const { store } = await openFileStore(folder)
  await store.removeVersion('signs', 'night', 1)
  await store.publish('signs', 'night', newVersion('another four'))
  await store.publish('plates', 'fog', newVersion('fog one'))
  const { held: changed } = await reopen(folder)
  await assert.rejects(imported(folder, archive), hasCode('DOMAIN_EXISTS'))
  assert.deepEqual((await reopen(folder)).held, changed)
  await assertTidy(folder, changed)

  assert.deepEqual(await imported(folder, archive, true), { domains: 2, versions: 4, unchanged: 1 })
  const { held } = await reopen(folder)
  const { held: original } = await reopen(await filled(t))
  const night = original['signs/night']!
  // The numbers of what it replaces do not come again.
  const record = { ...night.record, revision: 6, lastVersion: 4 }
  assert.deepEqual(held, { ...original, 'signs/night': { ...night, record }, 'plates/fog': changed['plates/fog'] })
  await assertTidy(folder, held)
  assert.deepEqual(await imported(folder, archive), { domains: 2, versions: 4, unchanged: 2 })
})

test('a header that says how long a name is, in megabytes, is not read', async (t) => {
  const folder = await empty(t)
  const header = Buffer.from((await tarOf([{ name: 'x', bytes: Buffer.alloc(0) }])).subarray(0, 512))
  header.write((2 ** 30).toString(8).padStart(11, '0'), 124)
  header.write('x', 156)
  header.write(' '.repeat(8), 148)
  header.write(`${header.reduce((sum, byte) => sum + byte).toString(8).padStart(6, '0')}\0 `, 148)
  let given = 0
  const archive = async function * () {
    yield header
    for (; given < 2 ** 10; given++) yield Buffer.alloc(2 ** 16)
  }
  await assert.rejects(importStore(folder, Readable.from(archive()), { isReplacing: false }), hasCode('SNAPSHOT_INVALID'))
  assert.ok(given < 64, `${given} pieces of 64 KiB were read`)
})

test('an archive cut off anywhere changes nothing', async (t) => {
  const archive = await exported(await filled(t))
  const folder = await empty(t)
  // A tar ends with two empty blocks, which nobody needs.
  for (let length = 0; length < archive.length - 1024; length += 512) {
    await assert.rejects(imported(folder, archive.subarray(0, length)), hasCode('SNAPSHOT_INVALID'), `${length} bytes`)
    assert.deepEqual(await readdir(folder), [], `${length} bytes`)
  }
})

test('an archive with a flipped bit is refused whole, or the bit did not matter', async (t) => {
  const archive = await exported(await filled(t))
  const bits = fc.integer({ min: 0, max: 8 * archive.length - 1 })
  await fc.assert(fc.asyncProperty(bits, async (bit) => {
    const folder = await empty(t)
    const damaged = Buffer.from(archive)
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    try {
      await imported(folder, damaged)
    } catch (error) {
      assert.ok(error instanceof BankswitchError && /SNAPSHOT_INVALID|STORE_CORRUPT|STORE_FORMAT_UNKNOWN/.test(error.code), String(error))
      assert.deepEqual(await readdir(folder), [])
      return
    }
    assert.deepEqual(await exported(folder), archive)
  }), { seed: runSeed, numRuns: 200 })
})

test('what no export writes is refused, and nothing lands outside the store', async (t) => {
  const entries = await entriesOf(await exported(await filled(t)))
  const [day, dayOne, dayGate, night, ...rest] = entries as [Entry, Entry, Entry, Entry, ...Entry[]]
  const summary = rest.at(-1)!
  const memory: Entry = {
    name: '.shipped/signs/night.json', bytes: serializeShipped('signs', 'night', { files: [], revision: 1 })
  }
  const numbers: Entry = {
    name: '.removed/signs/night.json', bytes: serializeRemoved('signs', 'night', { lastVersion: 1, revision: 1 })
  }
  const more = (name: string, header: Partial<Header> = {}) => ({ name, bytes: Buffer.alloc(0), header })
  const cases: Record<string, Entry[]> = {
    'a way out': [day, dayOne, dayGate, more('signs/day/../../../out'), summary],
    'an absolute path': [more('/signs/day/domain.json')],
    'a name that is none': [{ ...day, name: 'signs/.day/domain.json' }],
    'a link': [day, more(dayOne.name, { type: 'symlink', linkname: '/etc/passwd' })],
    'a folder': [more('signs/day', { type: 'directory' }), ...entries],
    'a file that is not listed': [day, dayOne, { ...dayOne, name: 'signs/day/000009-0123456789abcdef.safetensors' }],
    'a file twice': [day, dayOne, dayOne],
    'a file of another domain': [day, dayOne, dayGate, night, { ...dayOne, name: dayOne.name.replace('day', 'night') }],
    'a file before its pointer': [dayOne, day],
    'a file that is missing': [day, dayOne, summary],
    'a domain twice': [day, dayOne, dayGate, day, dayOne, dayGate, summary],
    'a domain under another name': [{ ...day, name: 'signs/dusk/domain.json' }],
    'another length': [day, { ...dayOne, bytes: Buffer.concat([dayOne.bytes, Buffer.alloc(1)]) }],
    'other bytes': [day, { ...dayOne, bytes: Buffer.alloc(dayOne.bytes.length) }],
    'another count': [day, dayOne, dayGate, summary],
    'something behind the end': [...entries, day],
    'another format': [{ ...summary, bytes: Buffer.from('{"format":2,"domains":0,"versions":0}') }],
    'no format': [{ ...summary, bytes: Buffer.from('{"format":"3","domains":0,"versions":0}') }],
    'a memory that is not counted': [memory, { ...summary, bytes: Buffer.from('{"format":1,"domains":0,"versions":0}') }],
    'a memory twice': [memory, memory],
    'a memory with a way out': [{ ...memory, name: '.shipped/../night.json' }],
    'removed numbers that are not counted': [numbers, { ...summary, bytes: Buffer.from('{"format":1,"domains":0,"versions":0}') }],
    'removed numbers twice': [numbers, numbers],
    'removed numbers with a way out': [{ ...numbers, name: '.removed/../night.json' }],
    'a memory of no domain': [{ ...memory, name: '.shipped/signs/night' }],
    'a memory too deep': [{ ...memory, name: '.shipped/signs/night/night.json' }],
    'a memory among the files of a domain': [day, memory],
    'no JSON': [{ ...summary, bytes: Buffer.from('{') }],
    'a large summary': [{ ...summary, bytes: Buffer.alloc(5000, ' ') }],
    'no end': [day, dayOne, dayGate]
  }
  for (const [name, hostile] of Object.entries(cases)) {
    const folder = await empty(t)
    const code = name === 'a domain under another name' ? 'STORE_CORRUPT' : 'SNAPSHOT_INVALID'
    await assert.rejects(imported(folder, await tarOf(hostile)), hasCode(code), name)
    assert.deepEqual(await readdir(join(folder, '..'), { recursive: true }), ['domains'], name)
  }
  for (const noise of [Buffer.alloc(0), Buffer.alloc(100), Buffer.alloc(5000, 7), fileOf('not a tar')]) {
    await assert.rejects(imported(await empty(t), noise), hasCode('SNAPSHOT_INVALID'))
  }
})

test('what is remembered of shipped banks comes along, also of domains that were removed', async (t) => {
  const folder = await filled(t)
  const { store } = await openFileStore(folder)
  const [seen, removed] = [{ files: [sha256('a')], revision: 3 }, { files: [sha256('b')], revision: 1 }]
  await store.rememberShipped('signs', 'night', seen)
  await store.rememberShipped('plates', 'gone', removed)
  const archive = await exported(folder)
  const { bytes } = (await entriesOf(archive)).at(-1)!
  assert.deepEqual(JSON.parse(Buffer.from(bytes).toString()), { format: 2, domains: 2, versions: 4, memories: 2 })

  const other = await empty(t)
  await imported(other, archive)
  assert.deepEqual(await exported(other), archive)

  const busy = await filled(t)
  const { store: own } = await openFileStore(busy)
  await own.rememberShipped('signs', 'night', { files: [sha256('c'), sha256('a')], revision: 9 })
  await own.rememberShipped('plates', 'gone', { files: [sha256('d')], revision: 9 })
  await imported(busy, archive, true)
  assert.deepEqual(await own.shipped('signs', 'night'), { files: [sha256('c'), sha256('a')], revision: 3 })
  assert.deepEqual(await own.shipped('plates', 'gone'), { files: [sha256('d'), sha256('b')], revision: 9 })
})

test('the numbers of removed domains come along, and an import brings none of them back', async (t) => {
  const folder = await filled(t)
  const { store } = await openFileStore(folder)
  const early = await exported(folder)
  await store.removeDomain('signs', 'night')
  const archive = await exported(folder)
  const { bytes } = (await entriesOf(archive)).at(-1)!
  assert.deepEqual(JSON.parse(Buffer.from(bytes).toString()), { format: 3, domains: 1, versions: 1, removed: 1 })
  const other = await empty(t)
  await imported(other, archive)
  assert.deepEqual(await exported(other), archive)
  const { store: restored } = await openFileStore(other)
  const { revision, active } = await restored.publish('signs', 'night', newVersion('again'))
  assert.deepEqual([revision, active], [4, 4])

  // Back into the store that it was removed from, and a memory that fell behind.
  await store.rememberShipped('signs', 'night', { files: [], revision: 3 })
  await imported(folder, early)
  const { store: back } = await openFileStore(folder)
  assert.deepEqual([back.domain('signs', 'night')!.revision, back.domain('signs', 'night')!.versions.length], [4, 3])
  await imported(other, archive)
  assert.equal((await openFileStore(other)).store.domain('signs', 'night')!.active, 4)
})

test('what was shipped stays as it was shipped over a removal, an import and other numbers', async (t) => {
  const folder = await empty(t)
  const { store } = await openFileStore(folder)
  await store.publish('signs', 'fog', newVersion('shipped'))
  await store.rememberShipped('signs', 'fog', { files: [sha256(fileOf('shipped'))], revision: 1 })
  const archive = await exported(folder)
  await store.removeDomain('signs', 'fog')
  await imported(folder, archive)
  const { store: back } = await openFileStore(folder)
  const { revision } = back.domain('signs', 'fog')!
  assert.deepEqual([revision, (await back.shipped('signs', 'fog'))!.revision], [2, 2])
})

test('what a newer server wrote is left out of an export and told; all else is in it', async (t) => {
  const folder = await filled(t)
  await writeIn(folder, 'signs/night/domain.json', '{"format": 3}')
  await writeIn(folder, '.shipped/signs/fog.json', '{"format": 3}')
  await writeIn(folder, '.removed/signs/gone.json', '{"format": 3}')
  const chunks: Buffer[] = []
  const report = await exportStore(folder, new Writable({
    write (chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    }
  }))
  assert.deepEqual(report.leftOut!.map(({ path }) => path), ['signs/night', '.shipped/signs/fog.json', '.removed/signs/gone.json'])
  for (const { reason } of report.leftOut!) assert.match(reason, /has format 3/)
  assert.deepEqual([report.domains, report.versions], [1, 1])
  const other = await empty(t)
  assert.deepEqual(await imported(other, Buffer.concat(chunks)), { domains: 1, versions: 1, unchanged: 0 })
  await flipBit(join(folder, 'signs/day/domain.json'))
  await assert.rejects(exported(folder), hasCode('STORE_CORRUPT'))
})

test('what a newer server wrote is refused by name when it comes in, or stands in the way, and nothing changes', async (t) => {
  const refused = hasCode('STORE_FORMAT_UNKNOWN')
  const whole = await entriesOf(await exported(await filled(t)))
  const future = (name: string, format: number): Entry => ({ name, bytes: Buffer.from(`{"format":${format}}`) })
  for (const entries of [
    [future('signs/day/domain.json', 3)], [future('.shipped/signs/day.json', 2)], [...whole.slice(0, -1), future('snapshot.json', 4)], [future('.removed/signs/day.json', 2)]
  ]) {
    const folder = await empty(t)
    await assert.rejects(imported(folder, await tarOf(entries)), refused)
    assert.deepEqual(await readdir(folder), [])
  }
  for (const path of ['signs/night/domain.json', '.shipped/signs/night.json']) {
    const folder = await filled(t)
    await writeIn(folder, path, '{"format": 3}')
    const before = await filesBelow(folder)
    const memory = { name: path, bytes: serializeShipped('signs', 'night', { files: [], revision: 1 }) }
    const archive = await tarOf(path.startsWith('.') ? [memory, ...whole.slice(-1)] : whole)
    await assert.rejects(imported(folder, archive, true), refused)
    assert.equal(await readFile(join(folder, path), 'utf8'), '{"format": 3}')
    assert.deepEqual(await filesBelow(folder), before)
  }
})

test('an import killed at any call leaves each domain as it was or as it comes', async (t) => {
  const source = await filled(t)
  const { store } = await openFileStore(source)
  await OPERATIONS.publish(store)
  await OPERATIONS.publishFirst(store)
  const memory = { files: [sha256('a')], revision: 3 }
  await store.rememberShipped('signs', 'night', memory)
  const archive = await exported(source)
  const { held: after } = await reopen(source)
  const { held: before } = await reopen(await filled(t))
  const names = new Set<string>()
  for (let n = 1; ; n++) {
    const folder = await filled(t)
    const name = await stallAt(n, () => imported(folder, archive, true))
    const { held, report } = await reopen(folder)
    assert.deepEqual(report.quarantined, [], `call ${n}, ${name}`)
    await assertTidy(folder, held)
    for (const place of ['signs/day', 'signs/night', 'plates/fog']) {
      const isNew = JSON.stringify(held[place]) === JSON.stringify(after[place])
      assert.deepEqual(held[place], isNew ? after[place] : before[place], `call ${n}, ${name}, ${place}`)
    }
    if (name === undefined) {
      assert.deepEqual(held, after)
      break
    }
    names.add(name)
    // Whoever is killed has its lock no more.
    await rm(join(folder, '.lock'), { force: true })
    await imported(folder, archive, true)
    const again = await reopen(folder)
    assert.deepEqual(again.held, after)
    assert.deepEqual(await again.store.shipped('signs', 'night'), memory)
  }
  assert.ok(names.has('rename') && names.has('rm') && names.has('FileHandle.sync'))
})

test('a store that changes while it is exported gives an error, not half a domain', async (t) => {
  const folder = await filled(t)
  const { store } = await openFileStore(folder)
  let isFirst = true
  const restore = await interceptFileSystem(async ({ name, path }, proceed) => {
    if (isFirst && name === 'readFile' && path.includes('night/000002')) {
      isFirst = false
      await OPERATIONS.activate(store)
      await store.removeVersion('signs', 'night', 2)
    }
    return await proceed()
  })
  try {
    await assert.rejects(exported(folder), hasCode('STORE_CHANGED'))
  } finally {
    restore()
  }
  assert.equal((await entriesOf(await exported(folder))).length, 7)
})

test('a corrupt version and a target that fails end an export', async (t) => {
  const folder = await filled(t)
  const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error('no room')) })
  await assert.rejects(exportStore(folder, full), /no room/)
  const { store } = await openFileStore(folder)
  await cutInHalf(join(folder, versionPath(store, 'signs', 'night', 3)))
  await assert.rejects(exported(folder), hasCode('STORE_CORRUPT'))
})
