import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Bank, BatchNormLayer } from '#src/bank/bank.js'
import { foldLayer } from '#src/bank/fold.js'
import { packBank } from '#src/bank/pack.js'
import { PADDING, type Port, type PortLayout } from '#src/bank/port.js'
import { hasCode } from '../support/errors.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

/** One rounding to float32. */
const FLOAT32_ROUNDING = 2 ** -24

/** What the slow way loses in float64 (2^-53) by subtracting numbers below 2^17, a few times. */
const CANCELLATION = 2 ** -34

/** scale 0.5, -0.5 and shift 0, 1 */
const layer: BatchNormLayer = { key: 'bn', channels: 2, epsilon: 0 }
const bank: Bank = new Map([['bn', {
  mean: Float32Array.of(1, 2),
  variance: Float32Array.of(4, 16),
  gamma: Float32Array.of(1, -2),
  beta: Float32Array.of(0.5, 0)
}]])

function layoutOf (...ports: Array<Omit<Port, 'layerKey' | 'offset'>>): PortLayout {
  let length = 0
  const placed = ports.map((port) => {
    const offset = length
    length += port.channel.length
    return { layerKey: 'bn', offset, ...port }
  })
  return { layers: [layer], ports: placed, length }
}

function channels (...list: number[]): Uint16Array {
  return Uint16Array.from(list)
}

describe('packBank', () => {
  test('role scale, in any order and repeated', () => {
    const layout = layoutOf({ role: 'scale', channel: channels(1, 0, 0, 1) })
    assert.deepEqual(packBank(layout, bank), Float32Array.of(-0.5, 0.5, 0.5, -0.5))
  })

  test('role shift', () => {
    assert.deepEqual(packBank(layoutOf({ role: 'shift', channel: channels(0, 1) }), bank), Float32Array.of(0, 1))
  })

  test('role shift of a Conv with a bias: the bias is scaled and added', () => {
    const layout = layoutOf({ role: 'shift', channel: channels(1, 0), bias: Float32Array.of(10, 20) })
    assert.deepEqual(packBank(layout, bank), Float32Array.of(1 - 10, 5))
  })

  test('role weight', () => {
    const layout = layoutOf({
      role: 'weight', channel: channels(0, 1, 0, 1), weights: Float32Array.of(2, 4, -6, 8)
    })
    assert.deepEqual(packBank(layout, bank), Float32Array.of(1, -2, -3, -4))
  })

  test('padding is 0 in every role, whatever stood in the array before', () => {
    const layout = layoutOf(
      { role: 'scale', channel: channels(0, PADDING) },
      { role: 'shift', channel: channels(PADDING, 1), bias: Float32Array.of(1, 1) },
      { role: 'weight', channel: channels(PADDING, 0), weights: Float32Array.of(5, 2) }
    )
    const flat = new Float32Array(6).fill(NaN)
    assert.equal(packBank(layout, bank, flat), flat)
    assert.deepEqual(flat, Float32Array.of(0.5, 0, 0, 0.5, 0, 1))
  })

  test('ports lie at their offsets', () => {
    const layout: PortLayout = {
      layers: [layer],
      ports: [
        { layerKey: 'bn', role: 'shift', offset: 3, channel: channels(0, 1) },
        { layerKey: 'bn', role: 'scale', offset: 0, channel: channels(0, 1) }
      ],
      length: 5
    }
    assert.deepEqual([...packBank(layout, bank)], [0.5, -0.5, 0, 0, 1])
  })

  test('ports of several layers take their own layer\'s pair', () => {
    const other: BatchNormLayer = { key: 'other', channels: 1, epsilon: 0 }
    const layout: PortLayout = {
      layers: [layer, other],
      ports: [
        { layerKey: 'other', role: 'scale', offset: 0, channel: channels(0) },
        { layerKey: 'bn', role: 'scale', offset: 1, channel: channels(0) }
      ],
      length: 2
    }
    const both = new Map(bank).set('other', {
      mean: Float32Array.of(0), variance: Float32Array.of(1), gamma: Float32Array.of(3), beta: Float32Array.of(0)
    })
    assert.deepEqual(packBank(layout, both), Float32Array.of(3, 0.5))
  })

  test('rounds once: a product of float32 numbers would be another', () => {
    const single: BatchNormLayer = { key: 'bn', channels: 1, epsilon: Math.fround(1e-5) }
    const normal = seededNormal(1)
    let differing = 0
    for (let round = 0; round < 100; round++) {
      const [variance, gamma, weight] = [Math.fround(normal() ** 2), Math.fround(normal()), Math.fround(normal())]
      const statistics: Bank = new Map([['bn', {
        mean: Float32Array.of(0),
        variance: Float32Array.of(variance),
        gamma: Float32Array.of(gamma),
        beta: Float32Array.of(0)
      }]])
      const port: Port = {
        layerKey: 'bn', role: 'weight', offset: 0, channel: channels(0), weights: Float32Array.of(weight)
      }
      const [packed] = packBank({ layers: [single], ports: [port], length: 1 }, statistics)
      const scale = gamma / Math.sqrt(variance + single.epsilon)
      assert.equal(packed, Math.fround(weight * scale))
      if (packed !== Math.fround(weight * Math.fround(scale))) differing++
    }
    assert.ok(differing > 0)
  })
})

describe('folded values beyond float32', () => {
  const huge = Math.fround(3e38)
  const statistics = (mean: number, gamma: number, beta = 0): Bank => new Map([['bn', {
    mean: Float32Array.of(0, mean),
    variance: Float32Array.of(1, 0.25),
    gamma: Float32Array.of(1, gamma),
    beta: Float32Array.of(0, beta)
  }]])
  const refused = (port: Omit<Port, 'layerKey' | 'offset'>, overflowing: Bank, role: string) => {
    assert.throws(() => packBank(layoutOf(port), overflowing), (error: unknown) => {
      assert.ok(hasCode('BANK_VALUE_INVALID', {
        layer: 'bn', channel: 1, expected: 'a folded pair within float32', received: 'an overflow'
      })(error))
      return (error as Error).message.includes(`give a ${role} beyond float32 in channel 1`)
    })
  }

  test('are refused with layer, channel and role', () => {
    refused({ role: 'scale', channel: channels(0, PADDING, 1) }, statistics(0, huge), 'scale')
    refused({ role: 'shift', channel: channels(1) }, statistics(huge, -1, huge), 'shift')
    refused({ role: 'shift', channel: channels(1, 0), bias: Float32Array.of(0, huge) }, statistics(0, 1), 'shift')
    refused({ role: 'weight', channel: channels(0, 1), weights: Float32Array.of(1, huge) }, statistics(0, 1), 'weight')
  })

  test('are refused for a variance of zero without an epsilon, with gamma 0 too', () => {
    for (const gamma of [1, 0]) {
      const constant: Bank = new Map([['bn', { ...statistics(0, gamma).get('bn')!, variance: Float32Array.of(1, 0) }]])
      refused({ role: 'scale', channel: channels(0, 1) }, constant, 'scale')
    }
  })

  test('are no fault where no port reads them', () => {
    const layout = layoutOf({ role: 'scale', channel: channels(0) })
    assert.deepEqual(packBank(layout, statistics(0, huge)), Float32Array.of(1))
  })

  test('that get too small are zero', () => {
    const layout = layoutOf({ role: 'weight', channel: channels(0), weights: Float32Array.of(1e-30) })
    const tiny = new Map([['bn', { ...bank.get('bn')!, gamma: Float32Array.of(1e-30, 1) }]])
    assert.deepEqual(packBank(layout, tiny), Float32Array.of(0))
  })
})

describe('weights whose channels repeat', () => {
  const CHANNELS = 64
  const normal = seededNormal(5)
  const vector = (length: number) => Float32Array.from({ length }, normal)
  const layers = [{ key: 'bn', channels: CHANNELS, epsilon: Math.fround(1e-5) }]
  const statistics = {
    mean: vector(CHANNELS), variance: vector(CHANNELS).map(Math.abs), gamma: vector(CHANNELS), beta: vector(CHANNELS)
  }
  const scale = foldLayer(layers[0]!, statistics).scale

  const blocked = (block: number, inner: number, count = CHANNELS) => {
    return Array.from({ length: Math.ceil(count / block) * block * inner }, (_, at) => {
      const channel = Math.floor(at / (block * inner)) * block + at % block
      return channel < count ? channel : PADDING
    })
  }
  const plain = (inner: number) => Array.from({ length: CHANNELS * inner }, (_, at) => Math.floor(at / inner))
  const cases: Array<[string, number[]]> = [
    ['blocked by 16', blocked(16, 36)],
    ['blocked by 16, depthwise', blocked(16, 9)],
    ['blocked by 8', blocked(8, 27)],
    ['blocked by 16, the last block padded', blocked(16, 9, 60)],
    ['blocked by 16, blocks too short for a strip', blocked(16, 3)],
    ['plain', plain(144)],
    ['plain, rows that are no multiple of four', plain(75)],
    ['plain, short rows', plain(5)],
    ['one pattern after another, and a rest', [...plain(70), 3, 1, 4, ...blocked(16, 9), 1, 5]],
    ['no pattern', Array.from({ length: 300 }, () => Math.floor(Math.abs(normal()) * 10) % CHANNELS)],
    ['padding only', new Array<number>(100).fill(PADDING)],
    ['nothing', []]
  ]
  for (const [name, list] of cases) {
    test(name, () => {
      const channel = Uint16Array.from(list)
      const weights = vector(list.length).map((weight, at) => channel[at] === PADDING ? 0 : weight)
      const port: Port = { layerKey: 'bn', role: 'weight', offset: 2, channel, weights }
      const layout = { layers, ports: [port], length: list.length + 4 }
      const flat = new Float32Array(layout.length).fill(7)
      packBank(layout, new Map([['bn', statistics]]), flat)
      const expected = Float32Array.from(list, (number, at) => number === PADDING ? 0 : weights[at]! * scale[number]!)
      assert.deepEqual(flat, Float32Array.of(7, 7, ...expected, 7, 7))
    })
  }
})

describe('any layout', () => {
  const value = fc.float({ min: -8, max: 8, noNaN: true })
  const vector = (length: number, item = value) => {
    return fc.array(item, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values))
  }
  const layerOf = (key: string) => fc.integer({ min: 1, max: 5 }).chain((count) => fc.record({
    layer: fc.constant({ key, channels: count, epsilon: Math.fround(1e-5) }),
    statistics: fc.record({
      mean: vector(count),
      variance: vector(count, fc.float({ min: 0, max: 8, noNaN: true })),
      gamma: vector(count),
      beta: vector(count)
    }),
    bias: fc.option(vector(count), { nil: undefined }),
    ports: fc.array(fc.record({
      role: fc.constantFrom<Port['role'][]>('scale', 'shift', 'weight'),
      elements: fc.array(fc.tuple(fc.oneof(fc.nat({ max: count - 1 }), fc.constant(PADDING)), value), { maxLength: 12 })
    }), { maxLength: 4 })
  }))

  test('gives what the batch norm of the Conv gives, element by element', () => {
    fc.assert(fc.property(fc.tuple(layerOf('a'), layerOf('b')), (parts) => {
      let length = 0
      const ports: Port[] = []
      const expected: number[] = []
      for (const { layer: { key, epsilon }, statistics, bias, ports: wanted } of parts) {
        const { mean, variance, gamma, beta } = statistics
        /** The batch norm of a Conv's output, the slow way. */
        const normalised = (x: number, channel: number) => {
          const deviation = Math.sqrt(variance[channel]! + epsilon)
          return (x + (bias?.[channel] ?? 0) - mean[channel]!) / deviation * gamma[channel]! + beta[channel]!
        }
        for (const { role, elements } of wanted) {
          ports.push({
            layerKey: key,
            role,
            offset: length,
            channel: Uint16Array.from(elements, ([channel]) => channel),
            ...(role === 'weight' ? { weights: Float32Array.from(elements, ([, weight]) => weight) } : {}),
            ...(role === 'shift' && bias !== undefined ? { bias } : {})
          })
          length += elements.length
          for (const [channel, weight] of elements) {
            const input = role === 'weight' ? Math.fround(weight) : role === 'scale' ? 1 : 0
            if (channel === PADDING) expected.push(0)
            else if (role === 'shift') expected.push(normalised(0, channel))
            else expected.push(normalised(input, channel) - normalised(0, channel))
          }
        }
      }
      const layout = { layers: parts.map((part) => part.layer), ports, length }
      const flat = packBank(layout, new Map(parts.map((part) => [part.layer.key, part.statistics])))
      assert.equal(flat.length, expected.length)
      for (const [at, element] of flat.entries()) {
        const tolerance = FLOAT32_ROUNDING * Math.abs(expected[at]!) + CANCELLATION
        assert.ok(Math.abs(element - expected[at]!) <= tolerance, `${element} is not ${expected[at]} at ${at}`)
      }
    }), { seed: runSeed, numRuns: 500 })
  })
})
