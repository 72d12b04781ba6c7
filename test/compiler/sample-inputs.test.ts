import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { resolveSampleShapes, sampleFeeds, seededNormal, seededUniform } from '#src/compiler/sample-inputs.js'
import type { TensorType, ValueDescription } from '#src/ort/session.js'
import { hasCode } from '../support/errors.js'

const input = (dims: Array<number | null>, type: TensorType = 'float32', name = 'x'): ValueDescription => {
  return { name, type, dims }
}

const take = (count: number, next: () => number) => Array.from({ length: count }, next)
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

describe('seeded numbers', () => {
  test('the same seed gives the same numbers, another one others', () => {
    assert.deepEqual(take(5, seededUniform(7)), take(5, seededUniform(7)))
    assert.notDeepEqual(take(5, seededUniform(7)), take(5, seededUniform(8)))
    assert.deepEqual(take(5, seededNormal(7)), take(5, seededNormal(7)))
  })

  test('they never change: proofs of different machines are comparable', () => {
    assert.deepEqual(take(3, seededUniform(1)), [0.6270739405881613, 0.002735721180215478, 0.5274470399599522])
  })

  test('uniform numbers fill [0, 1)', () => {
    const values = take(10_000, seededUniform(3))
    assert.ok(values.every((value) => value >= 0 && value < 1))
    assert.ok(Math.abs(mean(values) - 0.5) < 0.02)
  })

  test('normal numbers have mean 0 and variance 1, and are finite', () => {
    const values = take(10_000, seededNormal(3))
    assert.ok(values.every(Number.isFinite))
    assert.ok(Math.abs(mean(values)) < 0.05)
    assert.ok(Math.abs(mean(values.map((value) => value ** 2)) - 1) < 0.05)
  })
})

describe('resolveSampleShapes', () => {
  test('fixed sizes are the model\'s, and the batch axis is 1', () => {
    assert.deepEqual(resolveSampleShapes([input([null, 3, 8, 8])], []), [{ x: [1, 3, 8, 8] }])
    assert.deepEqual(resolveSampleShapes([input([4, 3, 8, 8])], []), [{ x: [4, 3, 8, 8] }])
    assert.deepEqual(resolveSampleShapes([input([])], []), [{ x: [] }])
  })

  test('sizes that vary are those that were given, in every sample', () => {
    assert.deepEqual(
      resolveSampleShapes([input([null, 3, null, null])], [{ x: [1, 3, 8, 9] }, { x: [1, 3, 16, 17] }]),
      [{ x: [1, 3, 8, 9] }, { x: [1, 3, 16, 17] }]
    )
  })

  test('inputs that were not given are resolved from the model', () => {
    assert.deepEqual(
      resolveSampleShapes([input([null, null]), input([2], 'int64', 'ids')], [{ x: [1, 5] }]), [{ x: [1, 5], ids: [2] }]
    )
  })

  test('a row is accepted for a model with a fixed batch axis', () => {
    assert.deepEqual(resolveSampleShapes([input([4, 3])], [{ x: [1, 3] }]), [{ x: [1, 3] }])
  })

  const refused: Array<[string, Array<number | null>, number[] | undefined]> = [
    ['a size that nobody knows', [null, 3, null, 8], undefined],
    ['another size than the model\'s', [null, 3, null], [1, 4, 8]],
    ['fewer axes', [null, 3, null], [1, 3]],
    ['more axes', [null, 3], [1, 3, 1]]
  ]
  for (const [title, dims, given] of refused) {
    test(`refuses ${title}`, () => {
      assert.throws(
        () => resolveSampleShapes([input(dims)], given === undefined ? [] : [{ x: given }]),
        hasCode('COMPILE_INPUT_SHAPE_UNKNOWN', { input: 'x', expected: `[${dims.map((size) => size ?? '?').join(', ')}]` })
      )
    })
  }
})

describe('sampleFeeds', () => {
  test('gives as many rows as wanted', () => {
    const { x } = sampleFeeds([input([null, 3])], { x: [1, 3] }, 5, 1)
    assert.deepEqual(x!.dims, [5, 3])
    assert.equal(x!.data.length, 15)
  })

  test('gives as many rows as a fixed batch axis takes', () => {
    for (const given of [[1, 3], [4, 3]]) {
      const { x } = sampleFeeds([input([4, 3])], { x: given }, 2, 1)
      assert.deepEqual(x!.dims, [4, 3])
      assert.equal(x!.data.length, 12)
    }
  })

  test('gives a scalar one value', () => {
    const { x } = sampleFeeds([input([])], { x: [] }, 2, 1)
    assert.deepEqual(x!.dims, [])
    assert.equal(x!.data.length, 1)
  })

  test('the same seed gives the same feeds, another one others', () => {
    const feeds = (seed: number) => sampleFeeds([input([null, 3])], { x: [1, 3] }, 2, seed)
    assert.deepEqual(feeds(1), feeds(1))
    assert.notDeepEqual(feeds(1), feeds(2))
  })

  for (const [type, ArrayType] of [
    ['float32', Float32Array], ['float64', Float64Array], ['uint8', Uint8Array], ['int32', Int32Array],
    ['int64', BigInt64Array], ['bool', Uint8Array], ['float16', Uint16Array]
  ] as const) {
    test(`gives different ${type} values, small ones for integers`, () => {
      const { x } = sampleFeeds([input([null, 50], type)], { x: [1, 50] }, 1, 1)
      assert.equal(x!.type, type)
      assert.ok(x!.data instanceof ArrayType)
      const values = Array.from(x!.data as ArrayLike<number | bigint>, Number)
      assert.ok(new Set(values).size > 1)
      if (type === 'bool') assert.ok(values.every((value) => value === 0 || value === 1))
      else if (!type.startsWith('float')) assert.ok(values.every((value) => value >= 0 && value < 256))
    })
  }

  for (const type of ['string', 'int8'] as const) {
    test(`refuses ${type}`, () => {
      assert.throws(
        () => sampleFeeds([input([null, 3], type)], { x: [1, 3] }, 1, 1),
        hasCode('COMPILE_INPUT_SHAPE_UNKNOWN', { received: type })
      )
    })
  }
})
