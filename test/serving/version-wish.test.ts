import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NAMED, namedReference, pinned, type VersionWish } from '#src/serving/version-wish.js'
import { hasCode } from '../support/errors.js'

test('each place is read alone, and knows nothing where nothing stands', () => {
  const places = ['row', 'header', 'parameter', 'path'] as const
  for (const [at, place] of places.entries()) {
    assert.deepEqual(NAMED.map((read) => read({ [place]: 'night:2' }, 'day')), NAMED.map((_, other) => {
      return other === at ? { domain: 'night', version: 2 } : undefined
    }))
  }
  assert.deepEqual(NAMED.map((read) => read({ pathVersion: '3' }, 'day')), [undefined, undefined, undefined, undefined, { domain: 'day' }])
  assert.ok(NAMED.every((read) => read({ canaryKey: 'k' }, 'day') === undefined))
})

test('the first place that names a domain counts, whatever stands in the others', () => {
  const all: VersionWish = { row: 'a', header: 'b', parameter: 'c', path: 'd', pathVersion: '7' }
  assert.deepEqual(namedReference(all, 'day'), { domain: 'a' })
  assert.deepEqual(namedReference({ ...all, row: undefined }, 'day'), { domain: 'b', version: 7 })
  assert.deepEqual(namedReference({ path: 'd', pathVersion: 'calm' }, 'day'), { domain: 'd', label: 'calm' })
  assert.deepEqual(namedReference({ pathVersion: 'active' }, 'day'), { domain: 'day', label: 'active' })
  assert.equal(namedReference({}, 'day'), undefined)
  // What counts must be right; what does not count is not read.
  assert.throws(() => namedReference({ header: '', path: 'night' }, 'day'), hasCode('DOMAIN_REFERENCE_INVALID'))
  assert.deepEqual(namedReference({ header: 'night', path: 'no:such:form' }, 'day'), { domain: 'night' })
})

test('a path pins what has no pin, or the same one', () => {
  for (const [reference, pathVersion, version] of [
    [{ domain: 'night' }, '2', { version: 2 }], [{ domain: 'night', version: 2 }, '2', { version: 2 }],
    [{ domain: 'night' }, 'calm', { label: 'calm' }], [{ domain: 'night', label: 'calm' }, 'calm', { label: 'calm' }],
    [{ domain: 'night', label: 'calm' }, undefined, { label: 'calm' }]
  ] as const) {
    assert.deepEqual(pinned(reference, { pathVersion }), { domain: 'night', ...version })
  }
  for (const [reference, pathVersion] of [
    [{ domain: 'night', version: 1 }, '2'], [{ domain: 'night', label: 'calm' }, '2'], [{ domain: 'night', version: 2 }, 'calm'],
    [{ domain: 'night' }, '0'], [{ domain: 'night' }, '2:3'], [{ domain: 'night' }, '']
  ] as const) {
    assert.throws(() => pinned(reference, { pathVersion }), hasCode('DOMAIN_REFERENCE_INVALID'), `${JSON.stringify(reference)} ${pathVersion}`)
  }
})
