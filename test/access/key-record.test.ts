import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseKeys, serializeKeys } from '#src/access/key-record.js'
import { hasCode } from '../support/errors.js'
import { testKey } from '../support/keys.js'

const { record } = testKey(['infer'])
const refused = (text: string, pattern: RegExp) => {
  assert.throws(() => parseKeys(Buffer.from(text), 'keys.json'), (error: unknown) => {
    hasCode('KEYS_INVALID')(error)
    assert.match((error as Error).message, pattern)
    assert.match((error as Error).message, /keys\.json/)
    return true
  }, text)
}
const fileOf = (...keys: unknown[]) => JSON.stringify({ format: 1, keys })

describe('keys.json', () => {
  it('is read as it was written', () => {
    const keys = [record, testKey(['read', 'admin'], { models: ['m', 'n.2'], expiresAt: '2030-01-01T00:00:00.5Z', label: 'ü' }).record]
    assert.deepEqual(parseKeys(serializeKeys(keys), 'x'), keys)
    assert.deepEqual(parseKeys(serializeKeys([]), 'x'), [])
  })

  it('is refused when it is cut off anywhere', () => {
    const bytes = Buffer.from(serializeKeys([record]))
    // The last byte is a line feed.
    for (let length = 0; length < bytes.length - 1; length++) {
      assert.throws(() => parseKeys(bytes.subarray(0, length), 'x'), hasCode('KEYS_INVALID'), String(length))
    }
  })

  it('is refused for members that are unknown, missing or doubled', () => {
    refused('[]', /must be object/)
    refused('{"keys": []}', /format/)
    refused('{"format": 2, "keys": []}', /format/)
    refused('{"format": 1, "keys": [], "more": 1}', /additional/)
    refused('{"format": 1, "keys": [], "keys": []}', /stands twice/)
    refused(fileOf({ ...record, expires: '2030-01-01T00:00:00Z' }), /additional/)
    for (const member of ['id', 'label', 'hash', 'scopes', 'createdAt']) {
      refused(fileOf({ ...record, [member]: undefined }), new RegExp(`required property '${member}'`))
    }
  })

  it('is refused for values that mean nothing', () => {
    const wrong: Array<[member: string, value: unknown]> = [
      ['id', 'ADMIN'], ['id', 'admin'], ['hash', 'x'.repeat(64)], ['hash', record.hash.slice(1)], ['scopes', []], ['scopes', ['root']],
      ['scopes', ['infer', 'infer']], ['scopes', 'admin'], ['models', []], ['models', ['../x']], ['models', ['a', 'a']], ['models', null],
      ['createdAt', 'now'], ['expiresAt', '2030-01-01'], ['expiresAt', 1893456000], ['expiresAt', null], ['label', 'x'.repeat(101)]
    ]
    for (const [member, value] of wrong) refused(fileOf({ ...record, [member]: value }), new RegExp(`/keys/0/${member}`))
    refused(fileOf({ ...record, expiresAt: '2030-13-45T00:00:00Z' }), /is no time/)
    refused(fileOf(record, record), /stands twice/)
  })
})
