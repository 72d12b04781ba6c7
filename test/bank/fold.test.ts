import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { foldLayer } from '#src/bank/fold.js'
import { runSeed } from '../support/run-seed.js'

/** By how many roundings of float64 the folded and the direct formula may differ; 10^6 random cases stay below 2. */
const ROUNDINGS = 4
const ULP = 2 ** -52

const numbers = fc.float({ min: -1000, max: 1000, noNaN: true })

/** Batch norm as its definition says (Ioffe & Szegedy 2015, algorithm 1). */
function normalise (x: number, mean: number, variance: number, gamma: number, beta: number, epsilon: number): number {
  return (x - mean) / Math.sqrt(variance + epsilon) * gamma + beta
}

function foldOne (mean: number, variance: number, gamma: number, beta: number, epsilon: number) {
  const { scale, shift } = foldLayer({ key: 'bn', channels: 1, epsilon }, {
    mean: Float32Array.of(mean),
    variance: Float32Array.of(variance),
    gamma: Float32Array.of(gamma),
    beta: Float32Array.of(beta)
  })
  return { scale: scale[0]!, shift: shift[0]! }
}

describe('foldLayer', () => {
  test('x * scale + shift is the batch norm', () => {
    const variances = fc.float({ min: 0, max: 1000, noNaN: true })
    const epsilons = fc.constantFrom(Math.fround(1e-5), Math.fround(1e-3), 1)
    const layers = fc.tuple(numbers, variances, numbers, numbers, epsilons)
    fc.assert(fc.property(numbers, layers, (x, [mean, variance, gamma, beta, epsilon]) => {
      const { scale, shift } = foldOne(mean, variance, gamma, beta, epsilon)
      const expected = normalise(x, mean, variance, gamma, beta, epsilon)
      const tolerance = ROUNDINGS * ULP * ((Math.abs(x) + Math.abs(mean)) * Math.abs(scale) + Math.abs(beta))
      const error = Math.abs(x * scale + shift - expected)
      assert.ok(error <= tolerance, `${x * scale + shift} is not ${expected}`)
    }), { seed: runSeed, numRuns: 2000 })
  })

  test('keeps the channels apart', () => {
    const { scale, shift } = foldLayer({ key: 'bn', channels: 3, epsilon: 0 }, {
      mean: Float32Array.of(1, 2, 3),
      variance: Float32Array.of(4, 16, 0.25),
      gamma: Float32Array.of(1, -2, 3),
      beta: Float32Array.of(0.5, 0, -1)
    })
    assert.deepEqual([...scale], [0.5, -0.5, 6])
    assert.deepEqual([...shift], [0, 1, -19])
  })

  test('a channel that never varied gives gamma / sqrt(epsilon)', () => {
    const { scale, shift } = foldOne(0.5, 0, 2, 1, 2 ** -16)
    assert.equal(scale, 512)
    assert.equal(shift, -255)
  })

  test('a gamma of 0 switches a channel off', () => {
    assert.deepEqual(foldOne(3, 0, 0, 7, 1e-5), { scale: 0, shift: 7 })
  })

  test('computes in float64: float32 would lose the epsilon beside this variance', () => {
    const epsilon = Math.fround(1e-5)
    const { scale } = foldOne(0, 1000, 1, 0, epsilon)
    assert.equal(scale, 1 / Math.sqrt(1000 + epsilon))
    assert.notEqual(scale, 1 / Math.sqrt(Math.fround(1000 + epsilon)))
  })
})
