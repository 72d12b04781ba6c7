/** What is read of a database before anybody asks for it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BankCache } from '#src/runtime/bank-cache.js'
import { bankKey } from '#src/serving/banks-to-run.js'
import { ReadAhead } from '#src/serving/preparing/read-ahead.js'
import { storeErrors } from '#src/store/errors.js'
import { gate } from '../support/gate.js'
import { openHouse } from '../support/served.js'

/** Bytes of a folded bank of two channels. */
const BANK_BYTES = 4 * Float64Array.BYTES_PER_ELEMENT

/** Reads of the store so far, and what happens instead of one. */
async function setUp ({ bytesMax = 1e6 } = {}) {
  const house = await openHouse()
  const [model] = house.models as [typeof house.models[0]]
  const banks = new BankCache(bytesMax)
  const did = { reads: [] as string[], looks: [] as string[], warnings: 0 }
  const faults = new Map<string, () => Promise<never> | Promise<void>>()
  const store = {
    domains: (name: string) => house.store.domains(name),
    read: async (...[name, domain, version]: Parameters<typeof house.store.read>) => {
      await faults.get(domain)?.()
      did.reads.push(`${name}@${domain}:${version}`)
      return await house.store.read(name, domain, version)
    }
  }
  const recognition = {
    hasSignature: async ({ entry }: typeof model, domain: string) => {
      did.looks.push(`${entry.manifest.name}@${domain}`)
      return true
    }
  }
  const ahead = new ReadAhead({ store, banks, recognition, models: house.states, logger: { warn: () => { did.warnings++ } } })
  const isHere = (domain: string, version = 1) => {
    const { digest } = house.store.domain(model!.entry.manifest.name, domain)!.versions.find((one) => one.version === version)!
    return banks.bytesOf(bankKey(model!, digest)) !== undefined
  }
  const readOf = (part: string) => did.reads.filter((read) => read.startsWith(part)).map((read) => read.slice(part.length))
  return { house, banks, did, faults, ahead, isHere, readOf }
}

test('active versions and canaries of every model are here before they are asked for, and are read once', async () => {
  const { house, did, ahead, isHere, readOf } = await setUp()
  await house.publish('fog', 1)
  await house.publish('fog', 2, { isActivated: false })
  await house.publish('fog', 3, { isActivated: false })
  await house.store.mark('signs', 'fog', { kind: 'canary', candidate: { version: 3, percent: 10 } })
  await house.publish('other', 4, { fingerprint: '0'.repeat(64) })
  await ahead.look()
  assert.deepEqual(readOf('signs@'), ['day:1', 'fog:1', 'fog:3'])
  const { name, defaultDomain } = house.models[1]!.entry.manifest
  assert.deepEqual(readOf(`${name}@`), [`${defaultDomain}:1`])
  assert.deepEqual([isHere('fog', 1), isHere('fog', 2), isHere('fog', 3)], [true, false, true])
  assert.ok(did.looks.includes('signs@day'), 'and the signatures')
  const before = structuredClone(did)
  await ahead.look()
  assert.deepEqual(did, before)
  assert.equal(did.warnings, 0)
})

test('what was changed since is read by the next look, and nothing twice', async () => {
  const { house, ahead, isHere, readOf } = await setUp()
  await ahead.look()
  await house.publish('fog', 1)
  await ahead.look()
  assert.deepEqual([isHere('fog'), readOf('signs@')], [true, ['day:1', 'fog:1']])
})

test('a full cache drops nothing for it', async () => {
  const { house, banks, ahead, isHere } = await setUp({ bytesMax: 2 * BANK_BYTES })
  await house.publish('fog', 1)
  await house.publish('night', 2)
  await ahead.look()
  assert.deepEqual([isHere('day'), isHere('fog'), isHere('night'), banks.size.bytes], [true, true, false, 2 * BANK_BYTES])
})

test('when the store goes away, the next look goes on; a bank that is broken keeps none of the others away', async () => {
  const { house, did, faults, ahead, isHere, readOf } = await setUp()
  for (const [at, domain] of ['fog', 'night', 'rain'].entries()) await house.publish(domain, at + 1)
  faults.set('fog', async () => { throw storeErrors.STORE_CORRUPT('torn') })
  faults.set('night', async () => { throw storeErrors.STORE_UNREADABLE('away') })
  await ahead.look()
  assert.deepEqual([isHere('day'), isHere('rain'), did.warnings], [true, false, 1])
  faults.delete('night')
  await ahead.look()
  assert.deepEqual([isHere('fog'), isHere('night'), isHere('rain')], [false, true, true])
  const reads = readOf('signs@')
  await ahead.look()
  assert.deepEqual(readOf('signs@'), reads)
})

test('looks do not overlap, and nothing more is read once the server closes', async () => {
  const { house, faults, ahead, isHere, readOf } = await setUp()
  await house.publish('fog', 1)
  await house.publish('night', 2)
  const reading = gate()
  faults.set('fog', () => reading.pass())
  const closing = new AbortController()
  const looks = [ahead.look(closing.signal), ahead.look(closing.signal)]
  await reading.reached
  closing.abort()
  reading.open()
  await Promise.all(looks)
  assert.deepEqual([isHere('fog'), isHere('night'), readOf('signs@')], [true, false, ['day:1', 'fog:1']])
})
