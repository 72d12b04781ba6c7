/** A store over a folder of shipped domains, as the commands open it. */
import assert from 'node:assert/strict'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { sha256File } from '#src/base/digest.js'
import { createLogger } from '#src/observability/logger.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { openStore, storeFolder } from '#src/store/open-store.js'
import { hasCode } from '../support/errors.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { plain } from './contract.js'
import { cutInHalf, flipBit, versionPath, writeIn } from './fixtures/damage.js'
import { watchCalls } from './fixtures/faults.js'
import { killPointsOf } from './fixtures/kill-points.js'
import { fillStore, newVersion, NOW } from './fixtures/operations.js'
import { assertTidy, filesBelow, snapshot } from './fixtures/snapshot.js'
import type { BankStore, DomainRecord } from '#src/store/bank-store.js'

interface Place {
  domainsDir: string
  store: string
  /** Opens the store as a start does; lines of the log come with it. */
  open (): Promise<{ opened: BankStore, log: Array<Record<string, unknown>> }>
}

async function place (t: TestContext): Promise<Place> {
  const folder = await temporaryFolder(t)
  const [domainsDir, store] = [join(folder, 'domains'), join(folder, 'store')]
  return { domainsDir, store, open: () => open({ domainsDir, store }) }
}

async function open (settings: { domainsDir: string, store: string }): ReturnType<Place['open']> {
  const log: Array<Record<string, unknown>> = []
  const sink = new Writable({
    write (chunk: Buffer, _encoding, done) {
      log.push(...chunk.toString().trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>))
      done()
    }
  })
  const { store: opened, close } = await openStore({ ...settings, storePollMs: 250 }, createLogger('info', sink))
  // As a kill would: the store is left as it is.
  await close()
  return { opened, log }
}

/** Path -> SHA-256 of every file. */
async function bytesBelow (folder: string): Promise<Record<string, string>> {
  const paths = await filesBelow(folder)
  return Object.fromEntries(await Promise.all(paths.map(async (path) => {
    return [path, await sha256File(join(folder, path))] as const
  })))
}

const OLD_STORE = join(ROOT, 'test/store/fixtures/store-of-1f47071')

/** What a server of 1f47071 answered of the domains in OLD_STORE, which it had written. */
interface Told {
  domains: Array<Pick<DomainRecord, 'domain' | 'active' | 'revision' | 'labels'> & { versions: Array<{ version: number, digest: string }> }>
}

test('a store that 1f47071 kept in the folder of domains moves over whole, once, and the folder stays as it is', async (t) => {
  const { domainsDir, store, open } = await place(t)
  await cp(OLD_STORE, domainsDir, { recursive: true })
  // What that server's container kept beside the domains, and what it would have cleaned away.
  await writeIn(domainsDir, '.admin.key', 'key')
  await writeIn(domainsDir, '.quarantine/traffic-signs/gone.1/content')
  const before = await bytesBelow(domainsDir)
  const calls = await watchCalls(async () => { await open() })
  const LOOKS = /^(open|readFile|readdir|stat|FileHandle\.(readFile|read|close))$/
  const changes = calls.filter(({ name, path, rest }) => {
    return path.startsWith(domainsDir) && (!LOOKS.test(name) || (name === 'open' && rest[0] !== 'r'))
  })
  assert.deepEqual(changes, [])
  assert.deepEqual(await bytesBelow(domainsDir), before)

  const old = await bytesBelow(OLD_STORE)
  assert.deepEqual(await bytesBelow(store), old)
  const { opened, log } = await open()
  assert.deepEqual(log, [])
  const told = JSON.parse(await readFile(join(ROOT, 'test/store/fixtures/told-by-1f47071.json'), 'utf8')) as Told
  assert.equal(told.domains.length, 5)
  assert.deepEqual(opened.domains('traffic-signs').map(({ domain, active, revision, versions }) => {
    return { domain, active, revision, versions: versions.map(({ version, digest }) => ({ version, digest })) }
  }), told.domains.map(({ domain, active, revision, versions }) => {
    return { domain, active, revision, versions: versions.map(({ version, digest }) => ({ version, digest })) }
  }))
  const of = (domain: string) => opened.domain('traffic-signs', domain)!
  assert.deepEqual([of('fog').labels, of('fog').gate?.rows, of('night').canary, of('rain').shadow, of('rain').active], [
    { stable: 1 }, 1, { version: 3, percent: 10 }, { version: 2, percent: 50 }, 1
  ])
  for (const { domain, versions } of opened.domains('traffic-signs')) {
    for (const { version, bytes } of versions) assert.equal((await opened.read('traffic-signs', domain, version)).length, bytes)
  }
  assert.equal((await opened.readGate('traffic-signs', 'fog')).length, of('fog').gate!.bytes)
  // A number that was given out before stays given out.
  const { versions } = await opened.publish('traffic-signs', 'stored', newVersion('next', { isActivated: false }))
  assert.deepEqual(versions.map(({ version }) => version), [1, 3])
})

test('a store of 1f47071 that is named as the store opens where it is', async (t) => {
  const { domainsDir, store, open } = await place(t)
  await cp(OLD_STORE, store, { recursive: true })
  await cp(join(OLD_STORE, 'traffic-signs/day'), join(domainsDir, 'traffic-signs/day'), { recursive: true })
  const { opened, log } = await open()
  assert.deepEqual(log, [])
  assert.equal(opened.domains('traffic-signs').length, 5)
  assert.deepEqual(await bytesBelow(store), await bytesBelow(OLD_STORE))
})

test('what is shipped with this repository comes into an empty store, to the byte', async (t) => {
  const { store } = await place(t)
  const domainsDir = join(ROOT, 'domains')
  await open({ domainsDir, store })
  assert.deepEqual(await bytesBelow(store), await bytesBelow(domainsDir))
})

test('a folder of shipped domains may be missing', async (t) => {
  const { open } = await place(t)
  const { opened, log } = await open()
  assert.deepEqual([opened.domains('signs'), log], [[], []])
})

test('a removed domain stays away over a restart, and its newer bank too', async (t) => {
  const { domainsDir, store, open } = await place(t)
  await fillStore(domainsDir)
  await (await open()).opened.removeDomain('signs', 'night')
  assert.deepEqual((await open()).opened.domains('signs').map(({ domain }) => domain), ['day'])
  const { store: shipped } = await openFileStore(domainsDir)
  await shipped.publish('signs', 'night', newVersion('night four'))
  const { opened, log } = await open()
  assert.deepEqual(opened.domains('signs').map(({ domain }) => domain), ['day'])
  assert.deepEqual(log, [])
  await assertTidy(store, await snapshot(opened))
})

for (const [what, spoil] of Object.entries<(folder: string, version: string) => Promise<unknown>>({
  'a bank with a flipped bit': (folder, version) => flipBit(join(folder, version)),
  'a bank cut off': (folder, version) => cutInHalf(join(folder, version)),
  'no bank': (folder, version) => rm(join(folder, version)),
  'a pointer with a flipped bit': (folder) => flipBit(join(folder, 'signs/night/domain.json')),
  'no pointer': (folder) => rm(join(folder, 'signs/night/domain.json')),
  'a pointer of the future': (folder) => writeFile(join(folder, 'signs/night/domain.json'), '{"format": 3}'),
  'a folder for a pointer': async (folder) => {
    await rm(join(folder, 'signs/night/domain.json'))
    await mkdir(join(folder, 'signs/night/domain.json'))
  }
})) {
  test(`a shipped domain with ${what} is told and left alone; mended, it comes`, async (t) => {
    const { domainsDir, open } = await place(t)
    await fillStore(domainsDir)
    const { store: shipped } = await openFileStore(domainsDir)
    const whole = join(domainsDir, '..', 'whole')
    await cp(domainsDir, whole, { recursive: true })
    await spoil(domainsDir, versionPath(shipped, 'signs', 'night', 2))
    const before = await bytesBelow(domainsDir)
    const { opened, log } = await open()
    assert.deepEqual(opened.domains('signs').map(({ domain }) => domain), ['day'])
    assert.deepEqual(log.map(({ level, msg, path }) => [level, msg, path]), [
      [50, 'a shipped domain is left out', join(domainsDir, 'signs/night')]
    ])
    assert.deepEqual(await bytesBelow(domainsDir), before)
    await rm(domainsDir, { recursive: true })
    await cp(whole, domainsDir, { recursive: true })
    assert.deepEqual(plain(await snapshot((await open()).opened)), plain(await snapshot(shipped)))
  })
}

test('a gate that is lost in the shipped folder is lost in the store: nothing is activated unchecked', async (t) => {
  const { domainsDir, open } = await place(t)
  await fillStore(domainsDir)
  const gate = (await filesBelow(domainsDir)).find((path) => path.includes('gate-'))!
  await flipBit(join(domainsDir, gate))
  for (const { opened } of [await open(), await open()]) {
    assert.ok(opened.domain('signs', 'day')!.gate !== undefined)
    await assert.rejects(opened.readGate('signs', 'day'), hasCode('STORE_CORRUPT'))
  }
})

for (const [what, spoil] of Object.entries<(path: string) => Promise<unknown>>({
  'is damaged': (path) => flipBit(path),
  'is of the future': (path) => writeFile(path, '{"format": 2}'),
  'belongs to another domain': async (path) => await cp(path.replace('night', 'day'), path)
})) {
  test(`while the memory of a shipped domain ${what}, the domain is served and nothing new comes`, async (t) => {
    const { domainsDir, store, open } = await place(t)
    await fillStore(domainsDir)
    const before = plain(await snapshot((await open()).opened))
    const path = join(store, '.shipped/signs/night.json')
    await spoil(path)
    const spoilt = await readFile(path)
    await (await openFileStore(domainsDir)).store.publish('signs', 'night', newVersion('night four'))
    const { opened, log } = await open()
    assert.deepEqual(log.map(({ msg }) => msg), ['a shipped domain is left out'])
    assert.deepEqual(plain(await snapshot(opened)), before)
    assert.deepEqual(await readFile(path), spoilt)
  })
}

/** Two domains as a release ships them, and then a newer bank of the first. */
async function ship (folder: string, ...texts: string[]): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  const { store } = await openFileStore(folder, { now: () => NOW })
  await store.publish('signs', 'fog', newVersion(texts.at(-1)!))
  await store.publish('signs', 'mist', newVersion('mist'))
}

for (const [what, texts] of [['a first start', ['one']], ['a start with a newer bank', ['one', 'two']]] as const) {
  test(`${what}, killed at any call, is completed by the next start`, async (t) => {
    const room = await temporaryFolder(t)
    const [domainsDir, store] = [join(room, 'domains'), join(room, 'store')]
    await mkdir(store)
    for (const text of texts.slice(0, -1)) {
      await ship(domainsDir, text)
      await open({ domainsDir, store })
    }
    await ship(domainsDir, texts.at(-1)!)
    const points = await killPointsOf(store, room, () => open({ domainsDir, store }))
    const straight = (await open({ domainsDir, store })).opened
    const after = plain(await snapshot(straight))
    assert.equal(straight.domain('signs', 'fog')!.active, texts.length)
    const remembered = await straight.shipped('signs', 'fog')
    const all = [...points.before, ...points.torn, points.after]
    assert.ok(all.length > 8)
    for (const [at, { where, folder }] of all.entries()) {
      const { opened } = await open({ domainsDir, store: folder })
      const told = `point ${at + 1}, ${where}`
      assert.deepEqual(plain(await snapshot(opened)), after, told)
      assert.deepEqual(await opened.shipped('signs', 'fog'), remembered, told)
      await assertTidy(folder, await snapshot(opened))
      const { log } = await open({ domainsDir, store: folder })
      assert.deepEqual(log, [], told)
    }
  })
}

test('a removal, killed at any call, never comes back once it is gone', async (t) => {
  const room = await temporaryFolder(t)
  const [domainsDir, store] = [join(room, 'domains'), join(room, 'store')]
  await ship(domainsDir, 'one')
  const { opened } = await open({ domainsDir, store })
  const points = await killPointsOf(store, room, () => opened.removeDomain('signs', 'fog'))
  let isGone = false
  for (const { folder } of [...points.before, points.after]) {
    const { opened: next } = await open({ domainsDir, store: folder })
    const isThere = next.domain('signs', 'fog') !== undefined
    assert.ok(!(isGone && isThere))
    isGone = !isThere
  }
  assert.ok(isGone)
})

test('a store is the path of a folder, and another than that of shipped domains', () => {
  const domainsDir = 'domains'
  for (const store of ['store', '/var/lib/store', './a:b', '.bankswitch/store']) assert.equal(storeFolder({ store, domainsDir }), store)
  for (const store of ['mysql://user:secret@host/banks', 's3://bucket', 'file:///x']) {
    assert.throws(() => storeFolder({ store, domainsDir }), (error: Error) => {
      assert.match(error.message, /a store is the path of a folder or postgres:/)
      assert.doesNotMatch(error.message, /secret/)
      return hasCode('CONFIG_INVALID', { received: `${store.split('/')[0]}//` })(error)
    })
  }
  for (const store of ['domains', './domains/', join(process.cwd(), 'domains')]) {
    assert.throws(() => storeFolder({ store, domainsDir }), hasCode('CONFIG_INVALID', { received: store }))
  }
})
