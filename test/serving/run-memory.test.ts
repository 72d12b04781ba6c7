import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RunMemory } from '#src/serving/run-memory.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { openHouse, pictures, readyModel } from '../support/served.js'
import type { Tensors } from '#src/ort/rows.js'

const MIB = 2 ** 20

function feeds (shapes: Record<string, number[]>): Tensors {
  return Object.fromEntries(Object.entries(shapes).map(([name, dims]) => {
    return [name, { type: 'float32', dims, data: new Float32Array(0) }]
  }))
}

const INPUTS = [
  { name: 'image', type: 'float32' as const, dims: [null, 3, null, null] },
  { name: 'scale', type: 'float32' as const, dims: [null, null] }
]
const SAMPLES = [{ image: [1, 3, 10, 10], scale: [1, 1] }, { image: [1, 3, 20, 20], scale: [1, 1] }]

describe('RunMemory', () => {
  const memory = new RunMemory({ inputs: INPUTS, samples: SAMPLES, runBytes: MIB }, [{ image: [1, 3, 30, 10], scale: [1, 1] }], false)

  it('grows with the elements of a row of the input that grew most', () => {
    assert.equal(memory.rowBytes(feeds({ image: [7, 3, 10, 10], scale: [7, 1] })), MIB)
    assert.equal(memory.rowBytes(feeds({ image: [1, 3, 100, 10], scale: [1, 1] })), 10 * MIB)
    assert.equal(memory.rowBytes(feeds({ image: [1, 3, 100, 10], scale: [1, 50] })), 50 * MIB)
  })

  it('refuses what takes too much, telling how much of it would do', () => {
    memory.requireFits(feeds({ image: [1, 3, 100, 10], scale: [1, 1] }), 1, 10 * MIB)
    assert.throws(() => memory.requireFits(feeds({ image: [1, 3, 100, 11], scale: [1, 1] }), 1, 10 * MIB), hasCode('INPUT_TOO_LARGE', {
      input: 'image', expected: 'at most 3000 elements in a run', received: 3300, bytes: 11 * MIB, bytesMax: 10 * MIB
    }))
    assert.throws(() => memory.requireFits(feeds({ image: [3, 3, 100, 10], scale: [3, 1] }), 3, 10 * MIB), hasCode('INPUT_TOO_LARGE', {
      expected: 'at most 3000 elements in a run', received: 9000
    }))
    assert.deepEqual(memory.rowElementsMax(10 * MIB), { image: 3000, scale: 10 })
  })

  it('never refuses a row of a usual size', () => {
    assert.equal(memory.bytesMax(1), 4 * MIB)
    memory.requireFits(feeds({ image: [1, 3, 20, 20], scale: [1, 1] }), 1, 1)
  })

  it('says what is worth keeping: no plan of a size that is none of a few, nothing of much larger rows', () => {
    const [known, usual, other] = [[1, 3, 20, 20], [8, 3, 30, 10], [1, 3, 10, 30]].map((image) => feeds({ image: image!, scale: [1, 1] }))
    assert.deepEqual([known, usual, other].map((one) => memory.keepsOf(one!)), ['everything', 'everything', 'memory'])
    assert.equal(memory.keepsOf(feeds({ image: [1, 3, 40, 41], scale: [1, 1] })), 'nothing')
    const anySize = new RunMemory({ inputs: INPUTS, samples: SAMPLES, runBytes: MIB }, [{ image: [1, 3, 80, 100], scale: [1, 1] }], true)
    assert.equal(anySize.keepsOf(feeds({ image: [1, 3, 100, 160], scale: [1, 1] })), 'everything')
    assert.equal(anySize.keepsOf(feeds({ image: [1, 3, 100, 161], scale: [1, 1] })), 'nothing')
  })

  it('takes a batch that is fixed as one row, and says nothing of what was not measured', () => {
    const fixed = new RunMemory({ inputs: [{ name: 'x', type: 'float32', dims: [4, null] }], samples: [{ x: [1, 10] }], runBytes: 100 }, [], false)
    assert.equal(fixed.rowBytes(feeds({ x: [4, 20] })), 200)
    const unknown = new RunMemory({ inputs: INPUTS, samples: [], runBytes: 0 }, [], true)
    assert.equal(unknown.rowBytes(feeds({ image: [1, 3, 9, 9] })), 0)
    assert.deepEqual(unknown.rowElementsMax(1), {})
  })
})

describe('requests', () => {
  const measured = { samples: [{ x: [1, 3, 1, 1] }], runBytes: MIB / 4 }
  const infer = async (house: Awaited<ReturnType<typeof openHouse>>, given: Tensors) => {
    return await house.answering.infer('signs', { wish: { header: 'day' }, feeds: given })
  }

  it('are cut into runs that have the memory for it, which then share with nobody', async () => {
    const model = readyModel(MANIFEST, measured)
    const house = await openHouse({ models: [model] })
    await infer(house, pictures(4))
    const larger = readyModel(MANIFEST, { ...measured, runBytes: MIB / 2 })
    const other = await openHouse({ models: [larger] })
    await infer(other, pictures(3))
    assert.deepEqual(house.pool.jobs.map(({ rows, runKey }) => [rows, runKey !== undefined]), [[4, true]])
    assert.deepEqual(other.pool.jobs.map(({ rows, runKey }) => [rows, runKey]), [[2, undefined], [1, undefined]])
  })

  it('that are too large for a run are refused before any run, and the next is answered', async () => {
    const house = await openHouse({ models: [readyModel(MANIFEST, measured)] })
    await assert.rejects(infer(house, pictures(1, 3)), hasCode('INPUT_TOO_LARGE', { expected: 'at most 12 elements in a run', received: 27 }))
    await infer(house, pictures(1, 2))
    assert.deepEqual(house.pool.jobs.map(({ keeps }) => keeps), ['memory'])
    const dependent = readyModel(MANIFEST, { ...measured, proof: { maxRelativeError: 0, isRowInvariant: false } })
    const whole = await openHouse({ models: [dependent] })
    await assert.rejects(infer(whole, pictures(5)), hasCode('INPUT_TOO_LARGE', { received: 15 }))
    await infer(whole, pictures(4))
  })
})
