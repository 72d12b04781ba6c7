/** How pictures that fit no domain become a candidate, with a calibration that the test makes up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSafetensors } from '#src/bank/formats/safetensors.js'
import { parseContribution } from '#src/calibration/contributions.js'
import { emptyMoments, addSet } from '#src/calibration/moments.js'
import { Candidates, CALLER_STREAMS_MAX, STREAMS_MAX, UNDECIDED_MAX, type CandidateNeeds } from '#src/serving/collecting/candidates.js'
import { BATCH } from '#src/serving/collecting/gathering.js'
import { STREAM_CANDIDATES_MAX } from '#src/serving/collecting/stored-candidates.js'
import { TERM } from '#src/drift/stream-table.js'
import { parseSignatures } from '#src/signature/file-parts.js'
import { makeSignature } from '#src/signature/signature.js'
import { bankOf, LAYERS, openHouse, pictures } from '../support/served.js'
import { featureRows, ORIGIN } from '../support/feature-rows.js'
import { runSeed } from '../support/run-seed.js'
import { resolveDomain } from '#src/serving/domain-reference.js'
import type { LookedAt } from '#src/serving/watching/drift.js'

const IMAGES = 2 * BATCH
const CHANNELS = 3
const MODEL = 'signs'

const nearest = makeSignature(featureRows(600, CHANNELS, runSeed), ORIGIN)

/** A house, its candidates, and a calibration that takes each picture's first value for all there is in it. */
async function setUp () {
  const house = await openHouse()
  const { store, pool, admin, models } = house
  const batches: number[][] = []
  const state = { isBroken: false, waiting: (): ReadonlyArray<{ model: string, count: number }> => [] }
  const calibrate: CandidateNeeds['calibrate'] = async ({ uploads }) => {
    if (state.isBroken) throw new Error('out of luck')
    const { bytes, shape } = parseSafetensors(uploads[0]!.bytes).tensors.get('x')!
    const values = new Float32Array(Uint8Array.from(bytes).buffer)
    const rows = shape[0]!
    const firsts = Array.from({ length: rows }, (_, row) => values[row * values.length / rows]!)
    batches.push(firsts)
    const moments = emptyMoments(2)
    for (const first of firsts) addSet(moments, 1, [first, -first], [1, 1])
    return { moments: new Map([['bn', moments]]), report: { images: rows }, bank: bankOf(0) } as unknown as Awaited<ReturnType<CandidateNeeds['calibrate']>>
  }
  const logged: string[] = []
  const logger = { info: (_: object, text: string) => logged.push(text), warn: (_: object, text: string) => logged.push(text) }
  const again = () => new Candidates({
    store,
    pool,
    calibrate,
    registerMade: admin.registerMade.bind(admin),
    logger,
    metrics: { showCandidates: (read: typeof state.waiting) => { state.waiting = read } },
    models: { all: () => models }
  } as unknown as CandidateNeeds, { images: IMAGES, dial: 1e4, calibrationBytes: 1e6, imagePixels: 1e6 })
  const candidates = again()
  const seen = { at: 0, values: [] as number[] }
  const look = (features: Float64Array, { caller = 'a', stream = 'camera', at = 0 } = {}): LookedAt => {
    const value = ++seen.at
    seen.values.push(value)
    return {
      model: models[0]!,
      resolved: resolveDomain(store, MODEL, { domain: 'day' }),
      sender: { caller, stream },
      feeds: { x: { ...pictures(1).x!, data: Float32Array.of(value, 0, 0) } },
      outputs: { logits: { type: 'float32', dims: [1, 2], data: Float32Array.of(value, value) } },
      features,
      values: Float32Array.of(value, 0, 0),
      choice: { domain: 'day', runnerUp: undefined, margin: undefined, score: 0, p: 1 },
      nearest,
      at
    }
  }
  /** Takes rows whose features lie at `centre`. */
  const send = async (count: number, centre: number, from = {}, to = candidates) => {
    for (const features of featureRows(count, CHANNELS, runSeed + 5 + seen.at, centre)) {
      to.take(look(features, from))
      await to.settled()
    }
  }
  const stored = () => store.domains(MODEL).filter(({ domain }) => domain.startsWith('candidate-'))
  return { ...house, candidates, again, batches, look, send, stored, logged, state }
}

test('pictures that fit become nothing', async () => {
  const { send, batches, stored, candidates } = await setUp()
  await send(1500, 0)
  assert.deepEqual([batches, stored(), candidates.report(MODEL).candidates], [[], [], []])
})

test('pictures that fit no domain become a version that is not active, of the sums of all of them', async () => {
  const { send, batches, stored, candidates, store } = await setUp()
  await send(400, 8)
  const [record, ...others] = stored()
  assert.deepEqual([others.length, record!.active, record!.versions.length], [0, null, 1])
  assert.match(record!.description!, /^Pictures of stream "camera" that fitted no domain: 128 gathered under day:1$/)
  const file = await store.read(MODEL, record!.domain, 1)
  const { images, moments } = parseContribution(file, LAYERS)
  const all = batches.flat()
  assert.deepEqual([images, all.length, new Set(all).size], [IMAGES, IMAGES, IMAGES])
  const mean = all.reduce((sum, value) => sum + value, 0) / IMAGES
  assert.ok(Math.abs(moments.get('bn')!.mean[0]! - mean) < 1e-9)
  const [signature] = parseSignatures(parseSafetensors(file))
  assert.deepEqual([signature!.origin, signature!.images >= IMAGES], [ORIGIN, true])
  const [report] = candidates.report(MODEL).candidates
  assert.deepEqual([report!.domain, report!.stream, report!.base, report!.images], [record!.domain, 'camera', { domain: 'day', version: 1 }, IMAGES])
  assert.deepEqual(candidates.report('other').candidates, [])
})

test('what comes after is compared, and makes no second candidate', async () => {
  const { send, stored, candidates, batches } = await setUp()
  await send(400, 8)
  const before = candidates.report(MODEL).candidates[0]!.comparedRows
  const known = batches.length
  await send(50, 8)
  const report = candidates.report(MODEL).candidates[0]!
  assert.ok(report.comparedRows > before && report.largestRelativeDifference > 0)
  assert.deepEqual([stored().length, batches.length], [1, known])
})

test('a candidate that somebody removes is told and run no more, and the stream may become another', async () => {
  const { send, stored, candidates, batches, admin, pool } = await setUp()
  await send(400, 8)
  await admin.removeDomain(MODEL, stored()[0]!.domain)
  assert.deepEqual(candidates.report(MODEL).candidates, [])
  const [known, jobs] = [batches.length, pool.jobs.length]
  await send(10, 8)
  assert.equal(pool.jobs.length, jobs)
  await send(400, 8)
  assert.deepEqual([stored().length, candidates.report(MODEL).candidates[0]!.images, batches.length], [1, IMAGES, known + IMAGES / BATCH])
})

test('a stream whose candidate is activated may become another, under a name of its own, and the list tells both', async () => {
  const { send, stored, candidates, admin, state } = await setUp()
  await send(400, 8)
  const [first] = stored()
  await admin.activate(MODEL, first!.domain, 1)
  await send(IMAGES, 0)
  const told = () => candidates.report(MODEL).candidates.map(({ domain, isActive }) => [domain, isActive])
  assert.deepEqual(told(), [[first!.domain, true]])
  assert.equal(state.waiting().find(({ model }) => model === MODEL)!.count, 0)
  await send(400, 8)
  const second = `${first!.domain}-2`
  assert.deepEqual(told(), [[first!.domain, true], [second, false]])
  assert.deepEqual(stored().map(({ domain }) => domain), [first!.domain, second])
  assert.deepEqual(state.waiting().find(({ model }) => model === MODEL), { model: MODEL, count: 1 })
})

test('what fits its new domain once that is active makes no further candidate', async () => {
  const { candidates, look, send, stored, admin } = await setUp()
  await send(400, 8)
  await admin.activate(MODEL, stored()[0]!.domain, 1)
  const fitting = makeSignature(featureRows(600, CHANNELS, runSeed + 3, 8), ORIGIN)
  for (const features of featureRows(2 * IMAGES, CHANNELS, runSeed + 4, 8)) {
    candidates.take({ ...look(features), nearest: fitting })
    await candidates.settled()
  }
  assert.deepEqual([stored().length, candidates.report(MODEL).left], [1, []])
})

test('after a restart what nobody has decided about is told, and its stream becomes no other', async () => {
  const { send, stored, again, state } = await setUp()
  await send(400, 8)
  const [{ domain, versions, description }] = stored() as [ReturnType<typeof stored>[0]]
  const restarted = again()
  assert.deepEqual(restarted.report(MODEL), { candidates: [], left: [{ domain, version: 1, description, since: versions[0]!.createdAt }] })
  await send(400, 8, {}, restarted)
  assert.deepEqual([stored().length, restarted.report(MODEL).candidates], [1, []])
  assert.ok(state.waiting().some(({ model, count }) => model === MODEL && count === 1))
})

test('of one stream there is a bounded number of candidates', async () => {
  const { send, stored, admin } = await setUp()
  for (let at = 0; at < 10; at++) {
    await send(400, 8)
    const open = stored().find(({ active }) => active === null)
    if (open !== undefined) await admin.activate(MODEL, open.domain, 1)
  }
  assert.equal(stored().length, STREAM_CANDIDATES_MAX)
})

test('one stream does not move another, and each caller has its own', async () => {
  const { send, stored } = await setUp()
  await send(400, 8, { caller: 'b', stream: 'camera' })
  await send(500, 0, { caller: 'a', stream: 'camera' })
  assert.equal(stored().length, 1)
  await send(400, 8, { caller: 'c', stream: 'camera' })
  assert.equal(stored().length, 2)
})

test('of 40 cameras under one key that send in turn, those whose pictures fit no domain become candidates', async () => {
  const { candidates, look } = await setUp()
  // No divisor of 40: each camera sends all of them, one after another, before one comes again.
  const rows = 4999
  const [fitting, strange] = [featureRows(rows, CHANNELS, runSeed + 1), featureRows(rows, CHANNELS, runSeed + 2, 8)]
  const drifting = [5, 33]
  const isFound = (camera: number) => candidates.report(MODEL).candidates.some(({ stream }) => stream === `camera-${camera}`)
  for (let round = 0; !drifting.every(isFound); round++) {
    assert.ok(round < 20 * TERM, 'a candidate is overdue')
    for (let camera = 0; camera < 40; camera++) {
      const sent = drifting.includes(camera) ? strange : fitting
      candidates.take(look(sent[(40 * round + camera) % rows]!, { stream: `camera-${camera}` }))
      await candidates.settled()
    }
  }
})

test('a hundred thousand streams of another caller change nothing for one', async () => {
  const { candidates, look, send, stored } = await setUp()
  const far = new Float64Array(2 * CHANNELS).fill(8)
  await send(200, 8)
  for (let at = 0; at < 100_000; at++) candidates.take(look(far, { caller: 'hostile', stream: String(at) }))
  assert.equal(candidates.size, 1 + CALLER_STREAMS_MAX)
  await send(200, 8)
  assert.equal(stored().length, 1)
})

test('a hostile stream fills nothing: no numbers, many streams, many candidates', async () => {
  const { send, look, candidates, stored } = await setUp()
  for (let at = 0; at < 500; at++) candidates.take(look(new Float64Array(2 * CHANNELS).fill(NaN)))
  for (let at = 0; at < 10_000; at++) candidates.take(look(new Float64Array(2 * CHANNELS), { stream: String(at) }))
  assert.equal(candidates.size, CALLER_STREAMS_MAX)
  for (let at = 0; at < 1000; at++) candidates.take(look(new Float64Array(2 * CHANNELS), { caller: String(at) }))
  assert.equal(candidates.size, STREAMS_MAX)
  const other = await setUp()
  for (let at = 0; at < UNDECIDED_MAX + 3; at++) await other.send(400, 8, { caller: String(at) })
  assert.equal(other.stored().length, UNDECIDED_MAX)
  await send(1, 0)
  assert.deepEqual(stored(), [])
})

test('a calibration that fails is told, and the next batch counts', async () => {
  const { send, stored, logged, state } = await setUp()
  state.isBroken = true
  await send(10 * BATCH, 8)
  assert.ok(logged.includes('pictures that fit no domain are not gathered'))
  assert.deepEqual(stored(), [])
  state.isBroken = false
  await send(400, 8)
  assert.equal(stored().length, 1)
})

test('nothing is taken in after closing', async () => {
  const { send, candidates, stored, batches } = await setUp()
  await candidates.close()
  await send(400, 8)
  assert.deepEqual([stored(), batches, candidates.size], [[], [], 0])
})
