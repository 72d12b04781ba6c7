/** What a version must show, and the arithmetic of how far it may be off. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ownBankOf } from '#src/serving/banks-to-run.js'
import { storeGate, tryCandidate, type GateRules } from '#src/serving/changing/gates.js'
import {
  checkGoldens, GOLDEN_BYTES_MAX, GOLDEN_ROWS_MAX, parseGoldens, serializeGoldens, type Goldens
} from '#src/serving/changing/goldens.js'
import { bankErrors } from '#src/bank/errors.js'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { numberToFloat16 } from '#src/base/float16.js'
import { madeBankToRun } from '#src/serving/banks-to-run.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { DOUBLER } from '../support/models-folder.js'
import { bankOf, openHouse, pictures, readyModel, type House } from '../support/served.js'
import type { PlainTensor } from '#src/ort/session.js'

const logits = (...values: number[]): PlainTensor => ({ type: 'float32', dims: [values.length / 2, 2], data: Float32Array.from(values) })

async function withGate (expected: PlainTensor, rules: GateRules, rows = expected.dims[0]!): Promise<House> {
  const house = await openHouse()
  const goldens = { inputs: pictures(rows), expected: { logits: expected } }
  await storeGate(house.asTrial, house.models[0]!, 'day', goldens, rules, ownBankOf(house.models[0]!))
  return house
}

const tried = async (house: House, shift = 0) => {
  const bank = madeBankToRun(house.models[0]!, bankOf(shift))
  return await tryCandidate(house.asTrial, house.models[0]!, 'day', bank)
}

describe('a candidate', () => {
  it('passes within absolute + relative * |expected|, and not beyond', async () => {
    // The model answers 1 and 2 in both classes; all numbers here are exact in float32.
    for (const [expected, rules, passes] of [
      [[1, 1, 2, 2], { absolute: 0, relative: 0 }, true],
      [[1, 1, 2, 2.5], { absolute: 0.5, relative: 0 }, true],
      [[1, 1, 2, 2.5], { absolute: 0.4375, relative: 0 }, false],
      [[1, 1, 2, 1.5], { absolute: 0.5, relative: 0 }, true],
      [[1, 1, 2, 4], { absolute: 0, relative: 0.5 }, true],
      [[1, 1, 2, 4], { absolute: 0, relative: 0.4375 }, false],
      // Relative to what is expected, not to what came.
      [[1, 1, 2, 1], { absolute: 0, relative: 0.75 }, false],
      [[1, 1, 2, 1], { absolute: 0.25, relative: 0.75 }, true],
      [[1, 1, 2, -2], { absolute: 2, relative: 1 }, true],
      [[1, 1, 2, -2], { absolute: 2, relative: 0.75 }, false],
      [[1, 1, 2, 0], { absolute: 0, relative: 100 }, false]
    ] as Array<[number[], GateRules, boolean]>) {
      const { fault } = await tried(await withGate(logits(...expected), rules))
      assert.equal(fault === undefined, passes, JSON.stringify([expected, rules, fault]))
    }
  })

  it('that fails is told by its first wrong value, and how many there are', async () => {
    const house = await withGate(logits(1, 1, 2, 7, 3, 8), { absolute: 0.5, relative: 0 })
    const { fault } = await tried(house)
    assert.deepEqual(fault, { output: 'logits', row: 1, index: 1, expected: 7, received: 2, wrong: 2, values: 6 })
  })

  it('names the gate that it has passed, none as null', async () => {
    const house = await openHouse()
    assert.deepEqual(await tried(house), { passed: null })
    const gated = await withGate(logits(1, 1), { absolute: 1, relative: 0 })
    assert.equal((await tried(gated)).passed, gated.store.domain('signs', 'day')!.gate!.sha256)
  })

  it('must be finite for a sample, whatever the goldens say, and is not run on them if it is not', async () => {
    const house = await withGate(logits(1, 1), { absolute: 1e30, relative: 0 })
    const before = house.pool.jobs.length
    house.pool.network = () => ({ logits: logits(Infinity, 1) })
    const { fault } = await tried(house)
    assert.deepEqual([fault!.received, fault!.expected, house.pool.jobs.length - before], ['Infinity', 'a finite number', 1])
  })

  it('must be finite for the goldens as well: no tolerance is that large', async () => {
    const house = await withGate(logits(1, 1), { absolute: Number.MAX_VALUE, relative: 0 })
    let runs = 0
    house.pool.network = () => ({ logits: logits(++runs === 1 ? 1 : NaN, 1) })
    assert.equal((await tried(house)).fault!.received, 'NaN')
  })

  it('must be finite in outputs that the goldens say nothing of', async () => {
    const outputs = ['logits', 'extra'].map((name) => ({ name, type: 'float32' as const, dims: [null, 2] }))
    const model = readyModel(MANIFEST, { outputs: [...outputs, { name: 'count', type: 'int64', dims: [null] }] })
    const house = await openHouse({ models: [model] })
    const answers = (extra: number) => ({
      logits: logits(1, 1), extra: logits(extra, 0), count: { type: 'int64' as const, dims: [1], data: BigInt64Array.of(7n) }
    })
    house.pool.network = () => answers(0)
    const goldens = { inputs: pictures(1), expected: { logits: logits(1, 1) } }
    await storeGate(house.asTrial, model, 'day', goldens, { absolute: 0, relative: 0 }, ownBankOf(model))
    assert.equal((await tried(house)).fault, undefined)
    let runs = 0
    house.pool.network = () => answers(++runs === 1 ? 0 : NaN)
    assert.deepEqual([(await tried(house)).fault!.output, runs], ['extra', 2])
  })

  it('runs the goldens in parts, past the limits of the queue, in the turn of the model', async () => {
    const house = await withGate(logits(...Array.from({ length: 20 }, (_, at) => Math.floor(at / 2) + 1)), { absolute: 0, relative: 0 })
    house.pool.jobs.length = 0
    assert.equal((await tried(house)).fault, undefined)
    assert.deepEqual(house.pool.jobs.map(({ rows, turnOf, wanted }) => [rows, turnOf, wanted]), [1, 4, 4, 2].map((rows) => [rows, 'signs@', ['logits']]))
    assert.ok(house.pool.letIn.every(Boolean))
  })

  it('of a gate that is lost is not let in', async (t) => {
    const house = await withGate(logits(1, 1), { absolute: 1, relative: 0 })
    t.mock.method(house.store, 'readGate', async () => { throw new Error('lost') })
    await assert.rejects(tried(house), /lost/)
  })

  it('of the size that its own preprocessing says', async () => {
    const house = await openHouse()
    const model = house.models[0]!
    await tryCandidate(house.asTrial, model, 'day', ownBankOf(model), { size: { height: 5, width: 7 } })
    assert.deepEqual(house.pool.jobs[0]!.feeds.x!.dims, [1, 3, 5, 7])
    const doubler = house.models[1]!
    await tryCandidate(house.asTrial, doubler, 'plain', ownBankOf(doubler))
    assert.deepEqual(house.pool.jobs[1]!.feeds.x!.dims, [1, 3, 32, 32])
  })

  it('gets the sample that the one before got, whose run took its memory away', async () => {
    const house = await openHouse()
    await tried(house)
    const before = house.pool.jobs[0]!.feeds.x!.data as Float32Array
    const numbers = Float32Array.from(before)
    structuredClone(before, { transfer: [before.buffer as ArrayBuffer] })
    await tried(house)
    assert.deepEqual(house.pool.jobs[1]!.feeds.x!.data, numbers)
  })
})

describe('storing a gate', () => {
  it('refuses goldens whose shape the model does not give, and inputs that it does not take', async () => {
    const model = readyModel(MANIFEST, { outputs: [{ name: 'logits', type: 'float32', dims: [null, null] }] })
    const house = await openHouse({ models: [model] })
    const store = (expected: PlainTensor) => {
      const goldens = { inputs: pictures(1), expected: { logits: expected } }
      return storeGate(house.asTrial, model, 'day', goldens, { absolute: 0, relative: 0 }, ownBankOf(model))
    }
    await assert.rejects(store({ type: 'float32', dims: [1, 3], data: new Float32Array(3) }), hasCode('GATE_INVALID', { expected: [1, 2], received: [1, 3] }))
    const { network } = house.pool
    house.pool.network = () => { throw Object.assign(new Error('bad shape'), { code: 'ORT_RUN_FAILED' }) }
    await assert.rejects(store(logits(1, 1)), hasCode('GATE_INVALID', { received: 'bad shape' }))
    house.pool.network = () => { throw bankErrors.BANK_EMPTY('anything else') }
    await assert.rejects(store(logits(1, 1)), hasCode('BANK_EMPTY'))
    assert.equal(house.store.domain('signs', 'day')!.gate, undefined)
    house.pool.network = network
    // Its own answer need not meet the goldens: the gate is for others.
    assert.equal((await store(logits(9, 9))).gate!.rows, 1)
  })
})

describe('goldens', () => {
  const model = readyModel(MANIFEST)
  const good = (): Goldens => ({ inputs: pictures(2), expected: { logits: logits(1, 2, 3, 4) } })

  it('survive their file, in every type, always with the same bytes', () => {
    const tensors: PlainTensor[] = [
      { type: 'float64', dims: [1], data: Float64Array.of(Math.PI) }, { type: 'float32', dims: [1], data: Float32Array.of(1.5) },
      { type: 'float16', dims: [1], data: Uint16Array.of(numberToFloat16(-2.5)) },
      { type: 'int64', dims: [1], data: BigInt64Array.of(-9n) }, { type: 'uint64', dims: [1], data: BigUint64Array.of(9n) },
      { type: 'int32', dims: [1], data: Int32Array.of(-1) }, { type: 'uint32', dims: [1], data: Uint32Array.of(1) },
      { type: 'int16', dims: [1], data: Int16Array.of(-1) }, { type: 'uint16', dims: [1], data: Uint16Array.of(1) },
      { type: 'int8', dims: [2], data: Int8Array.of(-1, 1) }, { type: 'uint8', dims: [2], data: Uint8Array.of(0, 255) },
      { type: 'bool', dims: [1], data: Uint8Array.of(1) }
    ]
    const goldens = { inputs: Object.fromEntries(tensors.map((tensor) => [tensor.type, tensor])), expected: { 'a.b': logits(1, 2) } }
    const file = serializeGoldens(goldens)
    const read = parseGoldens(file)
    assert.deepEqual({ ...read.inputs }, goldens.inputs)
    assert.deepEqual({ ...read.expected }, goldens.expected)
    assert.deepEqual(serializeGoldens(goldens), file)
  })

  it('have no other tensors, and no type without numbers', () => {
    const bytes = new Uint8Array(4)
    const file = (name: string, dtype: string) => serializeSafetensors([{ name, dtype: dtype as 'F32', shape: [1], bytes }], new Map())
    for (const name of ['logits', 'outputs.logits', 'inputs.', 'Inputs.x']) {
      assert.throws(() => parseGoldens(file(name, 'F32')), hasCode('GATE_INVALID', { received: name }))
    }
    assert.throws(() => parseGoldens(serializeSafetensors([{ name: 'inputs.x', dtype: 'BF16' as 'F16', shape: [1], bytes: new Uint8Array(2) }], new Map())),
      hasCode('GATE_INVALID', { received: 'BF16' }))
  })

  it('are what the model takes and gives', () => {
    assert.equal(checkGoldens(model, good()), 2)
    const wrong = (expected: Goldens['expected'], code: string) => {
      assert.throws(() => checkGoldens(model, { ...good(), expected }), hasCode(code))
    }
    wrong({}, 'GATE_INVALID')
    wrong({ other: logits(1, 2, 3, 4) }, 'OUTPUT_UNKNOWN')
    wrong({ logits: logits(1, 2) }, 'GATE_INVALID')
    wrong({ logits: logits(1, 2, 3, Infinity) }, 'GATE_INVALID')
    wrong({ logits: { type: 'float64', dims: [2, 2], data: new Float64Array(4) } }, 'GATE_INVALID')
    wrong({ logits: { type: 'string', dims: [2, 2], data: ['a', 'b', 'c', 'd'] } }, 'GATE_INVALID')
    assert.throws(() => checkGoldens(model, { ...good(), inputs: {} }), hasCode('INPUT_MISSING'))
  })

  it('are bounded in rows and bytes', () => {
    const many = (rows: number, side: number): Goldens => ({
      inputs: pictures(rows, side), expected: { logits: { type: 'float32', dims: [rows, 2], data: new Float32Array(2 * rows) } }
    })
    assert.equal(checkGoldens(model, many(GOLDEN_ROWS_MAX, 1)), GOLDEN_ROWS_MAX)
    assert.throws(() => checkGoldens(model, many(GOLDEN_ROWS_MAX + 1, 1)), hasCode('GATE_TOO_LARGE'))
    const side = Math.ceil(Math.sqrt(GOLDEN_BYTES_MAX / 12))
    assert.throws(() => checkGoldens(model, many(1, side)), hasCode('GATE_TOO_LARGE'))
  })

  it('of pictures may have any size that the output has', () => {
    const doubler = readyModel(DOUBLER)
    const expected = { doubled: { type: 'float32' as const, dims: [1, 3, 10, 10], data: new Float32Array(300) } }
    assert.equal(checkGoldens(doubler, { inputs: pictures(1, 5), expected }), 1)
  })
})
