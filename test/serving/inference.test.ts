/** Requests of tensors: how they are cut into jobs, put together again, counted, and what is left when they fail. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { INFER_MS, QUEUE_MS } from '../support/fake-pool.js'
import { FINGERPRINT, openHouse, pictures, readyModel, scoresOf } from '../support/served.js'
import type { Tensors } from '#src/ort/rows.js'

const infer = (house: Awaited<ReturnType<typeof openHouse>>, header: string, feeds: Tensors, more = {}) => {
  return house.answering.infer('signs', { wish: { header }, feeds, ...more })
}

describe('a request of tensors', () => {
  it('is answered under its own bank, told by domain, version and digest', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    const record = await house.publish('night', 10)
    const answer = await infer(house, 'night', pictures(2))
    assert.deepEqual(scoresOf(answer), [11, -9, 12, -8])
    assert.deepEqual([answer.domain, answer.version, answer.digest], ['night', 2, record.versions[1]!.digest])
    assert.deepEqual(scoresOf(await infer(house, 'night:1', pictures(1))), [2, 0])
  })

  it('is cut into runs of at most as many rows as may share one, and put together in order', async () => {
    const house = await openHouse()
    const answer = await infer(house, 'day', pictures(10))
    assert.deepEqual(house.pool.jobs.map(({ rows }) => rows), [4, 4, 2])
    assert.deepEqual(house.pool.jobs.map(({ feeds }) => feeds.x!.dims[0]), [4, 4, 2])
    assert.deepEqual(scoresOf(answer), Array.from({ length: 20 }, (_, at) => Math.floor(at / 2) + 1))
    assert.deepEqual(answer.runs.map(({ rows, runRows }) => [rows, runRows]), [[4, 4], [4, 4], [2, 2]])
    assert.deepEqual([answer.queueMs, answer.inferMs], [QUEUE_MS, 3 * INFER_MS])
  })

  it('waits in the turn of its domain, and shares runs only under the same bank and shape', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    for (const [domain, feeds] of [
      ['day', pictures(1)], ['day', pictures(2)], ['day', pictures(1, 2)], ['night', pictures(1)], ['day:1', pictures(1)]
    ] as const) await infer(house, domain, feeds)
    const [one, two, larger, night, pinned] = house.pool.jobs
    assert.deepEqual(house.pool.jobs.map(({ turnOf }) => turnOf), ['day', 'day', 'day', 'night', 'day'].map((domain) => `signs@${domain}`))
    assert.ok(one!.runKey !== undefined && one!.runKey === two!.runKey && one!.runKey === pinned!.runKey)
    assert.notEqual(larger!.runKey, one!.runKey)
    assert.notEqual(night!.runKey, one!.runKey)
    assert.deepEqual(one!.wanted, ['logits'])
    assert.equal(one!.bankKey, `id-signs:${house.store.domain('signs', 'day')!.versions[0]!.digest}`)
    assert.deepEqual(house.pool.letIn, [false, false, false, false, false])
  })

  it('stays whole and alone in a model whose rows depend on each other', async () => {
    const model = readyModel(MANIFEST, { proof: { maxRelativeError: 0, isRowInvariant: false } })
    const house = await openHouse({ models: [model] })
    await infer(house, 'day', pictures(10))
    assert.deepEqual(house.pool.jobs.map(({ rows, runKey }) => [rows, runKey]), [[10, undefined]])
  })

  it('reads the bank once, and again when memory was told to forget it', async (t) => {
    const house = await openHouse()
    const read = t.mock.method(house.store, 'read')
    for (let at = 0; at < 3; at++) await infer(house, 'day', pictures(1))
    assert.equal(read.mock.callCount(), 1)
    house.banks.forget(house.pool.jobs[0]!.bankKey)
    await infer(house, 'day', pictures(1))
    assert.equal(read.mock.callCount(), 2)
  })
})

describe('what is counted', () => {
  it('rows, runs, times and heat of what was answered', async () => {
    const house = await openHouse()
    await infer(house, 'day', pictures(6), { inputMs: 4 })
    house.answering.observeEncoding('signs', [{ countedAs: 'signs/day/1' }], 9)
    assert.deepEqual(house.countedAs('countInference'), [['signs', 'day', 6, 'ok']])
    const traffic = house.answering.traffic('signs', 'day', 1)
    assert.deepEqual([traffic.rows, traffic.runs, traffic.input, traffic.fail.count], [6, 2, { count: 1, ms: 4 }, 0])
    assert.deepEqual([traffic.queue.ms, traffic.infer.ms, traffic.output.ms], [QUEUE_MS, 2 * INFER_MS, 9])
    assert.deepEqual(house.heated, ['day:1:6'])
    const stages = house.countedAs('observeStage').map(([, stage, seconds]) => [stage, seconds])
    assert.deepEqual(stages, [['decode', 0.004], ['queue', QUEUE_MS / 1000], ['infer', 2 * INFER_MS / 1000], ['encode', 0.009]])
  })

  it('a failed run as failed, and neither heat nor a stage', async () => {
    const house = await openHouse()
    house.pool.network = () => { throw new Error('broken') }
    await assert.rejects(infer(house, 'day', pictures(3)), /broken/)
    assert.deepEqual(house.countedAs('countInference'), [['signs', 'day', 3, 'error']])
    const { fail, success } = house.answering.traffic('signs', 'day', 1)
    assert.deepEqual([fail.count, success.count, house.heated, house.countedAs('observeStage')], [1, 0, [], []])
    assert.equal(house.held(), 0)
  })

  it('writing an answer of several versions counts for each by its share', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    await house.answering.inferMixed('signs', { wish: {}, rows: ['day', 'night'], feeds: pictures(2) })
    const domains = ['day', 'night']
    house.answering.observeEncoding('signs', domains.map((domain) => ({ countedAs: `signs/${domain}/1` })), 8)
    assert.deepEqual(domains.map((domain) => house.answering.traffic('signs', domain, 1).output.ms), [4, 4])
    assert.deepEqual(house.countedAs('observeStage').at(-1), ['signs', 'encode', 0.008])
    // Of a version that was removed meanwhile nothing is begun.
    house.answering.observeEncoding('signs', [{ countedAs: 'signs/night/9' }], 8)
    assert.equal(house.answering.traffic('signs', 'night', 9).output.ms, 0)
  })

  it('what was asked of one version is not that of another', async () => {
    const house = await openHouse()
    await house.publish('day', 5)
    await infer(house, 'day:1', pictures(1))
    await infer(house, 'day:2', pictures(2))
    assert.deepEqual([1, 2, 3].map((version) => house.answering.traffic('signs', 'day', version).rows), [1, 2, 0])
  })
})

describe('what fails', () => {
  it('is refused before it runs when the tensors are not what the model takes', async () => {
    const house = await openHouse()
    for (const [feeds, code] of [
      [{ y: pictures(1).x! }, 'INPUT_UNKNOWN'], [{}, 'INPUT_MISSING'],
      [{ x: { ...pictures(1).x!, dims: [3, 1, 1] } }, 'INPUT_SHAPE_MISMATCH'],
      [{ x: { type: 'int32', dims: [1, 3, 1, 1], data: new Int32Array(3) } }, 'INPUT_DATATYPE_MISMATCH']
    ] as Array<[Tensors, string]>) {
      await assert.rejects(infer(house, 'day', feeds), hasCode(code))
    }
    assert.deepEqual([house.pool.jobs, house.counted, house.held()], [[], [], 0])
  })

  it('lets go of the version when the body cannot be read by its rules', async () => {
    const house = await openHouse()
    await assert.rejects(house.answering.infer('signs', { wish: {}, feeds: () => { throw new Error('short') } }), /short/)
    assert.equal(house.held(), 0)
  })

  it('does not run a bank of another network', async () => {
    const house = await openHouse()
    await house.publish('old', 1, { fingerprint: 'e'.repeat(64) })
    const received = { expected: FINGERPRINT, received: 'e'.repeat(64) }
    await assert.rejects(infer(house, 'old', pictures(1)), hasCode('BANK_FINGERPRINT_MISMATCH', received))
    assert.deepEqual([house.pool.jobs.length, house.held()], [0, 0])
  })

  it('does not run when the store cannot read the bank, and tries again the next time', async (t) => {
    const house = await openHouse()
    const read = t.mock.method(house.store, 'read', async () => { throw new Error('disk') })
    await assert.rejects(infer(house, 'day', pictures(1)), /disk/)
    assert.equal(house.held(), 0)
    read.mock.restore()
    assert.deepEqual(scoresOf(await infer(house, 'day', pictures(1))), [1, 1])
  })

  it('is dropped with its reason when its client goes away', async () => {
    const house = await openHouse()
    const controller = new AbortController()
    const { reached, open } = house.pool.hold()
    const work = assert.rejects(infer(house, 'day', pictures(1), { signal: controller.signal }), /gone/)
    await reached
    controller.abort(new Error('gone'))
    open()
    await work
    assert.equal(house.held(), 0)
  })

  it('is no business of a model that is not ready or not there', async () => {
    const house = await openHouse()
    const request = { wish: {}, feeds: pictures(1) }
    await assert.rejects(house.answering.infer('other', request), hasCode('MODEL_NOT_FOUND'))
    house.states.setFailed(house.models[0]!.entry, new Error('no'))
    await assert.rejects(house.answering.infer('signs', request), hasCode('MODEL_FAILED'))
    assert.throws(() => house.answering.requireRoom('signs', undefined, 1), hasCode('MODEL_FAILED'))
  })
})

describe('before the body', () => {
  it('room is asked for in the turn of the named domain, or in none', async () => {
    const house = await openHouse()
    house.answering.requireRoom('signs', { domain: 'night', version: 3 }, 7)
    house.answering.requireRoom('signs', undefined, 1)
    assert.deepEqual(house.pool.asked, [['signs@night', 7], ['signs@', 1]])
    house.pool.refusal = new Error('full')
    assert.throws(() => house.answering.requireRoom('signs', undefined, 1), /full/)
  })

  it('what is named is known without the body; a version alone is one of the default domain', async () => {
    const { answering } = await openHouse()
    assert.equal(answering.named('signs', {}), undefined)
    assert.deepEqual(answering.named('nowhere', { header: 'night:2' }), { domain: 'night', version: 2 })
    assert.deepEqual(answering.named('signs', { pathVersion: '2' }), { domain: 'day', version: 2 })
    assert.throws(() => answering.named('nowhere', { pathVersion: '2' }), hasCode('MODEL_NOT_FOUND'))
  })

  it('a path is resolved without being held', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    assert.equal(house.answering.resolve('signs', {}).record.domain, 'day')
    assert.equal(house.answering.resolve('signs', { path: 'night', pathVersion: '1' }).version.version, 1)
    assert.throws(() => house.answering.resolve('signs', { path: 'fog' }), hasCode('DOMAIN_NOT_FOUND'))
    assert.throws(() => house.answering.resolve('other', {}), hasCode('MODEL_NOT_FOUND'))
    assert.equal(house.held(), 0)
  })
})
