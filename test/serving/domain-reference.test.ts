import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDomainReference, resolveDomain } from '#src/serving/domain-reference.js'
import type { BankStore, DomainRecord, VersionRecord } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'

for (const [text, expected] of [
  ['night', { domain: 'night' }],
  ['night:active', { domain: 'night', label: 'active' }],
  ['night:canary', { domain: 'night', label: 'canary' }],
  ['night:v1.2_a-b', { domain: 'night', label: 'v1.2_a-b' }],
  [`night:${'l'.repeat(64)}`, { domain: 'night', label: 'l'.repeat(64) }],
  ['night:1', { domain: 'night', version: 1 }],
  ['night:999999999', { domain: 'night', version: 999_999_999 }],
  ['  night:12\t', { domain: 'night', version: 12 }],
  ['N1.ght_low-light', { domain: 'N1.ght_low-light' }],
  ['active', { domain: 'active' }],
  ['7:7', { domain: '7', version: 7 }],
  ['n'.repeat(64), { domain: 'n'.repeat(64) }]
] as const) {
  test(`"${text}" refers to a domain`, () => {
    assert.deepEqual(parseDomainReference(text), expected)
  })
}

for (const text of [
  '', ' ', ':', ':3', 'night:', 'night:0', 'night:03', 'night:-1', 'night:+1', 'night:1.0', 'night:1e3', 'night: 3',
  'night:1000000000', 'night:Active', 'night:3a', 'night:.x', 'night:_x', `night:${'l'.repeat(65)}`, 'night:3:4', 'night:3:', 'night::3', 'ni ght', '.night', '-night',
  '_night', 'night/day', '../night', 'night@day', 'nacht·', 'n'.repeat(65), 'night\n:3', 'night\u0000'
]) {
  test(`${JSON.stringify(text)} refers to nothing`, () => {
    assert.throws(() => parseDomainReference(text), hasCode('DOMAIN_REFERENCE_INVALID', { received: text }))
  })
}

test('a long text is told in part', () => {
  assert.throws(() => parseDomainReference('x'.repeat(1000)), hasCode('DOMAIN_REFERENCE_INVALID', {
    received: 'x'.repeat(100)
  }))
})

function record (domain: string, numbers: number[], active: number | null): DomainRecord {
  const versions = numbers.map((version) => ({ version }) as VersionRecord)
  return { domain, revision: 1, active, previous: [], versions }
}

/** Only what resolving reads. */
function storeOf (...records: DomainRecord[]): BankStore {
  return {
    domains: (model: string) => model === 'signs' ? records : [],
    domain: (model: string, domain: string) => {
      return model === 'signs' ? records.find((candidate) => candidate.domain === domain) : undefined
    }
  } as unknown as BankStore
}

test('a reference resolves to the active version, or to the one it pins', () => {
  const night = record('night', [1, 2, 5], 2)
  const store = storeOf(record('day', [1], 1), night)
  assert.deepEqual(resolveDomain(store, 'signs', { domain: 'night' }), { record: night, version: night.versions[1] })
  assert.deepEqual(
    resolveDomain(store, 'signs', { domain: 'night', version: 5 }), { record: night, version: night.versions[2] }
  )
})

test('an unknown domain is refused, naming the known ones', () => {
  const store = storeOf(record('day', [1], 1), record('night', [1], 1))
  assert.throws(() => resolveDomain(store, 'signs', { domain: 'fog' }), (error: Error) => {
    assert.match(error.message, /model "signs" has no domain "fog"; it has day, night$/)
    return hasCode('DOMAIN_NOT_FOUND', { expected: ['day', 'night'], received: 'fog' })(error)
  })
  assert.throws(() => resolveDomain(store, 'plates', { domain: 'day' }), (error: Error) => {
    assert.match(error.message, /it has none$/)
    return hasCode('DOMAIN_NOT_FOUND', { expected: [] })(error)
  })
})

test('of many known domains some are named', () => {
  const names = Array.from({ length: 80 }, (_, index) => `d${index}`)
  const store = storeOf(...names.map((name) => record(name, [1], 1)))
  assert.throws(() => resolveDomain(store, 'signs', { domain: 'fog' }), hasCode('DOMAIN_NOT_FOUND', {
    expected: names.slice(0, 50)
  }))
})

test('an unknown version is refused, naming the latest known ones', () => {
  const numbers = Array.from({ length: 60 }, (_, index) => index + 1)
  const store = storeOf(record('night', numbers, 60), record('day', [3], 3))
  assert.throws(() => resolveDomain(store, 'signs', { domain: 'day', version: 4 }), hasCode('VERSION_NOT_FOUND', {
    expected: [3], received: 4
  }))
  assert.throws(() => resolveDomain(store, 'signs', { domain: 'night', version: 61 }), hasCode('VERSION_NOT_FOUND', {
    expected: numbers.slice(10)
  }))
})

test('a domain without an active version can be pinned only', () => {
  const store = storeOf(record('night', [1, 2], null))
  assert.throws(() => resolveDomain(store, 'signs', { domain: 'night' }), hasCode('DOMAIN_INACTIVE', {
    expected: [1, 2], received: null
  }))
  assert.equal(resolveDomain(store, 'signs', { domain: 'night', version: 2 }).version.version, 2)
})
