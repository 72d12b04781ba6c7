import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bankKey, foldedBank, foldShared, ownBankOf } from '#src/serving/banks-to-run.js'
import { bankDigest, completeBank } from '#src/bank/bank.js'
import { loneRow, turnOf } from '#src/serving/lone-row.js'
import { numbersOf } from '#src/serving/tensor-numbers.js'
import { numberToFloat16 } from '#src/base/float16.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { DOUBLER } from '../support/models-folder.js'
import { bankOf, LAYERS, openHouse, pictures, readyModel } from '../support/served.js'

const model = readyModel(MANIFEST)

test('a bank is folded into memory that every thread sees', () => {
  const folded = foldShared(model, bankOf(3))
  assert.ok(folded.buffer instanceof SharedArrayBuffer)
  assert.deepEqual([...folded], [1, 1, 3, -3])
})

test('a bank that would leave float32 is refused', () => {
  const layer = { mean: [0, 0], variance: [1e-38, 1], gamma: [1e30, 1], beta: [0, 0] }
  assert.throws(() => foldShared(model, completeBank(LAYERS, new Map([['bn', layer]]), new Map())), hasCode('BANK_VALUE_INVALID'))
})

test('banks are named by artefact and content: the same of two versions is one, of two models are two', () => {
  const own = ownBankOf(model)
  assert.equal(own.digest, bankDigest(bankOf(0)))
  assert.equal(bankKey(model, own.digest), bankKey(readyModel(MANIFEST), bankDigest(bankOf(0))))
  assert.notEqual(bankKey(model, own.digest), bankKey(readyModel(DOUBLER), own.digest))
})

test('requests that miss a bank at once share one reading', async (t) => {
  const house = await openHouse()
  await house.publish('night', 1)
  const record = house.store.domain('signs', 'night')!
  const read = t.mock.method(house.store, 'read')
  const banks = await Promise.all(Array.from({ length: 5 }, () => foldedBank(house, model, { record, version: record.versions[0]! })))
  assert.equal(read.mock.callCount(), 1)
  assert.ok(banks.every((bank) => bank === banks[0]))
})

test('a lone row runs alone, in the turn it is given, for the manifest\'s output or what is wanted', () => {
  const bank = ownBankOf(model)
  const job = loneRow(model, 'night', bank, pictures(1))
  assert.deepEqual([job.turnOf, job.rows, job.runKey, job.wanted], ['signs@night', 1, undefined, ['logits']])
  assert.deepEqual(loneRow(model, '', bank, pictures(1), ['a', 'b']).wanted, ['a', 'b'])
  assert.equal(turnOf('signs', ''), 'signs@')
})

test('numbers are read from tensors of any numeric type', () => {
  assert.equal(numbersOf({ type: 'float16', dims: [1], data: Uint16Array.of(numberToFloat16(-2.5)) })(0), -2.5)
  assert.equal(numbersOf({ type: 'uint16', dims: [1], data: Uint16Array.of(7) })(0), 7)
  assert.equal(numbersOf({ type: 'int64', dims: [2], data: BigInt64Array.of(1n, -9n) })(1), -9)
})
