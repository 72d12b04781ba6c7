import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { it } from 'node:test'
import { hashOf, idOf, ID_PATTERN, makeKey } from '#src/access/key-text.js'

it('keys are of a known form, with 256 bits that differ every time', () => {
  const keys = Array.from({ length: 100 }, makeKey)
  for (const { id, text } of keys) {
    assert.match(id, new RegExp(ID_PATTERN))
    assert.ok(text.startsWith(`bsk_${id}_`))
    assert.equal(Buffer.from(text.slice(`bsk_${id}_`.length), 'base64url').length, 32)
    assert.equal(idOf(text), id)
  }
  assert.equal(new Set(keys.map(({ id }) => id)).size, 100)
  assert.equal(new Set(keys.map(({ text }) => text.slice(-43))).size, 100)
})

it('the id of what is no key is undefined', () => {
  const { id, text } = makeKey()
  for (const wrong of ['', id, `bsk_${id}_`, ` ${text}`, `${text}x`, text.slice(0, -1), text.toUpperCase(), `${text}\n`]) {
    assert.equal(idOf(wrong), undefined, wrong)
  }
})

it('the hash is SHA-256 of the whole text', () => {
  const { text } = makeKey()
  assert.deepEqual(hashOf(text), createHash('sha256').update(text).digest())
})
