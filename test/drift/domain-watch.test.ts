import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { CALLER_STREAMS_MAX, CALM, DomainWatch, ENDED_MS, ENOUGH, STREAMS_MAX, type SeenPicture } from '#src/drift/domain-watch.js'
import { IDLE_MS, TERM } from '#src/drift/stream-table.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const FEATURES = 8
const DIAL = 1e6

/** Pictures of 8 standard normal features, moved by `shift` in the first; their score is the squared length. */
class Camera {
  readonly #normal: () => number
  readonly #from: Pick<SeenPicture, 'caller' | 'stream'>

  constructor (seed: number, from: Partial<Pick<SeenPicture, 'caller' | 'stream'>> = {}) {
    this.#normal = seededNormal(seed)
    this.#from = { caller: 'a', stream: '', ...from }
  }

  picture (shift = 0, at = 0): SeenPicture {
    const z = Float64Array.from({ length: FEATURES }, this.#normal)
    z[0]! += shift
    return { ...this.#from, z, values: new Float32Array(0), score: z.reduce((sum, value) => sum + value * value, 0), nearest: 'other', at }
  }
}

const scores = () => {
  const camera = new Camera(runSeed + 1)
  return Array.from({ length: 512 }, () => camera.picture().score)
}

/** Everything there is to know of the streams but one. */
function told (watch: DomainWatch) {
  const { pictures: _pictures, counted: _counted, notFinite: _notFinite, unwatched: _unwatched, ...rest } = watch.report(0)
  return rest
}

describe('a domain under watch', () => {
  it('says that it has not seen enough rather than zero, then that all is steady', () => {
    const watch = new DomainWatch(scores(), DIAL, 5)
    assert.deepEqual(watch.report(0), {
      state: 'notEnoughSeen',
      pictures: 0,
      counted: 0,
      notFinite: 0,
      unwatched: 0,
      since: 5,
      alarms: 0,
      streams: { watched: 0, drifting: 0 }
    })
    assert.deepEqual(watch.glance(0), { state: 'notEnoughSeen', pictures: 0 })
    const camera = new Camera(runSeed)
    while (watch.report(0).counted < ENOUGH) assert.equal((watch.see(camera.picture()), 0), 0)
    const { state, eValue, moved, nearest, streams } = watch.report(0)
    assert.deepEqual([state, nearest, streams], ['steady', 'other', { watched: 1, drifting: 0 }])
    assert.ok(eValue! < 10)
    assert.equal(moved!.length, 5)
    assert.deepEqual(watch.glance(0), { state, eValue, pictures: watch.report(0).pictures })
  })

  it('tells of drift soon: since when, what moved, and which stream', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const camera = new Camera(runSeed, { stream: 'door' })
    for (let at = 0; at < 300; at++) assert.deepEqual(watch.see(camera.picture(0, at)), [])
    let at = 300
    const alarms = []
    for (; alarms.length < 2; at++) {
      alarms.push(...watch.see(camera.picture(8, at)))
      assert.ok(at < 400, 'an alarm is overdue')
    }
    assert.deepEqual(alarms.map(({ stream }) => stream).toSorted(), ['door', undefined])
    const { state, eValue, driftingSince, alarms: count, streams } = watch.report(0)
    assert.deepEqual([state, count, streams], ['drifting', 2, { watched: 1, drifting: 1 }])
    assert.ok(driftingSince! > 100 && driftingSince! <= at, `since ${driftingSince}`)
    assert.ok(eValue! > 100)
    // The alarm comes after so few pictures that chance may have moved another feature as far.
    for (const end = at + 30; at < end; at++) watch.see(camera.picture(8, at))
    const [most] = watch.report(0).moved!
    assert.ok(most!.feature === 0 && most!.shift > 0, JSON.stringify(most))
  })

  it('calms down once pictures are those of the domain for long enough', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const camera = new Camera(runSeed)
    for (let at = 0; at < 100; at++) watch.see(camera.picture(8, at))
    assert.equal(watch.report(0).state, 'drifting')
    for (let at = 100; at < 6000; at++) watch.see(camera.picture(0, at))
    assert.equal(watch.report(0).state, 'steady')
    assert.ok(watch.report(0).alarms > 0)
  })

  it('is no longer drifting for a stream that ended, once others have sent as much as would have calmed it', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const [ended, other] = [new Camera(runSeed, { stream: 'ended' }), new Camera(runSeed + 2, { stream: 'other' })]
    for (let at = 0; at < 60; at++) watch.see(ended.picture(8, 5))
    assert.deepEqual(watch.report(5).streams, { watched: 1, drifting: 1 })
    const end = watch.report(5).counted + CALM
    while (watch.report(5).counted < end - 1) watch.see(other.picture(0, 5))
    assert.deepEqual(watch.report(5).streams, { watched: 2, drifting: 1 })
    // All streams together calm down by the same pictures.
    for (let at = 0; at < 4 * CALM; at++) watch.see(other.picture(0, 5))
    const { state, driftingSince, streams, eValue } = watch.report(5)
    assert.deepEqual([state, driftingSince, streams], ['steady', undefined, { watched: 2, drifting: 0 }])
    assert.ok(eValue! < 100)
    for (let at = 0; at < 60; at++) watch.see(ended.picture(8, 6))
    assert.deepEqual(watch.report(6).streams, { watched: 2, drifting: 1 })
  })

  it('is no longer drifting when nothing has come for a day', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const camera = new Camera(runSeed)
    for (let at = 0; at < 60; at++) watch.see(camera.picture(8, 5))
    assert.equal(watch.isDrifting(5 + ENDED_MS - 1), true)
    assert.equal(watch.glance(5 + ENDED_MS - 1).state, 'drifting')
    assert.deepEqual([watch.isDrifting(5 + ENDED_MS), watch.report(5 + ENDED_MS).streams], [false, { watched: 1, drifting: 0 }])
  })

  it('raises no alarm for one strange picture that is repeated forever', () => {
    const watch = new DomainWatch(scores(), 1000, 0)
    const frozen = new Camera(runSeed).picture(30)
    for (let at = 0; at < 10_000; at++) assert.deepEqual(watch.see(frozen), [])
    assert.equal(watch.report(0).counted, 1)
  })

  it('keeps a stream as it is, whatever another one sends', () => {
    const anything = fc.oneof(
      fc.record({ value: fc.double(), score: fc.double() }),
      fc.record({ value: fc.constant(NaN), score: fc.constant(NaN) }),
      fc.record({ value: fc.constant(0), score: fc.constant(0) }),
      fc.record({ value: fc.constant(1e6), score: fc.constant(1e12) })
    )
    const alarmsOf = (hostile: ReadonlyArray<{ value: number, score: number }>) => {
      const watch = new DomainWatch(scores(), DIAL, 0)
      const camera = new Camera(runSeed, { stream: 'honest' })
      const own: number[] = []
      for (let at = 0; at < 400; at++) {
        const { value, score } = hostile[at % Math.max(1, hostile.length)] ?? { value: 0, score: 0 }
        const picture = { caller: 'b', stream: `s${at}`, z: new Float64Array(FEATURES).fill(value), values: new Float32Array(0), score, nearest: undefined, at }
        if (hostile.length > 0) watch.see(picture)
        if (watch.see(camera.picture(at < 300 ? 0 : 8, at)).some(({ stream }) => stream === 'honest')) own.push(at)
      }
      assert.ok(own.length > 0)
      return own
    }
    const alone = alarmsOf([])
    fc.assert(fc.property(fc.array(anything, { minLength: 1, maxLength: 20 }), (hostile) => {
      assert.deepEqual(alarmsOf(hostile), alone)
    }), { seed: runSeed, numRuns: 20 })
  })

  it('is not moved by what is no number, and counts it', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const camera = new Camera(runSeed)
    for (let at = 0; at < 100; at++) watch.see(camera.picture(0, at))
    const before = told(watch)
    for (const [value, score] of [[NaN, 1], [1, NaN], [Infinity, 1], [1, Infinity]] as const) {
      assert.deepEqual(watch.see({ ...camera.picture(), z: new Float64Array(FEATURES).fill(value), score }), [])
    }
    assert.deepEqual(told(watch), before)
    assert.equal(watch.report(0).notFinite, 4)
  })

  it('stays as large as it is under a hundred thousand streams of one caller, and lets others keep their place', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const picture = new Camera(runSeed).picture()
    watch.see({ ...picture, caller: 'honest', stream: 'one' })
    for (let at = 0; at < 100_000; at++) watch.see({ ...picture, caller: 'b', stream: String(at) })
    assert.equal(watch.report(0).streams.watched, CALLER_STREAMS_MAX + 1)
    assert.equal(watch.report(0).unwatched, 100_000 - CALLER_STREAMS_MAX)
  })

  it('finds the one camera of a hundred under one key whose pictures drift', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const cameras = Array.from({ length: 100 }, (_, at) => new Camera(runSeed + at, { stream: String(at) }))
    const isFound = (round: number) => cameras.some((camera, at) => {
      return watch.see(camera.picture(at === 90 ? 8 : 0, round)).some(({ stream }) => stream === '90')
    })
    for (let round = 0; !isFound(round); round++) assert.ok(round < 2 * TERM, 'an alarm is overdue')
  })

  it('gives the place of a quiet stream to a new one in a full table, and not that of a lively one', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const picture = new Camera(runSeed).picture()
    for (let caller = 0; caller < 2 * STREAMS_MAX; caller++) watch.see({ ...picture, caller: String(caller) })
    assert.equal(watch.report(0).streams.watched, STREAMS_MAX)
    assert.equal(watch.report(0).unwatched, STREAMS_MAX)
    watch.see({ ...picture, caller: 'late', at: IDLE_MS })
    assert.equal(watch.report(0).streams.watched, STREAMS_MAX)
    assert.equal(watch.report(0).unwatched, STREAMS_MAX)
  })

  it('finds in all streams together what none of them sends enough of', () => {
    const watch = new DomainWatch(scores(), DIAL, 0)
    const cameras = Array.from({ length: 200 }, (_, at) => new Camera(runSeed + at, { caller: String(at) }))
    const alarms = []
    for (let round = 0; alarms.length === 0; round++) {
      assert.ok(round < 2, 'an alarm is overdue')
      for (const camera of cameras) alarms.push(...watch.see(camera.picture(4)))
    }
    assert.ok(alarms.every(({ stream }) => stream === undefined))
  })
})
