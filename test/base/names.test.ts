import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isName, NAME_PATTERN } from '#src/base/names.js'
import { runSeed } from '../support/run-seed.js'

test('letters, digits, dots, dashes and underscores, up to 64 of them', () => {
  for (const name of ['a', '7', 'Night', 'fog-2', 'low_light', 'v1.2', 'a..b', 'a.', '0'.repeat(64)]) {
    assert.ok(isName(name), name)
  }
})

test('nothing that means something in a path, a URL or a reference', () => {
  const wrong = [
    '', '.', '..', '.hidden', '-flag', '_x', 'a/b', '/a', 'a\\b', 'a@b', 'a:3', 'a b', 'a%2f', 'a?b', 'a#b', 'ü', '夜',
    'a\n', '\na', 'a\0', 'a,b', 'a"b', '0'.repeat(65)
  ]
  for (const name of wrong) assert.ok(!isName(name), JSON.stringify(name))
})

test('a name is one path segment and needs no escape in a URL', () => {
  fc.assert(fc.property(fc.stringMatching(new RegExp(NAME_PATTERN)), (name) => {
    assert.ok(isName(name))
    assert.equal(encodeURIComponent(name), name)
    assert.equal(join('/root', name), `/root/${name}`)
  }), { seed: runSeed })
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
    if (isName(text)) assert.match(text, /^[A-Za-z0-9._-]{1,64}$/)
  }), { seed: runSeed })
})
