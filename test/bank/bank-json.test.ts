import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parseBankJson } from '#src/bank/formats/bank-json.js'
import { STATISTICS } from '#src/bank/bank.js'
import { BankswitchError } from '#src/base/errors.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

function parse (body: unknown) {
  return parseBankJson(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
}

const layer = { mean: [1, -2.5], variance: [0, 1e-3] }

describe('a bank as JSON', () => {
  test('layers with some or all statistics, and a description', () => {
    const { layers, description } = parse({ description: 'fog, 827 images', layers: { bn1: layer, b: { gamma: [1] } } })
    assert.equal(description, 'fog, 827 images')
    assert.deepEqual([...layers], [['bn1', layer], ['b', { gamma: [1] }]])
  })

  test('what is not told is no property', () => {
    const parsed = parse({ layers: {} })
    assert.ok(!('description' in parsed) && !('preprocessing' in parsed) && !('fingerprint' in parsed))
  })

  test('lengths, unknown layers and missing statistics are not its business', () => {
    const { layers } = parse({ layers: { x: {}, y: { mean: [] } } })
    assert.deepEqual([...layers], [['x', {}], ['y', { mean: [] }]])
  })

  test('keys that are names of Object\'s own', () => {
    const { layers } = parse('{"layers":{"__proto__":{"mean":[1]},"constructor":{"mean":[2]}}}')
    assert.deepEqual([...layers], [['__proto__', { mean: [1] }], ['constructor', { mean: [2] }]])
  })

  test('numbers beyond float64 are left to the check of values, which names the channel', () => {
    assert.deepEqual(parse('{"layers":{"a":{"mean":[1e999,-1e999]}}}').layers.get('a'), { mean: [Infinity, -Infinity] })
  })
})

describe('wrong forms are BANK_FORM_INVALID', () => {
  test('a body that is no object', () => {
    for (const body of ['1', '"x"', 'null', '[]', 'true']) {
      assert.throws(() => parse(body), hasCode('BANK_FORM_INVALID', { expected: 'an object', received: body }))
    }
  })

  test('unknown fields of the body', () => {
    for (const field of ['layer', 'Layers', 'activate', '__proto__', '']) {
      assert.throws(() => parse(`{"layers":{},${JSON.stringify(field)}:1}`), hasCode('BANK_FORM_INVALID', {
        expected: ['description', 'preprocessing', 'layers'], received: JSON.stringify(field)
      }))
    }
  })

  test('preprocessing is handed on as it stands', () => {
    const preprocessing = { mean: [0.5], size: { width: 1 }, anything: null }
    assert.deepEqual(parse({ preprocessing, layers: {} }).preprocessing, preprocessing)
    assert.equal('preprocessing' in parse({ layers: {} }), false)
  })

  test('layers that are missing or no object', () => {
    assert.throws(() => parse({}), hasCode('BANK_FORM_INVALID', { received: 'nothing' }))
    assert.throws(() => parse({ description: 'x' }), hasCode('BANK_FORM_INVALID', { received: 'nothing' }))
    for (const layers of [null, [], 'x', 1]) {
      assert.throws(() => parse({ layers }), hasCode('BANK_FORM_INVALID', { received: JSON.stringify(layers) }))
    }
  })

  test('a description that is no string or too long', () => {
    for (const description of [1, null, [], {}]) {
      assert.throws(() => parse({ description, layers: {} }), hasCode('BANK_FORM_INVALID', {
        received: JSON.stringify(description)
      }))
    }
    assert.equal(parse({ description: 'x'.repeat(2000), layers: {} }).description?.length, 2000)
    assert.throws(() => parse({ description: 'x'.repeat(2001), layers: {} }), hasCode('BANK_FORM_INVALID'))
  })

  test('a layer that is no object, by name', () => {
    for (const value of [null, [1], 'x', 1]) {
      assert.throws(() => parse({ layers: { ok: layer, bn1: value } }), hasCode('BANK_FORM_INVALID', {
        layer: 'bn1', expected: 'an object of statistics', received: JSON.stringify(value)
      }))
    }
  })

  test('unknown statistics, PyTorch\'s names among them, by layer', () => {
    for (const field of ['running_mean', 'scale', 'Mean', '__proto__', 'constructor']) {
      const body = `{"layers":{"bn1":{"mean":[1],${JSON.stringify(field)}:[1]}}}`
      assert.throws(() => parse(body), hasCode('BANK_FORM_INVALID', {
        layer: 'bn1', expected: STATISTICS, received: JSON.stringify(field)
      }))
    }
  })

  test('statistics that are no arrays, by layer', () => {
    for (const values of [1, 'x', null, {}]) {
      assert.throws(() => parse({ layers: { bn1: { mean: values } } }), (error: unknown) => {
        assert.ok(hasCode('BANK_FORM_INVALID', { layer: 'bn1', received: JSON.stringify(values) })(error))
        return (error as Error).message.includes('mean of layer "bn1"')
      })
    }
  })

  test('no error grows with the body', () => {
    const long = 'x'.repeat(100_000)
    const bodies = [
      `"${long}"`, `{"${long}":1}`, `{"layers":"${long}"}`, `{"layers":{"${long}":1}}`,
      `{"layers":{"a":{"${long}":1}}}`, `{"layers":{"${long}":{"mean":"${long}"}}}`,
      `{"layers":{"${long}":{"mean":["${long}"]}}}`, `{"layers":{},"description":["${long}"]}`,
      `{"layers":{"${long}":{},"${long}":{}}}`, `{"${long}`, `{"a":${'1'.repeat(100_000)}x}`
    ]
    for (const body of bodies) {
      assert.throws(() => parse(body), (error: unknown) => {
        assert.ok(error instanceof BankswitchError)
        return error.message.length < 500 && JSON.stringify(error.details).length < 800
      }, body.slice(0, 40))
    }
  })
})

describe('values that are no numbers are BANK_VALUE_INVALID, with layer, statistic and channel', () => {
  test('null, strings, booleans', () => {
    for (const value of [null, '1', 'NaN', true, '']) {
      const body = { layers: { a: layer, bn1: { variance: [1, 2, value] } } }
      assert.throws(() => parse(body), hasCode('BANK_VALUE_INVALID', {
        layer: 'bn1', statistic: 'variance', channel: 2, expected: 'a finite number', received: JSON.stringify(value)
      }))
    }
  })

  test('NaN and Infinity as Python writes them, which are no JSON', () => {
    for (const word of ['NaN', 'Infinity', '-Infinity']) {
      for (const values of [`[1,${word}]`, `[1, ${word} ]`, `[\n1\n,\n${word}\n]`, `[1, ${word}, ${word}, 2]`]) {
        assert.throws(() => parse(`{"layers": {"bn1": {"mean": ${values}}}}`), hasCode('BANK_VALUE_INVALID', {
          layer: 'bn1', statistic: 'mean', channel: 1
        }), values)
      }
      assert.throws(() => parse(`{"layers":{"bn1":{"mean":[${word}]}}}`), hasCode('BANK_VALUE_INVALID', { channel: 0 }))
    }
  })

  test('bare words elsewhere never make a bank', () => {
    const bodies = [
      'NaN', '{"layers":NaN}', '{"layers": NaN }', '{"layers":{"a":NaN}}', '{"layers":{"a": NaN }}',
      '{"layers":{"a":{"mean":NaN}}}', '{"layers":{},"description": NaN }', '{"layers":{"a":{"mean":[NaNs]}}}',
      '{"layers":{"a":{"mean":[+Infinity]}}}', '{"layers":{"a":{"mean":[nan]}}}', '{"layers":{"a":{"mean":[1 NaN]}}}'
    ]
    for (const body of bodies) {
      assert.throws(() => parse(body), (error: unknown) => {
        assert.ok(error instanceof BankswitchError, String(error))
        return ['JSON_INVALID', 'BANK_FORM_INVALID', 'BANK_VALUE_INVALID'].includes(error.code)
      }, body)
    }
  })

  test('a description that speaks of NaN is left as it is', () => {
    const description = 'was [NaN, Infinity ] before, NaN ,'
    assert.equal(parse({ description, layers: {} }).description, description)
  })
})

describe('what is no JSON keeps the code of the strict parser', () => {
  test('depth: the arrays of numbers are the deepest', () => {
    assert.throws(() => parse({ layers: { a: { mean: [[1]] } } }), hasCode('JSON_TOO_DEEP'))
    assert.throws(() => parse('['.repeat(100_000)), hasCode('JSON_TOO_DEEP'))
    assert.throws(() => parse('{"layers":{"a":{"mean":[[NaN]]}}}'), hasCode('JSON_TOO_DEEP'))
  })

  test('duplicate keys: of layers, statistics and fields', () => {
    const bodies: Array<[body: string, key: string]> = [
      ['{"layers":{},"layers":{}}', 'layers'],
      ['{"layers":{"a":{},"a":{}}}', 'a'],
      ['{"layers":{"a":{},"\\u0061":{}}}', 'a'],
      ['{"layers":{"a":{"mean":[1],"mean":[2]}}}', 'mean'],
      ['{"layers":{"a":{"mean":[NaN],"mean":[2]}}}', 'mean']
    ]
    for (const [body, key] of bodies) assert.throws(() => parse(body), hasCode('JSON_DUPLICATE_KEY', { key }), body)
  })

  test('bytes that are no UTF-8, truncation, a byte order mark', () => {
    const valid = Buffer.from(JSON.stringify({ layers: { bü: layer } }))
    for (let length = 0; length < valid.length; length++) {
      assert.throws(() => parseBankJson(valid.subarray(0, length)), hasCode('JSON_INVALID'))
    }
    assert.throws(() => parseBankJson(Buffer.concat([Buffer.from('\ufeff'), valid])), hasCode('JSON_INVALID'))
    const broken = Buffer.from(valid)
    broken[valid.indexOf('ü')] = 0xff
    assert.throws(() => parseBankJson(broken), hasCode('JSON_INVALID'))
  })

  test('whatever comes, a bank or an error of ours', () => {
    const word = fc.constantFrom(
      '{', '}', '[', ']', ',', ':', '"layers"', '"mean"', '"a"', '1', 'NaN', '-Infinity', 'null', ' '
    )
    fc.assert(fc.property(fc.array(word, { maxLength: 20 }), (words) => {
      for (const body of [words.join(''), `{"layers":{"a":{"mean":[${words.join('')}]}}}`]) {
        try {
          for (const { mean = [] } of parse(body).layers.values()) {
            assert.ok(Array.from(mean).every((item) => typeof item === 'number'))
          }
        } catch (error) {
          assert.ok(error instanceof BankswitchError, String(error))
        }
      }
    }), { seed: runSeed, numRuns: 500 })
  })
})
