import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { completeOptions, MODES, optionsShape, parseOptions, selectLayers } from '#src/calibration/options.js'
import { BankswitchError } from '#src/base/errors.js'
import { hasCode } from '../support/errors.js'

const refused = (given: Record<string, unknown>): string[] => {
  try {
    completeOptions(given)
  } catch (error) {
    assert.ok(error instanceof BankswitchError && error.code === 'CALIBRATION_OPTIONS_INVALID', String(error))
    return error.details.faults as string[]
  }
  assert.fail(`${JSON.stringify(given)} was accepted`)
}

describe('options', () => {
  it('have defaults, which are those that the documentation shows', () => {
    const options = completeOptions({})
    assert.deepEqual(options, {
      mode: 'sequential',
      batchSize: 32,
      momentum: 0.1,
      fresh: false,
      batchesTracked: 0,
      priorImages: 0,
      priorKind: 'mixture',
      layers: [],
      tolerance: 0.1,
      stopEarly: false,
      minimumImages: 8,
      strict: false,
      activate: true
    })
    for (const [name, { default: fallback }] of Object.entries(optionsShape as Record<string, { default?: unknown }>)) {
      assert.deepEqual((options as Record<string, unknown>)[name], fallback, name)
    }
  })

  it('leave what was given alone', () => {
    const given = { layers: ['a'] }
    const options = completeOptions(given)
    options.layers.push('b')
    assert.deepEqual(given, { layers: ['a'] })
  })

  for (const [name, accepted, wrong] of [
    ['mode', MODES, ['', 'Sequential', 'batch', 1, null]],
    ['batchSize', [1, 1024], [0, 1025, 1.5, -1, '32', null, NaN, Infinity]],
    ['momentum', [null, 1e-9, 1], [0, -0.1, 1.0001, 'null', NaN]],
    ['fresh', [true, false], ['true', 0, null]],
    ['batchesTracked', [0, 2 ** 31], [-1, 2 ** 31 + 1, 0.5]],
    ['priorImages', [0, 0.5, 1e9], [-1e-9, 1e9 + 1, NaN, Infinity]],
    ['priorKind', ['schneider', 'mixture'], ['none', '']],
    ['layers', [[], ['a', 'b*'], Array<string>(10_000).fill('a')], ['a', [''], [1], ['a'.repeat(501)], Array<string>(10_001).fill('a')]],
    ['tolerance', [1e-9, 10], [0, 10.5, -1]],
    ['minimumImages', [2, 1_000_000], [1, 0, 1_000_001, 2.5]],
    ['base', ['', 'day', 'day:3'], [3, null, 'a'.repeat(201)]],
    ['description', ['', 'a'.repeat(2000)], ['a'.repeat(2001), 5]]
  ] as Array<[string, unknown[], unknown[]]>) {
    it(`${name}: takes what it may be, and refuses the rest by name`, () => {
      for (const value of accepted) assert.deepEqual((completeOptions({ [name]: value }) as Record<string, unknown>)[name], value)
      for (const value of wrong) {
        const faults = refused({ [name]: value })
        assert.ok(faults.every((fault) => fault.startsWith(name)), faults.join('; '))
      }
    })
  }

  it('tell all faults at once, unknown names too', () => {
    const faults = refused({ mode: 'none', batchSize: 0, minimumImages: 1, colour: 'red' })
    for (const text of ['mode must be equal to one of', 'batchSize must be >= 1', 'minimumImages must be >= 2', 'colour']) {
      assert.ok(faults.some((fault) => fault.includes(text)), `${text} in ${faults.join('; ')}`)
    }
    assert.equal(faults.length, 4)
  })

  it('take no name for an option because every object has it', () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty']) {
      assert.equal(refused({ [name]: 1 }).length, 1, name)
      assert.throws(() => parseOptions({ [name]: '1' }), hasCode('CALIBRATION_OPTIONS_INVALID'))
    }
    assert.throws(() => parseOptions(JSON.parse('{"__proto__": "1"}') as Record<string, string>), hasCode('CALIBRATION_OPTIONS_INVALID'))
  })
})

describe('options as text', () => {
  it('are read by what they are', () => {
    const options = parseOptions({
      mode: 'ema',
      batchSize: '64',
      momentum: '1e-1',
      fresh: 'true',
      batchesTracked: '12',
      priorImages: '.5',
      priorKind: 'schneider',
      tolerance: '2.',
      stopEarly: 'false',
      strict: 'true',
      activate: 'false'
    })
    assert.deepEqual(options, {
      mode: 'ema',
      batchSize: 64,
      momentum: 0.1,
      fresh: true,
      batchesTracked: 12,
      priorImages: 0.5,
      priorKind: 'schneider',
      layers: [],
      tolerance: 2,
      stopEarly: false,
      minimumImages: 8,
      strict: true,
      activate: false
    })
  })

  it('momentum null is the cumulative average', () => {
    assert.equal(parseOptions({ momentum: 'null' }).momentum, null)
    assert.throws(() => parseOptions({ batchSize: 'null' }), hasCode('CALIBRATION_OPTIONS_INVALID'))
  })

  it('texts stay texts, whatever they look like', () => {
    for (const text of ['7', 'true', 'null', '1e3', '']) {
      assert.equal(parseOptions({ description: text }).description, text)
      assert.equal(parseOptions({ base: text }).base, text)
    }
  })

  it('a list has commas, and no empty parts', () => {
    assert.deepEqual(parseOptions({ layers: ' layer1.*, bn1 ,,layer2.0.bn1' }).layers, ['layer1.*', 'bn1', 'layer2.0.bn1'])
    assert.deepEqual(parseOptions({ layers: '' }).layers, [])
    assert.deepEqual(parseOptions({ layers: '7' }).layers, ['7'])
  })

  for (const text of ['', ' 8', '8 ', '0x10', '1_000', '1,5', 'eight', 'Infinity', 'NaN', '1e999', '+8', '--8', 'True', '8.5']) {
    it(`batchSize "${text}" is refused`, () => {
      assert.throws(() => parseOptions({ batchSize: text }), hasCode('CALIBRATION_OPTIONS_INVALID'))
    })
  }
})

describe('layers', () => {
  const keys = ['bn1', 'layer1.0.bn1', 'layer1.0.bn2', 'layer10.0.bn1', 'layer2.0.bn1']
  const select = (...patterns: string[]) => [...selectLayers(keys, patterns)]

  it('are all where none are named', () => assert.deepEqual(select(), keys))

  it('are named by key or prefix, each once', () => {
    assert.deepEqual(select('bn1'), ['bn1'])
    assert.deepEqual(select('layer1.*'), ['layer1.0.bn1', 'layer1.0.bn2'])
    assert.deepEqual(select('layer1*'), ['layer1.0.bn1', 'layer1.0.bn2', 'layer10.0.bn1'])
    assert.deepEqual(select('layer1.0.bn2', 'layer1.*', 'bn1'), ['layer1.0.bn2', 'layer1.0.bn1', 'bn1'])
    assert.deepEqual(select('*'), keys)
  })

  it('that are none are refused, the first of them by name', () => {
    for (const pattern of ['bn', 'bn1 ', 'BN1', 'layer3*', '*bn1', 'layer1.*.bn1', 'layer1.?']) {
      assert.throws(() => select('bn1', pattern), hasCode('CALIBRATION_LAYER_UNKNOWN', { received: pattern, expected: keys }))
    }
  })

  it('are shown in part where the model has many', () => {
    const many = Array.from({ length: 50 }, (_, at) => `bn${at}`)
    assert.throws(() => selectLayers(many, ['x'.repeat(300)]), hasCode('CALIBRATION_LAYER_UNKNOWN', {
      expected: many.slice(0, 20), received: 'x'.repeat(200)
    }))
  })
})
