/** `auto`, with a stem that sees the first value of each row. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IDLE_MS } from '#src/drift/stream-table.js'
import { preparationOf } from '#src/models/signature-preparation.js'
import { makeSignature, type Signature } from '#src/signature/signature.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { openHouse, readyModel, scoresOf, STEM, type House, type HouseOptions } from '../support/served.js'
import type { Tensors } from '#src/ort/rows.js'
import type { VersionWish } from '#src/serving/version-wish.js'

const SIZE = MANIFEST.task === 'classification' ? MANIFEST.input.size : { width: 0, height: 0 }

/** Of images whose first value is about `centre`. */
function signature (centre: number, size = SIZE, stem = STEM, logVariance = 0): Signature {
  const normal = seededNormal(runSeed + centre)
  const rows = Array.from({ length: 200 }, () => Float64Array.of(centre + 0.2 * normal(), logVariance))
  return makeSignature(rows, { stem, preparation: preparationOf(MANIFEST, size) })
}

/** Rows of pictures of `SIZE`, each with a first value. */
function feeds (...values: number[]): Tensors {
  const perRow = 3 * SIZE.width * SIZE.height
  const data = new Float32Array(values.length * perRow)
  for (const [row, value] of values.entries()) data[row * perRow] = value
  return { x: { type: 'float32', dims: [values.length, 3, SIZE.height, SIZE.width], data } }
}

/** day around 0 shifts by 0, night around 5 by 10. */
async function openTwo (options: HouseOptions = {}) {
  const house = await openHouse(options)
  await house.publish('day', 0, { signatures: [signature(0)] })
  await house.publish('night', 10, { signatures: [signature(5)] })
  const infer = (values: number[], wish: VersionWish = { header: 'auto' }) => {
    return house.answering.inferRows('signs', { wish, feeds: feeds(...values) })
  }
  return { house, infer }
}

/** What was counted of choices, which is done once the choice has gone its way. */
async function recognisedIn (house: House): Promise<unknown[][]> {
  await new Promise(setImmediate)
  return house.countedAs('countRecognised')
}

test('each row gets the domain that it looks like, wherever auto is named', async () => {
  const { house, infer } = await openTwo()
  for (const wish of [{ header: 'auto' }, { parameter: 'auto' }, { path: 'auto' }]) {
    const { recognised, ...answer } = await infer([5, 0, 4.9], wish)
    assert.deepEqual(recognised!.map((row) => [row!.domain, row!.fit, row!.runnerUp]), [
      ['night', 'good', 'day'], ['day', 'good', 'night'], ['night', 'good', 'day']
    ])
    assert.deepEqual(answer.answeredBy.map(({ domain }) => domain), ['night', 'day'])
    assert.deepEqual(scoresOf(answer).filter((_, at) => at % 2 === 0).map(Math.round), [15, 0, 15])
  }
  assert.equal(house.held(), 0)
  assert.deepEqual(house.pool.jobs.filter(({ bank }) => bank === undefined).map(({ turnOf, isAside }) => [turnOf, isAside]).at(0), ['signs@auto', true])
})

test('of rows that depend on each other the first speaks for all, and counts alone', async () => {
  const house = await openHouse({ models: [readyModel(MANIFEST, { proof: { maxRelativeError: 0, isRowInvariant: false } })] })
  await house.publish('day', 0, { signatures: [signature(0)] })
  await house.publish('night', 10, { signatures: [signature(5)] })
  const wish = { header: 'auto', sender: { caller: 'me', stream: 'camera' } }
  for (const [values, expected] of [[[5, 0, 0, 0], 'night'], [[5, 0, 0, 0], 'night'], [[0, 5, 5], 'night']] as const) {
    const { answeredBy, recognised } = await house.answering.inferRows('signs', { wish, feeds: feeds(...values) })
    assert.deepEqual([answeredBy.map(({ domain }) => domain), recognised!.length], [[expected], 1])
  }
  assert.deepEqual((await recognisedIn(house)).map(([, domain]) => domain), ['night', 'night', 'day'])
})

test('rows may be of both kinds', async () => {
  const { house } = await openTwo()
  const { recognised, ...answer } = await house.answering.inferMixed('signs', {
    wish: {}, rows: ['auto', 'night', ''], feeds: feeds(5, 0, 5)
  })
  assert.deepEqual(recognised!.map((row) => row?.domain), ['night', undefined, undefined])
  assert.deepEqual(scoresOf(answer).filter((_, at) => at % 2 === 0).map(Math.round), [15, 10, 5])
})

test('drift is told row by row what was chosen, also where one version answers rows of both kinds', async () => {
  const offers: Array<[domain: string, isChosen: readonly boolean[]]> = []
  const { house, infer } = await openTwo({
    drift: { offer: (_, { resolved: { record }, isChosen }) => { offers.push([record.domain, isChosen]) } }
  })
  await house.answering.inferMixed('signs', { wish: {}, rows: ['auto', 'night', ''], feeds: feeds(5, 0, 5) })
  await house.answering.inferMixed('signs', { wish: { header: 'auto' }, rows: ['day', ''], feeds: feeds(5, 1000) })
  await infer([5])
  await infer([5], { header: 'day' })
  await infer([5], { header: 'day=0.5,night=0.5' })
  assert.deepEqual(offers, [
    ['night', [true, false]], ['day', [false]], ['day', [false, true]], ['night', [true]], ['day', [false]]
  ])
})

test('what fits no domain is answered by the default one, numbers or not', async () => {
  const { house, infer } = await openTwo()
  for (const odd of [1000, -1e30, Infinity, NaN]) {
    const { recognised, answeredBy } = await infer([odd])
    assert.deepEqual([recognised![0]!.fit, recognised![0]!.domain, answeredBy[0]!.domain], ['none', 'day', 'day'])
    assert.ok(recognised![0]!.p! > 0)
  }
  assert.equal((await recognisedIn(house)).at(0)!.at(-1), 'none')
})

test('what fits none and is not of the default domain\'s size is answered by the nearest of its own', async () => {
  const house = await openHouse()
  const small = { width: SIZE.width / 2, height: SIZE.height / 2 }
  await house.publish('day', 0, { signatures: [signature(0)] })
  await house.publish('small', 10, { signatures: [signature(0, small)], preprocessing: { size: small } })
  const perRow = 3 * small.width * small.height
  const data = new Float32Array(perRow).fill(1000)
  const { recognised } = await house.answering.inferRows('signs', {
    wish: { header: 'auto' }, feeds: { x: { type: 'float32', dims: [1, 3, small.height, small.width], data } }
  })
  assert.deepEqual([recognised![0]!.fit, recognised![0]!.domain], ['none', 'small'])
})

test('a manifest may ask for it; a named domain goes before', async () => {
  const model = readyModel({ ...MANIFEST, domainFrom: 'auto' } as typeof MANIFEST)
  const house = await openHouse({ models: [model] })
  await house.publish('day', 0, { signatures: [signature(0)] })
  await house.publish('night', 10, { signatures: [signature(5)] })
  const ask = async (wish: VersionWish) => (await house.answering.inferRows('signs', { wish, feeds: feeds(5) })).answeredBy[0]!.domain
  assert.equal(await ask({}), 'night')
  assert.equal(await ask({ header: 'day' }), 'day')
})

test('auto has no version to pin, and is no part of a blend', async () => {
  const { house, infer } = await openTwo()
  for (const wish of [
    { header: 'auto:1' }, { header: 'auto:active' }, { header: 'auto', pathVersion: '1' }, { path: 'auto', pathVersion: 'active' },
    { header: 'auto=0.5,day=0.5' }
  ]) {
    for (const values of [[5], [5, 0]]) {
      await assert.rejects(infer(values, wish), hasCode('DOMAIN_REFERENCE_INVALID', { received: 'auto' }), JSON.stringify(wish))
    }
  }
  assert.equal(house.held(), 0)
  assert.equal((await recognisedIn(house)).length, 0)
})

test('a stem that is a convolution chooses on this thread: the threads run nothing but the network', async () => {
  const { stem } = readyModel(MANIFEST).artefact
  // The first value of a picture, at one position.
  const sizes = { kernel: [1, 1], strides: [SIZE.height, SIZE.width], padding: [0, 0, 0, 0] } as const
  const convolution = { inputChannels: 3, ...sizes, weights: Float32Array.of(1, 0, 0), biases: new Float32Array(1) }
  const house = await openHouse({ models: [readyModel(MANIFEST, { stem: { ...stem!, convolution } })] })
  for (const [domain, centre] of [['day', 0], ['night', 5]] as const) {
    await house.publish(domain, centre, { signatures: [signature(centre, SIZE, STEM, Math.log(1e-12))] })
  }
  const { recognised } = await house.answering.inferRows('signs', { wish: { header: 'auto' }, feeds: feeds(5, 0, 4.9) })
  assert.deepEqual(recognised!.map((row) => [row!.domain, row!.fit]), [['night', 'good'], ['day', 'good'], ['night', 'good']])
  assert.ok(house.pool.jobs.length > 0 && house.pool.jobs.every(({ bank }) => bank !== undefined))
  assert.deepEqual((await recognisedIn(house)).map(([, domain]) => domain), ['night', 'day', 'night'])
})

test('what is chosen is not counted for a domain that is gone by then', async () => {
  const { house, infer } = await openTwo()
  const submit = house.pool.submit.bind(house.pool)
  house.pool.submit = async (jobs, signal) => {
    const results = await submit(jobs, signal)
    // After the choice, and in the turn before the one in which it is counted.
    if (jobs[0]!.bank === undefined) setImmediate(() => { void house.admin.removeDomain('signs', 'night') })
    return results
  }
  // Far from both, and from day by far more.
  const { recognised } = await infer([7])
  assert.deepEqual([recognised![0]!.nearest, recognised![0]!.fit, recognised![0]!.domain], ['night', 'none', 'day'])
  assert.deepEqual(await recognisedIn(house), [])
})

test('a domain that goes while the stem runs is not chosen, nor counted', async () => {
  for (const end of ['removeDomain', 'deactivate'] as const) {
    const { house, infer } = await openTwo()
    const { submit } = house.pool
    house.pool.submit = async (jobs, signal) => {
      const results = await submit.call(house.pool, jobs, signal)
      if (jobs[0]!.bank === undefined) await house.admin[end]('signs', 'night')
      return results
    }
    const { recognised, answeredBy } = await infer([5])
    assert.deepEqual([recognised![0]!.nearest, answeredBy[0]!.domain], ['day', 'day'])
    assert.deepEqual((await recognisedIn(house)).map(([, domain]) => domain), ['day'])
  }
})

test('pictures of a stream are answered alike; what fits nothing has no vote', async () => {
  const { infer } = await openTwo()
  const wish = { header: 'auto', sender: { caller: 'me', stream: 'camera' } }
  const domains: string[] = []
  for (const value of [5, 5, 0, 1000, 0, 0]) domains.push((await infer([value], wish)).answeredBy[0]!.domain)
  assert.deepEqual(domains, ['night', 'night', 'night', 'day', 'day', 'day'])
})

test('a stream that is settled on a domain that is removed, switched off or of another size goes on with those that are left', async () => {
  const { house, infer } = await openTwo()
  const small = { width: SIZE.width / 2, height: SIZE.height / 2 }
  await house.publish('small', 20, { preprocessing: { size: small }, signatures: [signature(0, small)] })
  const from = (stream: string) => ({ header: 'auto', sender: { caller: 'me', stream } })
  const ask = async (value: number, stream: string) => (await infer([value], from(stream))).answeredBy[0]!.domain
  for (const stream of ['a', 'b']) for (let at = 0; at < 3; at++) assert.equal(await ask(5, stream), 'night')
  await house.admin.deactivate('signs', 'night')
  assert.equal(await ask(0, 'a'), 'day')
  await house.admin.removeDomain('signs', 'night')
  assert.equal(await ask(0, 'b'), 'day')
  const data = new Float32Array(3 * small.width * small.height)
  for (let at = 0; at < 3; at++) {
    const { answeredBy } = await house.answering.inferRows('signs', {
      wish: from('c'), feeds: { x: { type: 'float32', dims: [1, 3, small.height, small.width], data } }
    })
    assert.equal(answeredBy[0]!.domain, 'small')
  }
  assert.equal(await ask(0, 'c'), 'day')
})

test('a stream whose pictures fit one by one, and together do not, fits none; without a stream they fit, and after a silence', async () => {
  const clock = { now: 0 }
  const { house, infer } = await openTwo({ now: () => clock.now })
  // Each is nine tenths of a deviation away, as pictures of night may be, and none is nearer or further.
  const pictures = Array.from({ length: 100 }, (_, at) => at % 2 === 0 ? 5.18 : 4.82)
  for (const value of pictures) assert.equal((await infer([value])).recognised![0]!.fit, 'good', `seed ${runSeed}`)
  const wish = { header: 'auto', sender: { caller: 'me', stream: 'camera' } }
  const seen = []
  for (const value of pictures) seen.push((await infer([value], wish)).recognised![0]!)
  assert.deepEqual([seen[0]!.fit, seen[0]!.domain], ['good', 'night'])
  assert.deepEqual([seen.at(-1)!.fit, seen.at(-1)!.domain, seen.at(-1)!.nearest], ['none', 'day', 'night'])
  assert.equal((await recognisedIn(house)).at(-1)!.at(-1), 'none')
  const other = { ...wish, sender: { caller: 'me', stream: 'other' } }
  assert.equal((await infer([5.18], other)).recognised![0]!.fit, 'good')
  assert.equal((await infer([5.18], wish)).recognised![0]!.fit, 'none')
  clock.now += IDLE_MS
  assert.equal((await infer([5.18], wish)).recognised![0]!.fit, 'good')
})

test('a new version\'s signature counts as soon as it is active', async () => {
  const { house, infer } = await openTwo()
  assert.equal((await infer([5])).answeredBy[0]!.domain, 'night')
  await house.publish('night', 10, { signatures: [signature(50)] })
  assert.equal((await infer([5])).recognised![0]!.fit, 'none')
  await house.store.rollBack('signs', 'night')
  assert.equal((await infer([5])).answeredBy[0]!.domain, 'night')
})

test('of domains in several sizes the size decides first, and alone where nobody has a signature of it', async () => {
  const { house, infer } = await openTwo()
  const small = { width: SIZE.width / 2, height: SIZE.height / 2 }
  await house.publish('small', 20, { preprocessing: { size: small } })
  const data = new Float32Array(3 * small.width * small.height)
  const ask = () => house.answering.inferRows('signs', {
    wish: { header: 'auto' }, feeds: { x: { type: 'float32', dims: [1, 3, small.height, small.width], data } }
  })
  assert.deepEqual((await ask()).recognised, [{ domain: 'small', fit: 'size', nearest: 'small' }])
  await house.publish('small', 20, { preprocessing: { size: small }, signatures: [signature(0, small)] })
  const [found] = (await ask()).recognised!
  assert.deepEqual([found!.domain, found!.fit, found!.runnerUp], ['small', 'good', undefined])
  assert.equal((await infer([5])).answeredBy[0]!.domain, 'night')
})

test('without signatures, or with those of another network, it is told what to type', async () => {
  const house = await openHouse()
  const ask = () => house.answering.infer('signs', { wish: { header: 'auto' }, feeds: feeds(0) })
  await assert.rejects(ask, hasCode('SIGNATURE_MISSING'))
  await assert.rejects(ask, /bankswitch signature --model signs --domain day --url URL PICTURES/)
  await house.publish('day', 0, { signatures: [signature(0, SIZE, 'another')] })
  await assert.rejects(ask, hasCode('SIGNATURE_STALE'))
  assert.equal(house.held(), 0)
})

test('no domain is called auto', async () => {
  const house = await openHouse()
  const ready = readyModel(MANIFEST)
  await assert.rejects(house.admin.registerMade(ready, 'auto', ready.artefact.ownBank, 'json', { isActivated: true }), hasCode('DOMAIN_NAME_RESERVED'))
})
