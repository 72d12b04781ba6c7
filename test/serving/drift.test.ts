/** What is looked at for drift and when, with a stem that the test holds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BankswitchError } from '#src/base/errors.js'
import { finish } from '#src/base/slices.js'
import { ENDED_MS } from '#src/drift/domain-watch.js'
import { makeDiscriminant, type Discriminant } from '#src/signature/discriminant.js'
import { makeSignature } from '#src/signature/signature.js'
import { Drift, WAITING_ROWS_MAX, type Answered, type LookedAt } from '#src/serving/watching/drift.js'
import { servingErrors } from '#src/serving/errors.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { featureRows, ORIGIN } from '../support/feature-rows.js'
import { gate, type Gate } from '../support/gate.js'
import { runSeed } from '../support/run-seed.js'
import type { ReadyModel } from '#src/serving/model-states.js'
import type { Tensors } from '#src/ort/rows.js'
import type { ShownDrift } from '#src/observability/watched-metrics.js'
import type { VersionPreprocessing } from '#src/store/bank-store.js'

const CHANNELS = 3
const model = {
  entry: { manifest: { name: 'signs' } },
  artefact: { stem: { channels: Array.from({ length: CHANNELS }, (_, channel) => ({ layerKey: 'bn1', channel: 10 + channel })) } }
} as unknown as ReadyModel

const signatures = new Map([['day', 0], ['fog', 6]].map(([domain, centre]) => {
  return [domain as string, makeSignature(featureRows(600, CHANNELS, runSeed, centre as number), ORIGIN)]
}))
const versions = [1, 2].map((version) => ({ version, digest: `digest ${version}` }))
const record = { domain: 'day', revision: 1, active: 1, versions }
const first = { record, version: versions[0] } as unknown as Answered['resolved']

/** Rows whose number in the tensors is where their features lie in `seen`. */
function setUp ({ share = 1, draw = 0, dial = 1e5, discriminant = finish(makeDiscriminant(signatures)) as Discriminant | null } = {}) {
  const seen: Float64Array[] = []
  const looked: LookedAt[] = []
  const counted: Array<[string, string, object]> = []
  const warnings: object[] = []
  const ended: object[] = []
  const state = {
    active: 1, gates: [] as Gate[], reads: 0, asked: 0, now: 1000, isRefused: false, hasSignature: true, shown: (): readonly ShownDrift[] => []
  }
  const drift = new Drift({
    store: { domain: () => ({ ...record, active: state.active }) },
    recognition: {
      discriminantFor: async () => {
        state.asked++
        if (discriminant === null) throw servingErrors.SIGNATURE_MISSING('none')
        return discriminant
      },
      hasSignature: async () => state.hasSignature,
      features: async (_model: ReadyModel, feeds: Tensors) => {
        state.reads++
        await state.gates.shift()?.pass()
        if (state.isRefused) throw new BankswitchError('QUEUE_FULL', 'exhausted', 'full')
        return [...feeds.x!.data as Float32Array].map((at) => seen[at]!)
      }
    },
    metrics: {
      countDrift: (...given: [string, string, object]) => counted.push(given),
      showDrift: (read: () => readonly ShownDrift[]) => { state.shown = read }
    },
    logger: { warn: (told: object) => warnings.push(told), info: (told: object) => ended.push(told) },
    onLook: (row: LookedAt) => looked.push(row),
    now: () => state.now,
    random: () => draw
  } as unknown as ConstructorParameters<typeof Drift>[0], { dial, share })
  const offer = (rows: readonly Float64Array[], more: Partial<Answered> & { version?: number } = {}) => {
    const { version = 1, ...given } = more
    const tensor = (): Tensors[string] => ({
      type: 'float32', dims: [rows.length, 1], data: Float32Array.from(rows, (_, at) => seen.length - rows.length + at)
    })
    seen.push(...rows)
    drift.offer(model, {
      resolved: { record, version: versions[version - 1] } as unknown as Answered['resolved'],
      feeds: { x: tensor() },
      outputs: { y: tensor() },
      rows: rows.length,
      sender: { caller: 'a', stream: '' },
      isChosen: rows.map(() => false),
      ...given
    })
  }
  return { drift, offer, looked, counted, warnings, ended, state, report: () => drift.report(model, first) }
}

const rowsAt = (count: number, centre: number, seed = runSeed + 1) => featureRows(count, CHANNELS, seed, centre)

test('what an active version answered is looked at, and the report has figures once it is enough', async () => {
  const { drift, offer, looked, report } = setUp()
  assert.deepEqual(await report(), { version: 1, requestsPerFalseAlarm: 1e5, share: 1, state: 'notEnoughSeen' })
  offer(rowsAt(1, 0))
  await drift.settled()
  const early = await report()
  assert.deepEqual([early.state, early.pictures, early.eValue], ['notEnoughSeen', 1, undefined])
  for (const row of rowsAt(400, 0)) {
    offer([row])
    await drift.settled()
  }
  const { state, nearest, alarms, moved, pictures, since } = await report()
  assert.deepEqual([state, nearest, alarms, pictures, since], ['steady', 'fog', 0, 401, 1000])
  assert.ok(moved!.every(({ layer, channel }) => layer === 'bn1' && channel >= 10 && channel < 13))
  assert.equal(looked.length, 401)
  assert.deepEqual(looked[5]!.outputs!.y!.dims, [1, 1])
})

test('drift is told: in the report, in the log, in the metrics', async () => {
  const { drift, offer, counted, warnings, ended, report, state: world } = setUp()
  const alarmsSoFar = () => counted.reduce((sum, [, , counts]) => sum + (counts as { alarms: number }).alarms, 0)
  // Up to an alarm, which begins the evidence anew: what was left of it could be enough for another one below.
  for (const row of rowsAt(300, 3)) {
    offer([row], { sender: { caller: 'a', stream: 'x'.repeat(500) } })
    await drift.settled()
    if (alarmsSoFar() > 4) break
  }
  const { state, nearest, moved, streams, driftingSince } = await report()
  assert.deepEqual([state, nearest, streams, driftingSince], ['drifting', 'fog', { watched: 1, drifting: 1 }, 1000])
  assert.ok(moved![0]!.shift > 1)
  assert.ok(alarmsSoFar() > 4)
  assert.equal(warnings.length, 1)
  const [{ stream, domain, since }] = warnings as [{ stream?: string, domain: string, since: string }]
  assert.deepEqual([domain, since, [undefined, 'x'.repeat(100)].includes(stream)], ['day', new Date(1000).toISOString(), true])
  assert.deepEqual(ended, [])
  world.now += 2 * ENDED_MS
  offer(rowsAt(1, 0))
  await drift.settled()
  assert.deepEqual([ended, warnings.length], [[{ model: 'signs', domain: 'day', version: 1 }], 1])
})

test('the gauges show what still answers: an alarm does not outlast its version', async () => {
  const { drift, offer, state } = setUp()
  for (const row of rowsAt(100, 3)) {
    offer([row])
    await drift.settled()
  }
  assert.deepEqual(state.shown().map(({ model, domain, isDrifting }) => [model, domain, isDrifting]), [['signs', 'day', true]])
  state.active = 2
  assert.deepEqual(state.shown(), [])
})

test('the gauges show nothing before enough was seen', async () => {
  const { drift, offer, state } = setUp()
  offer(rowsAt(3, 0))
  await drift.settled()
  assert.deepEqual(state.shown(), [])
  offer(rowsAt(60, 0))
  await drift.settled()
  offer(rowsAt(60, 0, runSeed + 9))
  await drift.settled()
  assert.deepEqual(state.shown().map(({ domain, isDrifting, eValue }) => [domain, isDrifting, eValue > 0]), [['day', false, true]])
})

test('a share is looked at, of the active version only', async () => {
  const none = setUp({ share: 0.3, draw: 0.3 })
  none.offer(rowsAt(10, 0))
  const some = setUp({ share: 0.3, draw: 0.29 })
  some.offer(rowsAt(10, 0), { version: 2 })
  await Promise.all([none.drift.settled(), some.drift.settled()])
  assert.deepEqual([none.state.reads, some.state.reads], [0, 0])
  some.offer(rowsAt(10, 0))
  await some.drift.settled()
  assert.equal((await some.report()).pictures, 10)
})

test('what is answered meanwhile waits within bounds, is read one after another, and passed over beyond', async () => {
  const { drift, offer, state, counted, report } = setUp()
  const held = gate()
  state.gates.push(held)
  offer(rowsAt(1, 0))
  await held.reached
  offer(rowsAt(WAITING_ROWS_MAX - 1, 0))
  offer(rowsAt(5, 0))
  offer(rowsAt(5, 0))
  assert.deepEqual([drift.backlog.rows, state.reads], [WAITING_ROWS_MAX, 1])
  held.open()
  await drift.settled()
  const passedOver = counted.reduce((sum, [, , counts]) => sum + (counts as { passedOver: number }).passedOver, 0)
  assert.equal((await report()).passedOver, passedOver)
  assert.deepEqual([passedOver, drift.backlog.rows, drift.backlog.bytes], [9, 0, 0])
})

test('a queue that is full, an activation meanwhile and pictures that are no numbers end nothing', async () => {
  const { drift, offer, state, report, counted } = setUp()
  offer(rowsAt(1, 0))
  await drift.settled()
  state.isRefused = true
  offer(rowsAt(3, 0))
  await drift.settled()
  assert.deepEqual([(await report()).passedOver, (counted.at(-1)![2] as { passedOver: number }).passedOver], [3, 3])
  state.isRefused = false
  state.active = 2
  offer(rowsAt(3, 0))
  await drift.settled()
  assert.equal((await report()).pictures, 1)
  state.active = 1
  offer([new Float64Array(2 * CHANNELS).fill(NaN), new Float64Array(2 * CHANNELS).fill(Infinity), ...rowsAt(1, 0)])
  await drift.settled()
  const { pictures, notFinite } = await report()
  assert.deepEqual([pictures, notFinite], [4, 2])
})

test('what was chosen by its looks counts for the domain that it looks like', async () => {
  const { drift, offer, looked, report } = setUp()
  offer(rowsAt(20, 10), { isChosen: Array<boolean>(20).fill(true) })
  await drift.settled()
  assert.equal((await report()).pictures, undefined)
  assert.equal(looked.length, 20)
  offer(rowsAt(20, 10))
  await drift.settled()
  assert.equal((await report()).pictures, 20)
})

test('without signatures nothing is read, and nobody asks for them again at once', async () => {
  const { drift, offer, state, report } = setUp({ discriminant: null })
  state.hasSignature = false
  for (let at = 0; at < 10; at++) {
    offer(rowsAt(1, 0))
    await drift.settled()
  }
  assert.deepEqual([state.asked, state.reads, (await report()).state], [1, 0, 'noSignature'])
  state.now += 60_000
  offer(rowsAt(1, 0))
  await drift.settled()
  assert.equal(state.asked, 2)
})

test('tensors that are made on demand are made only for what is looked at', async () => {
  const { drift, offer } = setUp({ share: 0.5, draw: 0.5 })
  offer(rowsAt(1, 0), { feeds: () => assert.fail('nobody looks') })
  await drift.settled()
})

test('a domain whose pictures are prepared otherwise than those of signatures is not watched; another size alone is no other way', async () => {
  const { drift, state } = setUp()
  const domains = { ...MANIFEST.domains, day: { input: { mean: [0, 0, 0] } } }
  const ofPictures = { ...model, entry: { manifest: MANIFEST } } as unknown as ReadyModel
  const otherwise = { ...model, entry: { manifest: { ...MANIFEST, domains } } } as unknown as ReadyModel
  assert.deepEqual([(await drift.report(ofPictures, first)).state, (await drift.report(otherwise, first)).state], ['notEnoughSeen', 'noSignature'])
  const offer = (preprocessing: VersionPreprocessing) => drift.offer(ofPictures, {
    resolved: { record, version: { ...versions[0]!, preprocessing } } as unknown as Answered['resolved'],
    feeds: { x: { type: 'float32', dims: [1, 1], data: Float32Array.of(0) } },
    outputs: undefined,
    rows: 1,
    sender: { caller: 'a', stream: '' },
    isChosen: [false]
  })
  offer({ mean: [0, 0, 0] })
  await drift.settled()
  assert.equal(state.reads, 0)
  offer({ size: { width: 16, height: 16 } })
  await drift.settled()
  assert.equal(state.reads, 1)
})
