/** The cases of src/store/take-over-shipped.ts, by their numbers, over stores in memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { BankswitchError } from '#src/base/errors.js'
import { storeErrors } from '#src/store/errors.js'
import { takeOverShipped, type ShippedSource } from '#src/store/take-over-shipped.js'
import { emptyMemory, MemoryStore } from '../support/memory-store.js'
import { plain } from './contract.js'
import { fileOf, fill, newGate, newVersion, NOW } from './fixtures/operations.js'
import { snapshot } from './fixtures/snapshot.js'
import type { BankStore, NewVersion, Pointer } from '#src/store/bank-store.js'

/** A domain of one store as a source for another. */
function sourceOf (shipped: BankStore, domain: string): ShippedSource {
  return {
    model: 'signs',
    path: `domains/signs/${domain}`,
    read: async () => ({
      pointer: shipped.domain('signs', domain) as Pointer,
      readVersion: (version) => shipped.read('signs', domain, version),
      readGate: () => shipped.readGate('signs', domain)
    })
  }
}

/** A shipped domain `fog` as a release makes it: one version, published once. */
async function release (text: string, options: Partial<NewVersion> = {}): Promise<ShippedSource> {
  const shipped = new MemoryStore()
  await shipped.publish('signs', 'fog', newVersion(text, { createdAt: '2020-02-02T00:00:00.000Z', ...options }))
  return sourceOf(shipped, 'fog')
}

interface Line { level: string, [field: string]: unknown }

/** A start of the server: what it logged. */
async function start (store: BankStore, ...sources: ShippedSource[]): Promise<Line[]> {
  const lines: Line[] = []
  const log = (level: string) => (told: object, message: string) => { lines.push({ level, ...told, message }) }
  await takeOverShipped(store, sources, { info: log('info'), warn: log('warn'), error: log('error') } as never)
  return lines
}

const activeText = async (store: BankStore, ...texts: string[]) => {
  const digest = sha256(await store.read('signs', 'fog', store.domain('signs', 'fog')!.active!))
  return texts.find((text) => sha256(fileOf(text)) === digest)
}

test('1: a domain that was never seen is taken over whole, with all that a store had made of it', async () => {
  const shipped = new MemoryStore(emptyMemory(), () => NOW)
  await fill(shipped)
  await shipped.removeVersion('signs', 'night', 1)
  await shipped.mark('signs', 'night', { kind: 'canary', candidate: { version: 3, percent: 10 } })
  const sources = [sourceOf(shipped, 'day'), sourceOf(shipped, 'night')]
  const store = new MemoryStore()
  assert.deepEqual(await start(store, ...sources), [])
  assert.deepEqual(plain(await snapshot(store)), plain(await snapshot(shipped)))
  assert.deepEqual(await start(store, ...sources), [])
  assert.deepEqual(plain(await snapshot(store)), plain(await snapshot(shipped)))
})

test('2: a domain that an admin removed stays away, and so do its newer banks', async () => {
  const store = new MemoryStore()
  const [first, second] = [await release('one'), await release('two')]
  await start(store, first)
  await store.removeDomain('signs', 'fog')
  for (const source of [first, second, first]) assert.deepEqual(await start(store, source), [])
  assert.deepEqual(store.domains('signs'), [])
})

test('2: a domain that was made again is the admin\'s', async () => {
  const store = new MemoryStore()
  await start(store, await release('one'))
  await store.removeDomain('signs', 'fog')
  await store.publish('signs', 'fog', newVersion('own'))
  assert.equal(store.domain('signs', 'fog')!.revision, 2)
  const [line] = await start(store, await release('two'))
  assert.equal(line!.level, 'warn')
  assert.equal(await activeText(store, 'own', 'two'), 'own')
})

test('3: a newer bank is active where nobody changed the domain, again and again', async () => {
  const store = new MemoryStore()
  await start(store, await release('one', { description: 'thin' }))
  const preprocessing = { size: { width: 8, height: 8 } }
  const lines = await start(store, await release('two', { description: 'dense', source: 'npz', preprocessing }))
  assert.deepEqual(lines, [{ level: 'info', model: 'signs', domain: 'fog', version: 2, message: 'a newer shipped bank is active' }])
  const { description, revision, active, previous, versions } = store.domain('signs', 'fog')!
  assert.deepEqual([description, revision, active, previous], ['dense', 2, 2, [1]])
  assert.deepEqual(versions[1], {
    version: 2,
    sha256: sha256(fileOf('two')),
    bytes: fileOf('two').length,
    digest: sha256('two'),
    fingerprint: sha256('fingerprint'),
    source: 'npz',
    preprocessing,
    createdAt: '2020-02-02T00:00:00.000Z'
  })
  await start(store, await release('three'))
  assert.equal(await activeText(store, 'one', 'two', 'three'), 'three')
  assert.equal(store.domain('signs', 'fog')!.description, 'dense')
})

test('3: a bank that was shipped before does not come back', async () => {
  const store = new MemoryStore()
  for (const text of ['one', 'two', 'one', 'two']) await start(store, await release(text))
  assert.equal(await activeText(store, 'one', 'two'), 'two')
  assert.equal(store.domain('signs', 'fog')!.versions.length, 2)
})

for (const [what, change] of Object.entries<(store: BankStore) => Promise<unknown>>({
  'registered another version': (store) => store.publish('signs', 'fog', newVersion('own')),
  'stored another version': (store) => store.publish('signs', 'fog', newVersion('own', { isActivated: false })),
  'set a label': (store) => store.mark('signs', 'fog', { kind: 'label', label: 'x', version: 1 }),
  'set a canary': (store) => store.mark('signs', 'fog', { kind: 'canary', candidate: { version: 1, percent: 0 } }),
  'set a gate': (store) => store.setGate('signs', 'fog', newGate('gate')),
  'switched it off': (store) => store.deactivate('signs', 'fog'),
  'activated what is active': (store) => store.activate('signs', 'fog', 1)
})) {
  test(`4: a newer bank is only stored where somebody ${what}, and so is the next`, async () => {
    const store = new MemoryStore()
    await start(store, await release('one', { description: 'thin' }))
    await change(store)
    const before = store.domain('signs', 'fog')!
    const [line] = await start(store, await release('two', { description: 'dense' }))
    assert.deepEqual([line!.level, line!.version], ['warn', before.versions.length + 1])
    const { versions, revision, ...rest } = store.domain('signs', 'fog')!
    const { versions: versionsBefore, revision: revisionBefore, ...restBefore } = before
    assert.deepEqual({ ...rest, lastVersion: 0 }, { ...restBefore, lastVersion: 0 })
    assert.deepEqual([versions.length, revision], [versionsBefore.length + 1, revisionBefore + 1])
    assert.deepEqual(await start(store, await release('two')), [])
    assert.equal((await start(store, await release('three')))[0]!.level, 'warn')
    assert.equal(store.domain('signs', 'fog')!.active, before.active)
  })
}

test('4: a domain that came with a history counts as changed: nobody knows whose it is', async () => {
  const shipped = new MemoryStore()
  await shipped.publish('signs', 'fog', newVersion('one'))
  await shipped.publish('signs', 'fog', newVersion('own'))
  const store = new MemoryStore()
  await start(store, sourceOf(shipped, 'fog'))
  assert.deepEqual(await start(store, await release('one')), [])
  assert.equal((await start(store, await release('two')))[0]!.level, 'warn')
  assert.equal(await activeText(store, 'own', 'two'), 'own')
})

test('5: a domain that was there before it was shipped keeps its active version', async () => {
  const store = new MemoryStore()
  await store.publish('signs', 'fog', newVersion('own'))
  assert.equal((await start(store, await release('one')))[0]!.level, 'warn')
  assert.equal(await activeText(store, 'own', 'one'), 'own')
  assert.equal(store.domain('signs', 'fog')!.versions.length, 2)
  await start(store, await release('two'))
  assert.equal(await activeText(store, 'own', 'two'), 'own')
})

test('5: the very bank that is shipped is not stored twice', async () => {
  const store = new MemoryStore()
  await store.publish('signs', 'fog', newVersion('own'))
  await store.publish('signs', 'fog', newVersion('one', { isActivated: false }))
  const before = store.domain('signs', 'fog')
  assert.deepEqual(await start(store, await release('one')), [])
  assert.deepEqual(store.domain('signs', 'fog'), before)
})

test('a shipped domain with no active version brings no newer bank', async () => {
  const store = new MemoryStore()
  await start(store, await release('one'))
  assert.deepEqual(await start(store, await release('two', { isActivated: false })), [])
  assert.equal(store.domain('signs', 'fog')!.versions.length, 1)
})

test('6: what cannot be read is told and tried again, and the others come', async () => {
  const store = new MemoryStore()
  const broken = (error: Error): ShippedSource => ({ model: 'signs', path: 'domains/signs/dusk', read: () => Promise.reject(error) })
  for (const error of [
    storeErrors.STORE_CORRUPT('torn'), storeErrors.STORE_FORMAT_UNKNOWN('newer'), storeErrors.STORE_UNREADABLE('no rights')
  ]) {
    assert.deepEqual(await start(store, broken(error), await release('one')), [{
      level: 'error', path: 'domains/signs/dusk', code: error.code, reason: error.message, message: 'a shipped domain is left out'
    }])
  }
  const unreadable = async (text: string) => {
    const source = await release(text)
    return { ...source, read: async () => ({ ...await source.read(), readVersion: () => Promise.reject(storeErrors.STORE_CORRUPT('torn')) }) }
  }
  assert.equal((await start(store, await unreadable('two')))[0]!.code, 'STORE_CORRUPT')
  assert.equal(await activeText(store, 'one'), 'one')
  await start(store, await release('two'))
  assert.equal(await activeText(store, 'one', 'two'), 'two')
  const empty = new MemoryStore()
  await start(empty, await unreadable('one'))
  await start(empty, await release('one'))
  assert.equal(await activeText(empty, 'one'), 'one')
})

test('a store that cannot be written, and a mistake of the program, end the start', async () => {
  const full = new MemoryStore()
  full.rememberShipped = () => Promise.reject(storeErrors.STORE_UNWRITABLE('no room'))
  await assert.rejects(start(full, await release('one')), BankswitchError)
  const source = await release('one')
  await assert.rejects(start(new MemoryStore(), { ...source, read: () => Promise.reject(new TypeError('mistake')) }), TypeError)
})

/** A store that is killed at its n-th change: the change is done or not, and nothing comes after it. */
class Killed extends MemoryStore {
  left = Infinity
  isDone = false

  async #step<T> (change: () => Promise<T>): Promise<T> {
    if (this.left-- > 0) return await change()
    if (this.isDone) await change()
    throw new Error('killed')
  }

  override publish (...args: Parameters<BankStore['publish']>) { return this.#step(() => super.publish(...args)) }
  override adopt (...args: Parameters<BankStore['adopt']>) { return this.#step(() => super.adopt(...args)) }
  override rememberShipped (...args: Parameters<BankStore['rememberShipped']>) {
    return this.#step(() => super.rememberShipped(...args))
  }
}

for (const isDone of [false, true]) {
  test(`a start that ends at any change, which is ${isDone ? 'done' : 'not done'}, is completed by the next`, async () => {
    const releases = [await release('one'), await release('two'), await release('three')]
    const straight = emptyMemory()
    for (const source of releases) await start(new MemoryStore(straight), source)
    let kills = 0
    for (let at = 0; at < releases.length; at++) {
      for (let left = 0; ; left++) {
        const memory = emptyMemory()
        for (const source of releases.slice(0, at)) await start(new MemoryStore(memory), source)
        const killed = new Killed(memory)
        Object.assign(killed, { left, isDone })
        const isKilled = await start(killed, releases[at]!).then(() => false, (error: Error) => {
          assert.equal(error.message, 'killed')
          return true
        })
        for (const source of releases.slice(at)) await start(new MemoryStore(memory), source)
        assert.deepEqual(plain([...memory.domains]), plain([...straight.domains]), `release ${at + 1}, change ${left + 1}`)
        assert.deepEqual(memory.shipped, straight.shipped)
        if (!isKilled) break
        kills++
      }
    }
    assert.equal(kills, 6)
  })
}
