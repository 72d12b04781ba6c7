import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { requestIdOf } from '#src/http/request-id.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

const idOf = (given?: string) => requestIdOf({ headers: given === undefined ? {} : { 'x-request-id': given } })

describe('the id of a request', () => {
  test('is the caller\'s, where that is a plain one', () => {
    for (const id of ['a', '7', 'x'.repeat(128), '0b5f5bdc-8a3b-4a67-9d0c-33cf2f4ac6a8', 'Root=1-67891233-abcdef012345678912345678', 'aGk+/w==', 'user@host:1.2']) {
      assert.equal(idOf(id), id)
    }
  })

  test('is a new one otherwise, never the same twice', () => {
    const refused = ['', ' ', 'x'.repeat(129), 'a b', 'a, b', 'a\tb', '"', '<script>', '{}', 'ä', '\u001b[31m', 'a\n{"level":60}', '%0a', '\0']
    const ids = [undefined, ...refused].map(idOf)
    for (const id of ids) assert.match(id, UUID)
    assert.equal(new Set(ids).size, ids.length)
  })
})
