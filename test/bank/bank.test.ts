import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  bankDigest, completeBank, STATISTICS, type Bank, type BatchNormLayer, type LayerStatistics, type PartialLayer,
  type Statistic
} from '#src/bank/bank.js'
import { BankswitchError } from '#src/base/errors.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

const FLOAT32_MAX = 3.4028234663852886e38

const layers: BatchNormLayer[] = [
  { key: 'bn1', channels: 2, epsilon: 1e-5 }, { key: 'layer1.0.bn1', channels: 3, epsilon: 1e-3 }
]

const base: Bank = new Map(layers.map(({ key, channels }, at) => [key, {
  mean: new Float32Array(channels).fill(100),
  variance: new Float32Array(channels).fill(200),
  gamma: new Float32Array(channels).fill(10 + at),
  beta: new Float32Array(channels).fill(20 + at)
}]))

/** Valid statistics for both layers, as outside data, with changes to the first. */
function given (changes: PartialLayer = {}): Map<string, PartialLayer> {
  return new Map([
    ['bn1', { mean: [1, 2], variance: [3, 4], ...changes }],
    ['layer1.0.bn1', { mean: [5, 6, 7], variance: [8, 9, 0], gamma: [1, 2, 3], beta: [-1, -2, -3] }]
  ])
}

function complete (partial: ReadonlyMap<string, PartialLayer>): Bank {
  return completeBank(layers, partial, base)
}

describe('completeBank', () => {
  test('stores float32 in the model\'s order, and takes a missing gamma or beta from the base', () => {
    const bank = complete(new Map([...given({ beta: [0.1, 1e-46] })].reverse()))
    assert.deepEqual([...bank.keys()], ['bn1', 'layer1.0.bn1'])
    assert.deepEqual(bank.get('bn1'), {
      mean: Float32Array.of(1, 2),
      variance: Float32Array.of(3, 4),
      gamma: Float32Array.of(10, 10),
      beta: Float32Array.of(Math.fround(0.1), 0)
    })
    assert.deepEqual(bank.get('layer1.0.bn1'), {
      mean: Float32Array.of(5, 6, 7),
      variance: Float32Array.of(8, 9, 0),
      gamma: Float32Array.of(1, 2, 3),
      beta: Float32Array.of(-1, -2, -3)
    })
  })

  test('shares no memory with what it was given', () => {
    const mean = Float32Array.of(1, 2)
    const bank = complete(given({ mean }))
    mean[0] = 99
    assert.equal(bank.get('bn1')!.mean[0], 1)
    assert.notEqual(bank.get('bn1')!.gamma.buffer, base.get('bn1')!.gamma.buffer)
  })

  test('takes float64 arrays and the borders of float32', () => {
    const bank = complete(given({ mean: Float64Array.of(FLOAT32_MAX, -FLOAT32_MAX), variance: [0, 2 ** -149] }))
    assert.deepEqual([...bank.get('bn1')!.mean], [FLOAT32_MAX, -FLOAT32_MAX])
    assert.deepEqual([...bank.get('bn1')!.variance], [0, 2 ** -149])
  })

  test('BANK_EMPTY', () => {
    assert.throws(() => complete(new Map()), hasCode('BANK_EMPTY', { expected: 2, received: 0 }))
  })

  test('BANK_LAYER_UNKNOWN names the layer and those that there are', () => {
    for (const key of ['bn2', 'module.bn1', 'bn1 ', '', '__proto__', 'constructor']) {
      assert.throws(() => complete(given().set(key, { mean: [1], variance: [1] })), hasCode('BANK_LAYER_UNKNOWN', {
        layer: key, expected: ['bn1', 'layer1.0.bn1'], received: key
      }))
    }
  })

  test('BANK_LAYER_UNKNOWN comes before what is missing: a bank of another model is told by its keys', () => {
    const foreign = new Map([['features.1', { mean: [1], variance: [1] }]])
    assert.throws(() => complete(foreign), hasCode('BANK_LAYER_UNKNOWN', { layer: 'features.1' }))
  })

  test('BANK_LAYER_UNKNOWN shows a part of a long key and of many layers', () => {
    const many = Array.from({ length: 25 }, (_, at) => ({ key: `bn${at}`, channels: 1, epsilon: 1e-5 }))
    const partial = new Map([['k'.repeat(100_000), { mean: [1] }]])
    assert.throws(() => completeBank(many, partial, new Map()), (error: unknown) => {
      assert.ok(error instanceof BankswitchError)
      const { layer, expected } = error.details as { layer: string, expected: string[] }
      assert.equal(layer, `${'k'.repeat(200)}…`)
      assert.deepEqual(expected.slice(19), ['bn19', '… 25 in all'])
      return error.message.length < 300
    })
  })

  test('BANK_LAYER_MISSING names the layer', () => {
    const partial = given()
    partial.delete('layer1.0.bn1')
    assert.throws(() => complete(partial), hasCode('BANK_LAYER_MISSING', {
      layer: 'layer1.0.bn1', expected: 2, received: 1
    }))
  })

  test('BANK_STATISTIC_MISSING: mean and variance never come from the base', () => {
    for (const statistic of ['mean', 'variance'] as const) {
      const partial = given({ gamma: [1, 1] })
      delete partial.get('bn1')![statistic]
      const received = statistic === 'mean' ? ['variance', 'gamma'] : ['mean', 'gamma']
      assert.throws(() => complete(partial), hasCode('BANK_STATISTIC_MISSING', {
        layer: 'bn1', expected: 'mean and variance', received
      }))
    }
  })

  test('BANK_STATISTIC_MISSING: gamma and beta too when there is no base', () => {
    for (const statistic of ['gamma', 'beta'] as const) {
      const partial = given({ gamma: [1, 1], beta: [1, 1] })
      delete partial.get('bn1')![statistic]
      assert.throws(() => completeBank(layers, partial, new Map()), (error: unknown) => {
        assert.ok(hasCode('BANK_STATISTIC_MISSING', { layer: 'bn1' })(error))
        return (error as Error).message.includes(statistic)
      })
    }
  })

  test('BANK_LENGTH_MISMATCH names layer and statistic', () => {
    for (const statistic of STATISTICS) {
      for (const values of [[], [1], [1, 2, 3]]) {
        assert.throws(() => complete(given({ [statistic]: values })), hasCode('BANK_LENGTH_MISMATCH', {
          layer: 'bn1', statistic, expected: 2, received: values.length
        }))
      }
    }
  })

  test('BANK_VALUE_INVALID names layer, statistic, channel and the value as it was given', () => {
    for (const statistic of STATISTICS) {
      const expected = statistic === 'variance' ? 'a finite float32 number, zero or above' : 'a finite float32 number'
      for (const value of [NaN, Infinity, -Infinity, 1e39, -1e39, 3.5e38]) {
        assert.throws(() => complete(given({ [statistic]: Float64Array.of(1, value) })), (error: unknown) => {
          assert.ok(hasCode('BANK_VALUE_INVALID', {
            layer: 'bn1', statistic, channel: 1, expected, received: String(value)
          })(error))
          return (error as Error).message === `${statistic} of layer "bn1" is ${value} in channel 1`
        })
      }
    }
  })

  test('BANK_VALUE_INVALID for a negative variance, other statistics may be negative', () => {
    for (const value of [-1, -1e-30, -1e-300]) {
      assert.throws(() => complete(given({ variance: [0, value] })), hasCode('BANK_VALUE_INVALID', {
        layer: 'bn1', statistic: 'variance', channel: 1, received: String(value)
      }))
    }
    const bank = complete(given({ mean: [-1, 0], gamma: [-1, 0], beta: [-1, 0], variance: [-0, 0] }))
    assert.equal(bank.get('bn1')!.gamma[0], -1)
  })

  test('whatever the numbers, a bank holds the invariants or is refused', () => {
    const number = fc.oneof(fc.float(), fc.double(), fc.nat(), fc.constantFrom(FLOAT32_MAX, 1e39, -0, -1e-50))
    const numbers = fc.oneof({ arbitrary: fc.tuple(number, number), weight: 9 }, fc.array(number))
    const partial = fc.record({ mean: numbers, variance: numbers, gamma: numbers, beta: numbers }, { requiredKeys: [] })
    const layer = { key: 'a', channels: 2, epsilon: 0 }
    fc.assert(fc.property(partial, (values) => {
      let bank: Bank
      try {
        bank = completeBank([layer], new Map([['a', values]]), new Map([['a', base.get('bn1')!]]))
      } catch (error) {
        assert.ok(error instanceof BankswitchError)
        return
      }
      const statistics = bank.get('a')!
      assert.deepEqual(Object.keys(statistics).sort(), [...STATISTICS].sort())
      for (const statistic of STATISTICS) {
        assert.equal(statistics[statistic].length, 2)
        assert.ok(statistics[statistic].every(Number.isFinite))
        if (values[statistic] === undefined) assert.ok(statistic === 'gamma' || statistic === 'beta')
        else assert.deepEqual(statistics[statistic], Float32Array.from(values[statistic]))
      }
      assert.ok(statistics.variance.every((value) => value >= 0))
      assert.ok((values.variance as number[]).every((value) => value >= 0))
    }), { seed: runSeed, numRuns: 500 })
  })
})

describe('bankDigest', () => {
  const statistics = (seed: number): LayerStatistics => ({
    mean: Float32Array.of(seed, 2),
    variance: Float32Array.of(3, 4),
    gamma: Float32Array.of(5, 6),
    beta: Float32Array.of(7, 0)
  })
  const bank: Bank = new Map([['bn1', statistics(1)], ['bn2', statistics(2)]])

  test('is SHA-256 over keys, lengths and float32 patterns: stored versions depend on it', () => {
    const hash = createHash('sha256')
    for (const [key, mean] of [['bn1', 1], ['bn2', 2]] as const) {
      hash.update(`"${key}":2\n`)
      const bytes = Buffer.alloc(32)
      for (const [at, value] of [mean, 2, 3, 4, 5, 6, 7, 0].entries()) bytes.writeFloatLE(value, 4 * at)
      hash.update(bytes)
    }
    assert.equal(bankDigest(bank), hash.digest('hex'))
  })

  test('does not depend on where the arrays lie', () => {
    const shifted = (values: Float32Array) => Float32Array.of(99, ...values, 99).subarray(1, values.length + 1)
    const moved = new Map([...bank].map(([key, layer]) => {
      const entries = STATISTICS.toReversed().map((statistic) => [statistic, shifted(layer[statistic])])
      return [key, Object.fromEntries(entries) as LayerStatistics]
    }))
    assert.equal(bankDigest(moved), bankDigest(bank))
  })

  test('differs for every bit, key and order', () => {
    const digests = new Set([bankDigest(bank)])
    let count = 1
    const add = (other: Bank) => {
      digests.add(bankDigest(other))
      assert.equal(digests.size, ++count)
    }
    for (const statistic of STATISTICS) {
      for (let bit = 0; bit < 64; bit++) {
        const values = bank.get('bn1')![statistic].slice()
        new Uint8Array(values.buffer)[bit >> 3]! ^= 1 << (bit & 7)
        add(new Map(bank).set('bn1', { ...bank.get('bn1')!, [statistic]: values }))
      }
    }
    const { mean, variance, ...rest } = statistics(1)
    add(new Map([...bank].reverse()))
    add(new Map([['bn1', statistics(1)]]))
    add(new Map([['bn1', statistics(1)], ['bn3', statistics(2)]]))
    add(new Map([['bn1', statistics(2)], ['bn2', statistics(1)]]))
    add(new Map([['bn1', { ...rest, mean: variance, variance: mean }], ['bn2', statistics(2)]]))
    add(new Map([['bn"1', statistics(1)], ['bn2', statistics(2)]]))
    add(new Map())
  })

  test('negative zero is another number', () => {
    const withZero = (zero: number) => new Map([['bn1', { ...statistics(1), beta: Float32Array.of(7, zero) }]])
    assert.notEqual(bankDigest(withZero(-0)), bankDigest(withZero(0)))
  })

  test('a key cannot pose as numbers, nor one layer as two', () => {
    const none: Record<Statistic, Float32Array> = {
      mean: new Float32Array(), variance: new Float32Array(), gamma: new Float32Array(), beta: new Float32Array()
    }
    assert.notEqual(bankDigest(new Map([['a":0\n"b', none]])), bankDigest(new Map([['a', none], ['b', none]])))
  })
})
