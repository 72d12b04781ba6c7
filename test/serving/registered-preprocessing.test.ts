import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownBankOf } from '#src/serving/banks-to-run.js'
import { checkedPreprocessing } from '#src/serving/changing/registered-preprocessing.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { FakePool } from '../support/fake-pool.js'
import { DOUBLER } from '../support/models-folder.js'
import { compute, readyModel } from '../support/served.js'
import type { PictureManifest } from '#src/models/manifest.js'

function setUp (manifest: PictureManifest = MANIFEST, dims: Array<number | null> = [null, 3, null, null]) {
  const model = readyModel(manifest, { inputs: [{ name: 'x', type: 'float32', dims }] })
  const pool = new FakePool(compute)
  const check = (given: unknown, domain = 'night') => checkedPreprocessing({ pool }, model, domain, given, ownBankOf(model))
  return { pool, check }
}

const size = (height: number, width: number) => ({ size: { height, width } })

test('a size is run once with the bank, in the turn of its domain', async () => {
  const { pool, check } = setUp()
  assert.deepEqual(await check(size(6, 8)), size(6, 8))
  assert.deepEqual(pool.jobs.map(({ feeds, turnOf }) => [feeds.x!.dims, turnOf]), [[[1, 3, 6, 8], 'signs@night']])
  assert.deepEqual(pool.letIn, [false])
})

test('what leaves the size alone is not run', async () => {
  const { pool, check } = setUp()
  const colours = { colour: 'bgr', mean: [0, 0, 0], std: [1, 1, 1] }
  assert.deepEqual(await check(colours), colours)
  assert.deepEqual(pool.jobs, [])
})

test('what the graph cannot take is refused without a run', async () => {
  const { pool, check } = setUp(MANIFEST, [null, 3, 32, 32])
  await assert.rejects(check(size(16, 32)), hasCode('PREPROCESSING_INVALID', { expected: [-1, 3, 32, 32], received: [1, 3, 16, 32] }))
  await assert.rejects(check({ colour: 'grey', mean: [0], std: [1] }), hasCode('PREPROCESSING_INVALID', { received: [1, 1, 32, 32] }))
  await assert.rejects(check({ layout: 'NHWC' }), hasCode('PREPROCESSING_INVALID', { received: [1, 32, 32, 3] }))
  assert.deepEqual(pool.jobs, [])
  assert.deepEqual(await check(size(32, 32)), size(32, 32))
})

test('what only the run shows is told as well; what is wrong with the pool is not the sender\'s fault', async () => {
  const { pool, check } = setUp()
  pool.network = () => { throw Object.assign(new Error('no'), { code: 'ORT_RUN_FAILED' }) }
  await assert.rejects(check(size(3, 3)), hasCode('PREPROCESSING_INVALID', { received: [1, 3, 3, 3] }))
  pool.network = () => { throw new Error('crashed') }
  await assert.rejects(check(size(3, 3)), /crashed/)
})

test('faults of form are told before anything else', async () => {
  const { check } = setUp()
  for (const given of [{ size: 3 }, { colours: 'rgb' }, { mean: [0] }, 7, null]) {
    await assert.rejects(check(given), hasCode('PREPROCESSING_INVALID'), JSON.stringify(given))
  }
})

test('a task without a size takes colours only', async () => {
  const { pool, check } = setUp(DOUBLER)
  const colours = { mean: [0.5, 0.5, 0.5] }
  assert.deepEqual(await check(colours, 'plain'), colours)
  await assert.rejects(check(size(3, 3), 'plain'), hasCode('PREPROCESSING_INVALID'))
  assert.deepEqual(pool.jobs, [])
})
