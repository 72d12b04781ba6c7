import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { BankswitchError } from '#src/base/errors.js'
import { parseStrictJson, type JsonValue } from '#src/base/strict-json.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

const DEEP_ENOUGH = 64

function parse (text: string | Uint8Array, depthMax = DEEP_ENOUGH): JsonValue {
  return parseStrictJson(typeof text === 'string' ? Buffer.from(text) : text, { depthMax })
}

/** How deep a value nests, the slow way. */
function depthOf (value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

describe('what is JSON', () => {
  test('values of every type', () => {
    const text = ' {"a": [1, -2.5e3, "x", true, false, null, {}], "b": {"c": []}}\n'
    assert.deepEqual(parse(text), { a: [1, -2500, 'x', true, false, null, {}], b: { c: [] } })
    assert.equal(parse('7'), 7)
    assert.equal(parse('"{[:"'), '{[:')
  })

  test('any JSON that JSON.stringify writes, compact or indented', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(0, 2, '\t'), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      assert.deepEqual(parse(text), JSON.parse(text))
      assert.equal(JSON.stringify(parse(text)), JSON.stringify(value))
    }), { seed: runSeed, numRuns: 500 })
  })

  test('brackets, quotes, colons and escapes inside strings are no structure', () => {
    const value = { '}]{[': '\\', '"': '\\"', ':': ':"a":', '\\': '"', 'a"b': ['"', '\\\\', '{"a":1,"a":1}'] }
    assert.deepEqual(parse(JSON.stringify(value), 2), value)
  })

  test('bytes that start anywhere in a larger buffer', () => {
    const whole = Buffer.from('xx{"a":1}yy')
    assert.deepEqual(parseStrictJson(whole.subarray(2, 9), { depthMax: 1 }), { a: 1 })
  })

  test('what is none is refused with JSON_INVALID', () => {
    const wrong = [
      '', ' ', '{', '}', '[1,]', '{"a":1,}', '{"a"}', '{a:1}', "{'a':1}", '[1 2]', '{}{}', '{}x', '[1}', '{"a":1]',
      '"a', '"\\', '{"a":"\\x"}', '{"a\\x":1}', '{"a\n":1}', 'NaN', '[Infinity]', '01', '+1', '.5', '1.', '0x10', 'tru',
      'undefined', '// c\n1', '1\0', '[}[}[}'
    ]
    for (const text of wrong) assert.throws(() => parse(text), hasCode('JSON_INVALID'), JSON.stringify(text))
  })

  test('a byte order mark is refused', () => {
    assert.throws(() => parse('\ufeff{}'), hasCode('JSON_INVALID'))
  })

  test('bytes that are no UTF-8 are refused, in values and keys and outside of strings', () => {
    const wrong = [
      [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xe2, 0x82, 0x22], [0xff],
      [...Buffer.from('{"'), 0xf8, ...Buffer.from('":1}')]
    ]
    for (const bytes of wrong) {
      assert.throws(() => parse(Uint8Array.from(bytes)), hasCode('JSON_INVALID'), String(bytes))
    }
    assert.throws(() => parse(Buffer.from('{}', 'utf16le')), hasCode('JSON_INVALID'))
  })

  test('any bytes give what JSON.parse gives, or an error of ours', () => {
    const structure = fc.constantFrom(...'{}[]:,"\\ae1.-u0 ')
    const text = fc.oneof(
      fc.array(structure, { maxLength: 30 }).map((parts) => parts.join('')), fc.string(), fc.json()
    )
    fc.assert(fc.property(text, (source) => {
      let value: JsonValue
      try {
        value = parse(source)
      } catch (error) {
        assert.ok(error instanceof BankswitchError)
        return
      }
      assert.deepEqual(value, JSON.parse(source))
    }), { seed: runSeed, numRuns: 1000 })
  })
})

describe('elements', () => {
  test('objects, arrays, keys and strings are counted, numbers and words are not', () => {
    const source = '{"a":[1,2,3,true,null,"\\"[{"],"b":{}}'
    const bounded = (elementsMax: number) => parseStrictJson(Buffer.from(source), { depthMax: 3, elementsMax })
    assert.deepEqual(bounded(6), JSON.parse(source))
    assert.throws(() => bounded(5), hasCode('JSON_TOO_MANY_ELEMENTS', { expected: 'at most 5' }))
  })

  test('bombs are refused before anything is made of them', (t) => {
    const made = t.mock.method(JSON, 'parse')
    for (const source of [`[${'{},'.repeat(2 ** 18)}1]`, `[${'[],'.repeat(2 ** 18)}1]`, `[${'"",'.repeat(2 ** 18)}1]`]) {
      assert.throws(() => parse(source, 9), hasCode('JSON_TOO_MANY_ELEMENTS'))
    }
    assert.equal(made.mock.callCount(), 0)
  })
})

describe('depth', () => {
  test('the root counts as one', () => {
    assert.equal(parse('1', 0), 1)
    assert.deepEqual(parse('[]', 1), [])
    assert.throws(() => parse('[]', 0), hasCode('JSON_TOO_DEEP'))
    assert.deepEqual(parse('{"a":[{}]}', 3), { a: [{}] })
    assert.throws(() => parse('{"a":[{}]}', 2), hasCode('JSON_TOO_DEEP', { expected: 'at most 2' }))
  })

  test('siblings do not add up', () => {
    assert.deepEqual(parse('[[],[],{},{"a":[]}]', 3), [[], [], {}, { a: [] }])
  })

  test('exactly the documents as deep as allowed pass', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = JSON.stringify(value)
      const depth = depthOf(JSON.parse(text))
      assert.deepEqual(parse(text, depth), JSON.parse(text))
      if (depth > 0) assert.throws(() => parse(text, depth - 1), hasCode('JSON_TOO_DEEP'))
    }), { seed: runSeed, numRuns: 300 })
  })

  test('a bomb of brackets is refused before anything recursive sees it', () => {
    for (const open of ['[', '{"a":', '[{"a":']) {
      assert.throws(() => parse(open.repeat(1_000_000)), hasCode('JSON_TOO_DEEP'))
    }
  })
})

describe('duplicate keys', () => {
  test('are refused by name, also when one is escaped', () => {
    assert.throws(() => parse('{"a":1,"b":2,"a":1}'), hasCode('JSON_DUPLICATE_KEY', { key: 'a' }))
    assert.throws(() => parse('{"a":1,"\\u0061":2}'), hasCode('JSON_DUPLICATE_KEY', { key: 'a' }))
    assert.throws(() => parse('{"\\u0041":1,"A":2}'), hasCode('JSON_DUPLICATE_KEY', { key: 'A' }))
    assert.throws(() => parse('{"a/b":1,"a\\/b":2}'), hasCode('JSON_DUPLICATE_KEY', { key: 'a/b' }))
    assert.throws(() => parse('{"ü":1,"\\u00fc":2}'), hasCode('JSON_DUPLICATE_KEY', { key: 'ü' }))
    assert.throws(() => parse('{"😀":1,"\\ud83d\\ude00":2}'), hasCode('JSON_DUPLICATE_KEY', { key: '😀' }))
    assert.throws(() => parse('{"":1,"":2}'), hasCode('JSON_DUPLICATE_KEY', { key: '' }))
    assert.throws(() => parse('{"__proto__":1,"__proto__":2}'), hasCode('JSON_DUPLICATE_KEY', { key: '__proto__' }))
  })

  test('are found in nested objects, behind nested values and with spaces before the colon', () => {
    assert.throws(() => parse('[[{"x":{"a":1,"a":1}}]]'), hasCode('JSON_DUPLICATE_KEY'))
    assert.throws(() => parse('{"a":{"b":[1,{"c":"d"}]},"a":1}'), hasCode('JSON_DUPLICATE_KEY', { key: 'a' }))
    assert.throws(() => parse('{"a" : 1, "a"\n\t:2}'), hasCode('JSON_DUPLICATE_KEY', { key: 'a' }))
  })

  test('the same key at another depth, in a sibling or as a value is none', () => {
    const texts = [
      '{"a":{"a":{"a":1}}}', '[{"a":1},{"a":1}]', '{"a":"a","b":"a"}', '{"a":["a","a"],"b":["a:"]}',
      '{"x":{"a":1},"a":1}', '{"a":1,"A":1,"a ":1,"\\u0061\\u0061":1}', '{"\\ud800":1,"\\udc00":2}',
      '{"a\\u0000":1,"a":1}'
    ]
    for (const text of texts) assert.deepEqual(parse(text), JSON.parse(text), text)
  })

  test('a long key is shown in part only: details go out to the client', () => {
    const key = 'k'.repeat(100_000)
    assert.throws(() => parse(`{"${key}":1,"${key}":2}`), (error: unknown) => {
      assert.ok(hasCode('JSON_DUPLICATE_KEY', { key: 'k'.repeat(200) })(error))
      return (error as Error).message.length < 300
    })
  })

  test('are found wherever they stand and however they are escaped', () => {
    const escaped = (key: string) => {
      return `"${[...key].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`
    }
    const keys = fc.uniqueArray(fc.string({ unit: 'grapheme-ascii', minLength: 1 }), { minLength: 1, maxLength: 8 })
    fc.assert(fc.property(keys, fc.nat(), fc.boolean(), (unique, pick, isEscaped) => {
      const again = unique[pick % unique.length]!
      const fields = unique.map((key) => `${JSON.stringify(key)}:${JSON.stringify({ [key]: key })}`)
      assert.equal(Object.keys(parse(`{${fields.join()}}`) as object).length, unique.length)
      fields.push(`${isEscaped ? escaped(again) : JSON.stringify(again)}:0`)
      assert.throws(() => parse(`{${fields.join()}}`), hasCode('JSON_DUPLICATE_KEY', { key: again }))
    }), { seed: runSeed })
  })
})

describe('numbers of digits only', () => {
  const parseNaturals = (text: string) => parseStrictJson(Buffer.from(text), { depthMax: 2, hasDigitsOnly: true })

  test('signs, points and exponents are refused, which JSON.parse would round away', () => {
    for (const number of ['4.0', '4e0', '4E0', '4e+0', '40e-1', '-0', '-4', '0.5', '1e5']) {
      assert.equal(typeof parse(number), 'number')
      for (const text of [number, `[1,${number}]`, `{"a":${number}}`]) {
        assert.throws(() => parseNaturals(text), hasCode('JSON_INVALID'), text)
      }
    }
  })

  test('digits pass, and so does everything that is no number', () => {
    const text = '{"a":[0,4,40],"1e5":"-4.0","b":true,"c":false,"d":null,"e":"E"}'
    assert.deepEqual(parseNaturals(text), JSON.parse(text))
  })
})

test('__proto__ becomes an ordinary own property', () => {
  const value = parse('{"__proto__":{"polluted":true},"constructor":1}') as Record<string, unknown>
  assert.deepEqual(Object.keys(value), ['__proto__', 'constructor'])
  assert.equal(Object.getPrototypeOf(value), Object.prototype)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
})
