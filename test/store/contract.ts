/**
 * What any store must do, whatever it is made of: a new kind of store calls `storeContract` in a test file of its own.
 *
 * Every state is looked at twice, in the store that made it and in one opened anew over the same place.
 */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { LABELS_MAX } from '#src/store/marks.js'
import { hasCode } from '../support/errors.js'
import { fileOf, fill, newGate, newVersion } from './fixtures/operations.js'
import { snapshot } from './fixtures/snapshot.js'
import type { BankStore, DomainRecord, ExpectedRevision, Pointer, WholeDomain } from '#src/store/bank-store.js'

/** A place for one store, empty at first. */
export interface StorePlace {
  /** Opens the store there, as after a restart; its clock stands at the fixtures' NOW. */
  open (): Promise<BankStore>
  /** Looks whether anything lies about that the store does not hold. */
  assertTidy? (store: BankStore): Promise<void>
}

interface Opened {
  store: BankStore
  /** Whatever was acknowledged is there after a restart, and nothing else is. */
  assertDurable (): Promise<void>
  reopen (): Promise<BankStore>
}

/** Registers the tests of one kind of store; `createPlace` is called once a test. */
export function storeContract (name: string, createPlace: (t: TestContext) => Promise<StorePlace>): void {
  const empty = async (t: TestContext): Promise<Opened> => {
    const place = await createPlace(t)
    const store = await place.open()
    return {
      store,
      reopen: () => place.open(),
      assertDurable: async () => {
        const reopened = await place.open()
        assert.deepEqual(plain(await snapshot(reopened)), plain(await snapshot(store)))
        await place.assertTidy?.(reopened)
      }
    }
  }
  const filled = async (t: TestContext): Promise<Opened> => {
    const opened = await empty(t)
    await fill(opened.store)
    return opened
  }
  describe(name, () => {
    versions(empty, filled)
    revisions(filled)
    atOnce(empty, filled)
    marksAndGates(filled)
    wholeDomains(empty, filled)
  })
}

type Open = (t: TestContext) => Promise<Opened>

function versions (empty: Open, filled: Open): void {
  it('makes a domain with its first version', async (t) => {
    const { store, assertDurable } = await empty(t)
    const added = newVersion('one', {
      source: 'calibration', description: 'dark', preprocessing: { size: { width: 3, height: 4 }, std: [1] }
    })
    const record = await store.publish('signs', 'night', added)
    assert.deepEqual([record.domain, record.description, record.revision], ['night', 'dark', 1])
    assert.deepEqual([record.active, record.previous], [1, []])
    assert.deepEqual(record.versions, [{
      version: 1,
      sha256: sha256(fileOf('one')),
      bytes: fileOf('one').length,
      digest: sha256('one'),
      fingerprint: sha256('fingerprint'),
      source: 'calibration',
      preprocessing: { size: { width: 3, height: 4 }, std: [1] },
      createdAt: '2024-01-01T00:00:00.000Z'
    }])
    assert.deepEqual(store.domain('signs', 'night'), record)
    await assertDurable()
  })

  it('keeps the time at which a version was made elsewhere', async (t) => {
    const { store, assertDurable } = await empty(t)
    const createdAt = '2020-02-02T02:02:02.000Z'
    const { versions: [record] } = await store.publish('signs', 'night', newVersion('one', { createdAt }))
    assert.equal(record!.createdAt, createdAt)
    await assertDurable()
  })

  it('stores a version without activating it', async (t) => {
    const { store, assertDurable } = await empty(t)
    assert.equal((await store.publish('signs', 'night', newVersion('one', { isActivated: false }))).active, null)
    assert.equal((await store.publish('signs', 'night', newVersion('two'))).active, 2)
    assert.equal((await store.publish('signs', 'night', newVersion('three', { isActivated: false }))).active, 2)
    await assertDurable()
  })

  it('gives domains in the order of their names, each model its own', async (t) => {
    const { store } = await empty(t)
    for (const domain of ['b', 'c', 'a']) await store.publish('signs', domain, newVersion(domain))
    await store.publish('plates', 'z', newVersion('z'))
    assert.deepEqual(store.domains('signs').map(({ domain }) => domain), ['a', 'b', 'c'])
    assert.deepEqual(store.domains('plates').map(({ domain }) => domain), ['z'])
    assert.deepEqual(store.domains('faces'), [])
    assert.equal(store.domain('faces', 'a'), undefined)
    assert.equal(store.domain('plates', 'a'), undefined)
  })

  it('activates, deactivates, rolls back and removes, and still has after a restart', async (t) => {
    const { store, assertDurable } = await filled(t)
    assert.equal((await store.activate('signs', 'night', 3)).active, 3)
    await assertDurable()
    assert.equal((await store.rollBack('signs', 'night')).active, 2)
    assert.equal((await store.rollBack('signs', 'night')).active, 1)
    await assertDurable()
    assert.equal((await store.deactivate('signs', 'night')).active, null)
    await assertDurable()
    await store.removeVersion('signs', 'night', 2)
    await assertDurable()
    await store.removeDomain('signs', 'night')
    assert.equal(store.domain('signs', 'night'), undefined)
    assert.deepEqual(store.domains('signs').map(({ domain }) => domain), ['day'])
    await assertDurable()
  })

  it('gives one list of domains until something of the model changes, and another one then', async (t) => {
    const { store } = await filled(t)
    const lists = [store.domains('signs')]
    const isAsBefore = () => {
      const list = store.domains('signs')
      return lists.includes(list) || lists.push(list) === 0
    }
    assert.ok(isAsBefore())
    await store.publish('plates', 'fog', newVersion('fog'))
    assert.ok(isAsBefore())
    for (const change of [
      () => store.publish('signs', 'fog', newVersion('fog')),
      () => store.activate('signs', 'night', 3),
      () => store.mark('signs', 'night', { kind: 'label', label: 'next', version: 3 }),
      () => store.setGate('signs', 'night', newGate('gate')),
      () => store.removeGate('signs', 'night'),
      () => store.removeVersion('signs', 'night', 1),
      () => store.removeDomain('signs', 'fog')
    ]) {
      await change()
      assert.ok(!isAsBefore(), String(change))
      assert.ok(isAsBefore(), String(change))
    }
    assert.deepEqual(lists[0]!.map(({ domain, versions }) => [domain, versions.length]), [['day', 1], ['night', 3]])
  })

  it('tells of versions and domains that are gone, once records are without them, and of nothing else', async (t) => {
    const { store } = await filled(t)
    const told: unknown[] = []
    store.onGone(({ model, domain, versions, isWhole }) => {
      const left = store.domain(model, domain)?.versions.map(({ version }) => version)
      told.push([model, domain, versions.map(({ version }) => version), isWhole, left])
    })
    await store.publish('signs', 'night', newVersion('night four'))
    await store.mark('signs', 'night', { kind: 'canary', candidate: { version: 3, percent: 1 } })
    await store.deactivate('signs', 'night')
    assert.deepEqual(told, [])
    await store.removeVersion('signs', 'night', 1)
    await store.removeDomain('signs', 'night')
    assert.deepEqual(told, [['signs', 'night', [1], false, [2, 3, 4]], ['signs', 'night', [2, 3, 4], true, undefined]])
  })

  it('leaves a record as it was given out', async (t) => {
    const { store } = await filled(t)
    const record = store.domain('signs', 'night')!
    const copy = structuredClone(record)
    await store.publish('signs', 'night', newVersion('four'))
    await store.removeVersion('signs', 'night', 1)
    assert.deepEqual(record, copy)
  })

  it('gives no number twice, though the highest version was removed and the store restarted', async (t) => {
    const { store, reopen } = await filled(t)
    await store.removeVersion('signs', 'night', 3)
    const { versions } = await store.publish('signs', 'night', newVersion('four'))
    assert.deepEqual(versions.map(({ version }) => version), [1, 2, 4])
    await store.rollBack('signs', 'night')
    await store.removeVersion('signs', 'night', 4)
    assert.equal((await (await reopen()).publish('signs', 'night', newVersion('five'))).active, 5)
  })

  it('begins anew with a domain that was removed, but with none of its numbers, restarted or not', async (t) => {
    const { store, reopen, assertDurable } = await filled(t)
    await store.removeDomain('signs', 'night')
    const { revision, active, versions } = await store.publish('signs', 'night', newVersion('again'), 0)
    assert.deepEqual([revision, active, versions.length], [4, 4, 1])
    await assert.rejects(store.removeDomain('signs', 'night', 3), hasCode('PRECONDITION_FAILED', { expected: 3, received: 4 }))
    await assertDurable()
    await store.removeVersion('signs', 'night', (await store.publish('signs', 'night', newVersion('more', { isActivated: false }))).versions.at(-1)!.version)
    await store.removeDomain('signs', 'night')
    const again = await (await reopen()).publish('signs', 'night', newVersion('once more'))
    assert.deepEqual([again.revision, again.active, again.previous], [7, 6, []])
    // Another model's domain of that name has numbers of its own.
    assert.equal((await store.publish('plates', 'night', newVersion('another'))).revision, 1)
  })

  it('takes the same bytes again', async (t) => {
    const { store, assertDurable } = await empty(t)
    await store.publish('signs', 'night', newVersion('same'))
    await store.publish('signs', 'night', newVersion('same'))
    await store.removeVersion('signs', 'night', 1)
    assert.deepEqual(Buffer.from(await store.read('signs', 'night', 2)), fileOf('same'))
    await assertDurable()
  })

  it('keeps the bytes that it was given, whatever becomes of them elsewhere', async (t) => {
    const { store } = await empty(t)
    const added = newVersion('one')
    await store.publish('signs', 'night', added)
    added.file.fill(0)
    const read = await store.read('signs', 'night', 1)
    assert.deepEqual(Buffer.from(read), fileOf('one'))
    read.fill(0)
    assert.deepEqual(Buffer.from(await store.read('signs', 'night', 1)), fileOf('one'))
  })

  it('says by name what is not there', async (t) => {
    const { store } = await filled(t)
    for (const change of [
      () => store.activate('signs', 'fog', 1), () => store.deactivate('signs', 'fog'), () => store.rollBack('signs', 'fog'),
      () => store.removeVersion('signs', 'fog', 1), () => store.removeDomain('signs', 'fog'),
      () => store.mark('signs', 'fog', { kind: 'label', label: 'x', version: 1 }),
      () => store.setGate('signs', 'fog', newGate('x')), () => store.removeGate('signs', 'fog'),
      () => store.readGate('signs', 'fog'), () => store.read('plates', 'night', 1)
    ]) await assert.rejects(change, hasCode('DOMAIN_NOT_FOUND'))
    for (const change of [
      () => store.activate('signs', 'night', 4), () => store.removeVersion('signs', 'night', 4),
      () => store.read('signs', 'night', 4), () => store.mark('signs', 'night', { kind: 'label', label: 'x', version: 4 })
    ]) await assert.rejects(change, hasCode('VERSION_NOT_FOUND', { expected: [1, 2, 3], received: 4 }))
    await assert.rejects(store.removeVersion('signs', 'night', 2), hasCode('VERSION_ACTIVE'))
    await assert.rejects(store.rollBack('signs', 'day'), hasCode('ROLLBACK_IMPOSSIBLE'))
    await assert.rejects(store.mark('signs', 'night', { kind: 'label', label: 'x' }), hasCode('LABEL_NOT_FOUND'))
    await assert.rejects(store.readGate('signs', 'night'), hasCode('GATE_NOT_FOUND'))
    await assert.rejects(store.removeGate('signs', 'night'), hasCode('GATE_NOT_FOUND'))
  })
}

/** Every change of domain `night` in a filled store, where its revision is 3. */
export const CHANGES: Record<string, (store: BankStore, expected?: ExpectedRevision) => Promise<unknown>> = {
  publish: (store, expected) => store.publish('signs', 'night', newVersion('four'), expected),
  activate: (store, expected) => store.activate('signs', 'night', 3, expected),
  deactivate: (store, expected) => store.deactivate('signs', 'night', expected),
  rollBack: (store, expected) => store.rollBack('signs', 'night', expected),
  mark: (store, expected) => store.mark('signs', 'night', { kind: 'label', label: 'next', version: 3 }, expected),
  setGate: (store, expected) => store.setGate('signs', 'night', newGate('gate'), expected),
  removeVersion: (store, expected) => store.removeVersion('signs', 'night', 3, expected),
  removeDomain: (store, expected) => store.removeDomain('signs', 'night', expected)
}

function revisions (filled: Open): void {
  for (const [change, act] of Object.entries(CHANGES)) {
    it(`${change} happens at the expected revision only`, async (t) => {
      const { store, assertDurable } = await filled(t)
      const before = plain(await snapshot(store))
      for (const expected of [0, 2, 4]) {
        await assert.rejects(act(store, expected), hasCode('PRECONDITION_FAILED', { expected, received: 3 }))
      }
      assert.deepEqual(plain(await snapshot(store)), before)
      await assertDurable()
      await act(store, 3)
      assert.equal(store.domain('signs', 'night')?.revision, change === 'removeDomain' ? undefined : 4)
      await assertDurable()
    })
  }

  it('removeGate happens at the expected revision only', async (t) => {
    const { store, assertDurable } = await filled(t)
    await assert.rejects(store.removeGate('signs', 'day', 2), hasCode('PRECONDITION_FAILED', { expected: 2, received: 3 }))
    assert.equal((await store.removeGate('signs', 'day', 3)).revision, 4)
    await assertDurable()
  })

  it('takes revision 0 for a domain that does not exist', async (t) => {
    const { store } = await filled(t)
    await assert.rejects(store.publish('signs', 'fog', newVersion('fog'), 1), hasCode('PRECONDITION_FAILED', {
      expected: 1, received: 0
    }))
    await assert.rejects(store.publish('signs', 'fog', newVersion('fog'), '*'), hasCode('PRECONDITION_FAILED', {
      expected: '*', received: 0
    }))
    assert.equal((await store.publish('signs', 'fog', newVersion('fog'), 0)).revision, 1)
    assert.equal((await store.publish('signs', 'fog', newVersion('more fog'), '*')).revision, 2)
    await assert.rejects(store.publish('signs', 'fog', newVersion('fog'), 0), hasCode('PRECONDITION_FAILED'))
  })

  it('takes no number for a publish that was refused', async (t) => {
    const { store, assertDurable } = await filled(t)
    await assert.rejects(store.publish('signs', 'night', newVersion('four'), 99), hasCode('PRECONDITION_FAILED'))
    await assertDurable()
    assert.equal((await store.publish('signs', 'night', newVersion('four'))).active, 4)
  })
}

function atOnce (empty: Open, filled: Open): void {
  it('lets one happen of changes that expect the same revision', async (t) => {
    const { store, assertDurable } = await filled(t)
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, (_, index) => store.publish('signs', 'night', newVersion(`try ${index}`), 3))
    )
    const refused = results.filter((result) => result.status === 'rejected')
    assert.equal(refused.length, 4)
    for (const { reason } of refused) hasCode('PRECONDITION_FAILED')(reason)
    assert.equal(store.domain('signs', 'night')!.versions.length, 4)
    await assertDurable()
  })

  it('gives publishes at the same time a number each', async (t) => {
    const { store, assertDurable } = await empty(t)
    const texts = Array.from({ length: 12 }, (_, index) => `bank ${index}`)
    const records = await Promise.all(texts.map((text) => store.publish('signs', 'night', newVersion(text))))
    assert.deepEqual(records.map(({ active }) => active), texts.map((_, index) => index + 1))
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(Buffer.from(await store.read('signs', 'night', index + 1)), fileOf(text))
    }
    await assertDurable()
  })

  it('takes first publishes of several domains and models at the same time', async (t) => {
    const { store, assertDurable } = await empty(t)
    const domains = ['day', 'night', 'fog']
    const places = ['signs', 'plates'].flatMap((model) => domains.map((domain) => [model, domain] as const))
    await Promise.all(places.map(([model, domain]) => store.publish(model, domain, newVersion(`${model} ${domain}`))))
    for (const [model, domain] of places) assert.equal(store.domain(model, domain)?.active, 1)
    await assertDurable()
  })

  it('goes on after a change that failed', async (t) => {
    const { store } = await filled(t)
    const failing = store.activate('signs', 'night', 99)
    const next = store.activate('signs', 'night', 3)
    await assert.rejects(failing, hasCode('VERSION_NOT_FOUND'))
    assert.equal((await next).active, 3)
  })
}

function marksAndGates (filled: Open): void {
  it('has marks and gates after a restart', async (t) => {
    const { store, reopen, assertDurable } = await filled(t)
    await store.mark('signs', 'night', { kind: 'label', label: 'next', version: 3 })
    await store.mark('signs', 'night', { kind: 'canary', candidate: { version: 3, percent: 12.5 } })
    await store.mark('signs', 'night', { kind: 'shadow', candidate: { version: 1, percent: 100 } })
    const set = await store.setGate('signs', 'night', newGate('gate'))
    assert.deepEqual([set.labels, set.canary, set.shadow], [
      { next: 3 }, { version: 3, percent: 12.5 }, { version: 1, percent: 100 }
    ])
    assert.deepEqual(set.gate, {
      sha256: sha256(fileOf('gate')), bytes: fileOf('gate').length, rows: 2, absolute: 0.5, relative: 0, createdAt: '2024-01-01T00:00:00.000Z'
    })
    const again = await reopen()
    assert.deepEqual(plain(again.domain('signs', 'night')), plain(set))
    assert.deepEqual(Buffer.from(await again.readGate('signs', 'night')), fileOf('gate'))
    await assertDurable()
    const bare = await store.mark('signs', 'night', { kind: 'canary' })
    assert.equal(bare.canary, undefined)
    await assertDurable()
  })

  it('puts a gate in the place of the one before; the same one may come again', async (t) => {
    const { store, assertDurable } = await filled(t)
    await store.setGate('signs', 'day', newGate('new'))
    await store.setGate('signs', 'day', newGate('new'))
    assert.equal(sha256(await store.readGate('signs', 'day')), sha256(fileOf('new')))
    await assertDurable()
    await store.removeGate('signs', 'day')
    await assert.rejects(store.readGate('signs', 'day'), hasCode('GATE_NOT_FOUND'))
    await assertDurable()
  })

  it('refuses what has not passed the gate of now, but not what is only stored', async (t) => {
    const { store } = await filled(t)
    const passed = store.domain('signs', 'day')!.gate!.sha256
    const refused = hasCode('STORE_CHANGED')
    await store.publish('signs', 'day', newVersion('day two', { isActivated: false, passed: null }))
    const before = store.domain('signs', 'day')
    await assert.rejects(store.publish('signs', 'day', newVersion('day three', { passed: null })), refused)
    await assert.rejects(store.activate('signs', 'day', 2, undefined, null), refused)
    await assert.rejects(store.mark('signs', 'day', { kind: 'label', label: 'x', version: 2 }, undefined, null), refused)
    assert.deepEqual(store.domain('signs', 'day'), before)
    await store.activate('signs', 'day', 2, undefined, passed)
    await assert.rejects(store.rollBack('signs', 'day', undefined, sha256('another')), refused)
    assert.equal((await store.rollBack('signs', 'day', undefined, passed)).active, 1)
  })

  it('removes no version that something points to', async (t) => {
    const { store } = await filled(t)
    await store.mark('signs', 'night', { kind: 'label', label: 'next', version: 3 })
    await assert.rejects(store.removeVersion('signs', 'night', 3), hasCode('VERSION_MARKED'))
    assert.equal(store.domain('signs', 'night')!.versions.length, 3)
    assert.deepEqual(Buffer.from(await store.read('signs', 'night', 3)), fileOf('night three'))
  })

  it('bounds labels', async (t) => {
    const { store } = await filled(t)
    const labels = Object.fromEntries(Array.from({ length: LABELS_MAX }, (_, at) => [`l${1000 + at}`, 3]))
    await store.removeDomain('signs', 'day')
    await store.adopt('signs', wholeOf({ ...POINTER, labels }, ['first', 'second']))
    await assert.rejects(store.mark('signs', 'day', { kind: 'label', label: 'more', version: 3 }), hasCode('STORE_LIMIT'))
    assert.equal(Object.keys(store.domain('signs', 'day')!.labels!).length, LABELS_MAX)
  })
}

/** Versions 3 and 7 of domain `day`, as another store may hold them. */
const POINTER: Pointer = {
  domain: 'day',
  description: 'bright',
  revision: 12,
  lastVersion: 9,
  active: 7,
  previous: [3],
  versions: ([[3, 'first'], [7, 'second']] as const).map(([version, text]) => ({
    version,
    sha256: sha256(fileOf(text)),
    bytes: fileOf(text).length,
    digest: sha256(text),
    fingerprint: sha256('fingerprint'),
    source: 'of-a-newer-server',
    createdAt: '2022-02-02T00:00:00.000Z'
  })),
  labels: { stable: 3 },
  gate: { sha256: sha256(fileOf('gate')), bytes: fileOf('gate').length, rows: 1, absolute: 0, relative: 1e-3, createdAt: '2022-02-02T00:00:00.000Z' }
}

function wholeOf (pointer: Pointer, texts: readonly string[], gate: string | undefined = 'gate'): WholeDomain {
  return {
    pointer,
    readVersion: async (version) => fileOf(texts[pointer.versions.findIndex((record) => record.version === version)]!),
    readGate: async () => gate === undefined ? undefined : fileOf(gate)
  }
}

function wholeDomains (empty: Open, filled: Open): void {
  it('takes over a domain whole, with its numbers', async (t) => {
    const { store, assertDurable } = await empty(t)
    const adopted: DomainRecord = await store.adopt('signs', wholeOf(POINTER, ['first', 'second']))
    assert.deepEqual(plain(adopted), plain(POINTER))
    assert.deepEqual(plain(store.domain('signs', 'day')), plain(POINTER))
    assert.deepEqual(Buffer.from(await store.read('signs', 'day', 3)), fileOf('first'))
    assert.deepEqual(Buffer.from(await store.readGate('signs', 'day')), fileOf('gate'))
    await assertDurable()
    const next = await store.publish('signs', 'day', newVersion('next', { isActivated: false }))
    assert.deepEqual(next.versions.map(({ version }) => version), [3, 7, 10])
    await assertDurable()
  })

  it('takes over no domain whose files are not what its pointer says, nor one that is there', async (t) => {
    const { store, assertDurable } = await empty(t)
    await assert.rejects(store.adopt('signs', wholeOf(POINTER, ['first', 'another'])), hasCode('STORE_CORRUPT'))
    await assert.rejects(store.adopt('signs', wholeOf(POINTER, ['first', 'second'], 'another')), hasCode('STORE_CORRUPT'))
    const unreadable = { ...wholeOf(POINTER, []), readVersion: () => Promise.reject(new Error('unreadable')) }
    await assert.rejects(store.adopt('signs', unreadable), /unreadable/)
    assert.deepEqual(store.domains('signs'), [])
    await assertDurable()
    await store.adopt('signs', wholeOf(POINTER, ['first', 'second']))
    const before = plain(await snapshot(store))
    await assert.rejects(store.adopt('signs', wholeOf(POINTER, ['first', 'second'])), hasCode('DOMAIN_EXISTS'))
    assert.deepEqual(plain(await snapshot(store)), before)
  })

  it('takes over a gate that is lost as lost: it keeps the door shut', async (t) => {
    const { store, reopen } = await empty(t)
    await store.adopt('signs', { ...wholeOf(POINTER, ['first', 'second']), readGate: async () => undefined })
    for (const held of [store, await reopen()]) {
      assert.deepEqual(held.domain('signs', 'day')!.gate, POINTER.gate)
      await assert.rejects(held.readGate('signs', 'day'), hasCode('STORE_CORRUPT'))
    }
  })

  it('takes over a domain in the place of a removed one with numbers beyond its, and its versions as they are', async (t) => {
    const { store, reopen, assertDurable } = await filled(t)
    for (let count = 0; count < 20; count++) await store.publish('signs', 'day', newVersion(`day ${count}`, { isActivated: false }))
    const { revision } = store.domain('signs', 'day')!
    await store.removeDomain('signs', 'day')
    const adopted = await store.adopt('signs', wholeOf(POINTER, ['first', 'second']))
    assert.deepEqual(plain(adopted), plain({ ...POINTER, revision: revision + 1, lastVersion: 21 }))
    await assertDurable()
    const next = await (await reopen()).publish('signs', 'day', newVersion('next', { isActivated: false }))
    assert.deepEqual(next.versions.map(({ version }) => version), [3, 7, 22])
  })

  it('remembers what was shipped, also of a domain that is removed', async (t) => {
    const { store, reopen } = await filled(t)
    assert.equal(await store.shipped('signs', 'night'), undefined)
    const first = { files: [sha256('a')], revision: 1 }
    await store.rememberShipped('signs', 'night', first)
    await store.rememberShipped('signs', 'never', { files: [], revision: 0 })
    assert.deepEqual(await store.shipped('signs', 'night'), first)
    const later = { files: [sha256('a'), sha256('b')], revision: 7 }
    await store.rememberShipped('signs', 'night', later)
    await store.removeDomain('signs', 'night')
    for (const held of [store, await reopen()]) {
      assert.deepEqual(await held.shipped('signs', 'night'), later)
      assert.deepEqual(await held.shipped('signs', 'never'), { files: [], revision: 0 })
      assert.equal(await held.shipped('signs', 'day'), undefined)
      assert.equal(await held.shipped('plates', 'night'), undefined)
    }
  })
}

/** Without what memory holds beyond the interface. */
export function plain (value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}
