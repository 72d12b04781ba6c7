import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bestIndices } from '#src/base/best-indices.js'
import { finish } from '#src/base/slices.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

/** What it must give, by sorting everything. */
function bySorting (values: ArrayLike<number>, count: number): number[] {
  const rank = (index: number) => Number.isNaN(values[index]) ? -Infinity : values[index]!
  return Array.from(values, (_, index) => index)
    .sort((a, b) => rank(a) === rank(b) ? a - b : rank(b) - rank(a))
    .slice(0, count)
}

describe('bestIndices', () => {
  it('gives what sorting gives, with ties, NaN, infinities and both zeros', () => {
    const uniform = seededUniform(runSeed)
    const special = [NaN, Infinity, -Infinity, 0, -0, 1, 1, 2]
    for (let round = 0; round < 500; round++) {
      const length = Math.floor(uniform() * 60)
      const values = Float32Array.from({ length }, () => {
        return uniform() < 0.5 ? special[Math.floor(uniform() * special.length)]! : Math.floor(uniform() * 10) - 5
      })
      const count = Math.floor(uniform() * (length + 3))
      assert.deepEqual(Array.from(finish(bestIndices(values, count))), bySorting(values, count), `${values.join()} ${count}`)
    }
  })

  it('orders integers that float64 cannot tell apart', () => {
    const values = BigInt64Array.of(2n ** 53n, 2n ** 53n + 1n, -1n)
    assert.deepEqual(Array.from(finish(bestIndices(values, 2))), [1, 0])
  })

  it('looks at each of many values a few times only, in whatever order they come', () => {
    const [length, count] = [20_000, 5]
    for (const valueAt of [(at: number) => at, (at: number) => -at, () => 1]) {
      let looks = 0
      const values = new Proxy<ArrayLike<number>>({ length }, {
        get: (_, name) => name === 'length' ? length : (looks++, valueAt(Number(name)))
      })
      assert.equal(finish(bestIndices(values, count)).length, count)
      // One comparison with the worst, and as many on the way down as a heap of five is deep.
      assert.ok(looks <= length * 2 * (1 + 2 * 3), `${looks} looks`)
    }
  })

  it('may be interrupted, while it looks and while it gives', () => {
    const values = Float32Array.from({ length: 10_000 }, (_, at) => at % 100)
    const steps = (count: number) => {
      let yields = 0
      for (const work = bestIndices(values, count); work.next().done !== true; yields++);
      return yields
    }
    assert.equal(steps(1), 2)
    assert.equal(steps(10_000), 4)
  })
})
