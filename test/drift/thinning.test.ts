import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { counts, GAP_MAX, gapOf, newThinning } from '#src/drift/thinning.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const FEATURES = 24
const NONE = new Float32Array(0)

function counted (pictures: Iterable<Float64Array>): number {
  const state = newThinning()
  let count = 0
  for (const picture of pictures) if (counts(state, picture, NONE)) count++
  return count
}

/** Neighbours share `likeness` of what they are; each alone is standard normal. */
function * stream (length: number, likeness: number, seed: number): Generator<Float64Array> {
  const normal = seededNormal(seed)
  let before = Float64Array.from({ length: FEATURES }, normal)
  for (let at = 0; at < length; at++) {
    before = before.map((value) => likeness * value + Math.sqrt(1 - likeness ** 2) * normal())
    yield before
  }
}

describe('thinning', () => {
  it('counts most of the pictures that do not depend on each other', () => {
    assert.ok(counted(stream(2000, 0, runSeed)) > 1500)
  })

  it('counts the fewer the more neighbours are alike', () => {
    const [none, some, much] = [0, 0.8, 0.98].map((likeness) => counted(stream(4000, likeness, runSeed)))
    assert.ok(none! > 2 * some! && some! > 4 * much!, `${none}, ${some}, ${much}`)
    assert.ok(much! > 0)
  })

  it('counts one picture once, however often it comes, and with the noise of a sensor', () => {
    const picture = Float64Array.from({ length: FEATURES }, seededNormal(runSeed))
    assert.equal(counted(Array.from({ length: 5000 }, () => picture)), 1)
    const normal = seededNormal(runSeed + 1)
    assert.equal(counted(Array.from({ length: 5000 }, () => picture.map((value) => value + 0.03 * normal()))), 1)
  })

  it('counts pictures of unlike values whose features hardly differ, as those of noise, but not one scene with noise', () => {
    const z = new Float64Array(FEATURES)
    const normal = seededNormal(runSeed)
    const countedOf = (values: () => Float32Array) => {
      const state = newThinning()
      return Array.from({ length: 1000 }, () => counts(state, z, values())).filter(Boolean).length
    }
    assert.ok(countedOf(() => Float32Array.from({ length: 64 }, normal)) > 500)
    const scene = Float32Array.from({ length: 64 }, normal)
    assert.equal(countedOf(() => scene.map((value) => value + 0.1 * normal())), 1)
    assert.equal(countedOf(() => new Float32Array(64).fill(3)), 1)
    assert.equal(countedOf(() => new Float32Array(64).fill(NaN)), 1)
  })

  it('is not changed for ever by a value that is no number where the features are finite', () => {
    const normal = seededNormal(runSeed)
    const state = newThinning()
    const next = (value = normal()) => {
      return counts(state, Float64Array.from({ length: FEATURES }, normal), Float32Array.from({ length: 64 }, (_, at) => at === 0 ? value : normal()))
    }
    for (const value of [undefined, Infinity, -Infinity, NaN]) next(value)
    for (let at = 0; at < 100; at++) next()
    assert.ok(Math.abs(state.byValues - 1) < 0.3, `${state.byValues}`)
  })

  it('decides by what is past: two pictures in the same place count alike unless they are the last one again', () => {
    fc.assert(fc.property(fc.nat(40), fc.double({ min: -50, max: 50, noNaN: true }), (past, far) => {
      const both = [0, 1].map((which) => {
        const state = newThinning()
        for (const picture of stream(past, 0.9, runSeed)) counts(state, picture, NONE)
        const normal = seededNormal(runSeed + 7)
        return counts(state, Float64Array.from({ length: FEATURES }, () => 100 + which * far + normal()), NONE)
      })
      assert.equal(both[0], both[1])
    }), { seed: runSeed })
  })

  it('waits for longer where less changes, and no longer than it may', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 4, noNaN: true }), fc.double({ min: 0, max: 4, noNaN: true }), (a, b) => {
      const [less, more] = a < b ? [a, b] : [b, a]
      assert.ok(gapOf(less) >= gapOf(more))
      assert.ok(gapOf(more) >= 1 && gapOf(less) <= GAP_MAX)
    }), { seed: runSeed })
    assert.deepEqual([gapOf(0), gapOf(0.95), gapOf(2)], [GAP_MAX, 1, 1])
  })
})
