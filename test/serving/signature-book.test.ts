import assert from 'node:assert/strict'
import { test } from 'node:test'
import { preparationOf } from '#src/models/signature-preparation.js'
import { SignatureBook } from '#src/serving/recognising/signature-book.js'
import { makeSignature } from '#src/signature/signature.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { storeErrors } from '#src/store/errors.js'
import { hasCode } from '../support/errors.js'
import { featureRows } from '../support/feature-rows.js'
import { runSeed } from '../support/run-seed.js'
import { openHouse, readyModel, STEM } from '../support/served.js'
import type { DomainRecord } from '#src/store/bank-store.js'

const SIZE = MANIFEST.task === 'classification' ? MANIFEST.input.size : { width: 0, height: 0 }

const signature = makeSignature(featureRows(100, 1, runSeed), { stem: STEM, preparation: preparationOf(MANIFEST, SIZE) })

/** A book over a store that tells how often something in its lists was looked at, and which files were read. */
async function openBook () {
  const house = await openHouse()
  await house.publish('day', 0, { signatures: [signature] })
  const did = { looks: 0, reads: 0 }
  const failures = new Map<string, Error>()
  const watched = new WeakMap<object, readonly DomainRecord[]>()
  const store = {
    domains: (model: string) => {
      const list = house.store.domains(model)
      const known = watched.get(list) ?? new Proxy(list, {
        get (target, key): unknown {
          did.looks++
          return Reflect.get(target, key)
        }
      })
      watched.set(list, known)
      return known
    },
    read: async (...which: Parameters<typeof house.store.read>) => {
      did.reads++
      const failure = failures.get(which[1])
      if (failure !== undefined) throw failure
      return await house.store.read(...which)
    }
  }
  return { house, did, failures, book: new SignatureBook({ store, logger: { warn: () => {} } }, 0.005) }
}

test('a store that has not changed is not looked through again, nor is anything put together', async () => {
  const { house, did, book } = await openBook()
  const groups = await book.groups(house.models[0]!)
  const before = { ...did }
  assert.deepEqual([await book.groups(house.models[0]!) === groups, did], [true, before])
})

test('a change that leaves the same versions active leaves the groups, another one makes them anew', async () => {
  const { house, did, book } = await openBook()
  const [model] = house.models as [typeof house.models[0]]
  const groups = await book.groups(model!)
  await house.store.mark('signs', 'day', { kind: 'label', label: 'next', version: 1 })
  assert.equal(await book.groups(model!), groups)
  const { looks } = did
  assert.equal(await book.groups(model!), groups)
  assert.equal(did.looks, looks)
  await house.publish('night', 10, { signatures: [signature] })
  const [more] = await book.groups(model!)
  assert.deepEqual([more!.discriminant!.signatureOf('night') !== undefined, did.reads], [true, 2])
})

test('a network with another stem has no use for what was put together for the one before', async () => {
  const { house, book } = await openBook()
  await book.groups(house.models[0]!)
  const { stem } = house.models[0]!.artefact
  await assert.rejects(book.groups(readyModel(MANIFEST, { stem: { ...stem!, digest: 'another' } })), hasCode('SIGNATURE_STALE'))
})

test('more domains than a choice may have are refused before one is read', async () => {
  const { house, did, book } = await openBook()
  for (let at = 0; at < 256; at++) await house.publish(`domain-${at}`, 0)
  await assert.rejects(book.groups(house.models[0]!), hasCode('AUTO_TOO_MANY_DOMAINS', { expected: 'at most 256', received: 257 }))
  assert.equal(did.reads, 0)
})

test('a file that is broken or gone takes only its own domain away; while the store is away nothing is put together', async () => {
  const { house, failures, book } = await openBook()
  await house.publish('night', 10, { signatures: [signature] })
  const model = house.models[0]!
  failures.set('night', storeErrors.STORE_UNREADABLE('away'))
  await assert.rejects(book.groups(model), hasCode('STORE_UNREADABLE'))
  for (const failure of [storeErrors.STORE_CORRUPT('broken'), storeErrors.VERSION_NOT_FOUND('gone')]) {
    failures.set('night', failure)
    await house.publish('night', 10, { signatures: [signature] })
    const [group] = await book.groups(model)
    assert.deepEqual(['day', 'night'].map((domain) => group!.discriminant!.signatureOf(domain) !== undefined), [true, false])
  }
  failures.clear()
  await house.publish('night', 10, { signatures: [signature] })
  assert.ok((await book.groups(model))[0]!.discriminant!.signatureOf('night') !== undefined)
})
