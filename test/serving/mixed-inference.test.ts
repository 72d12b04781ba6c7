/** One request, rows of several domains. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { openHouse, pictures, readyModel, scoresOf, type House } from '../support/served.js'
import type { VersionWish } from '#src/serving/version-wish.js'

/** night shifts by 10, fog by 20. */
async function openThree () {
  const house = await openHouse()
  await house.publish('night', 10)
  await house.publish('fog', 20)
  return house
}

const mixed = (house: House, rows: string[], wish: VersionWish = {}, count = rows.length) => {
  return house.answering.inferMixed('signs', { wish, rows, feeds: pictures(count) })
}

const firstScores = (answer: Awaited<ReturnType<typeof mixed>>) => scoresOf(answer).filter((_, at) => at % 2 === 0)

test('each row is answered by its own bank, in the order of the request', async () => {
  const house = await openThree()
  const answer = await mixed(house, ['fog', 'night', 'fog', 'day', 'night'])
  assert.deepEqual(firstScores(answer), [21, 12, 23, 4, 15])
  assert.deepEqual(answer.answeredBy.map(({ domain }) => domain), ['fog', 'night', 'day'])
  assert.deepEqual(house.pool.jobs.map(({ turnOf, rows }) => [turnOf, rows]), [['signs@fog', 2], ['signs@night', 2], ['signs@day', 1]])
  assert.equal(house.pool.letIn.length, 1)
})

test('an empty row is the request\'s own choice: its header, its pin, else the default', async () => {
  const house = await openThree()
  await house.publish('night', 11)
  assert.deepEqual(firstScores(await mixed(house, ['', 'fog'], { header: 'night:1' })), [11, 22])
  assert.deepEqual(firstScores(await mixed(house, ['', 'fog'], { header: 'night', pathVersion: '1' })), [11, 22])
  assert.deepEqual(firstScores(await mixed(house, ['', 'fog'])), [1, 22])
})

test('two ways to say one version are one group', async () => {
  const house = await openThree()
  const answer = await mixed(house, ['night', 'night:1', 'night:active'])
  assert.deepEqual([answer.answeredBy.length, house.pool.jobs.length], [1, 1])
  assert.deepEqual(firstScores(answer), [11, 12, 13])
  assert.equal(house.held(), 0)
})

test('all rows of a domain go to the same version, the canary or the active one', async () => {
  const house = await openThree()
  await house.publish('night', 30, { isActivated: false })
  await house.store.mark('signs', 'night', { kind: 'canary', candidate: { version: 2, percent: 50 } })
  const seen = new Set<number>()
  for (let request = 0; request < 20; request++) {
    const answer = await mixed(house, ['night', 'night', 'night'], { canaryKey: `request-${request}` })
    assert.equal(answer.answeredBy.length, 1)
    seen.add(answer.answeredBy[0]!.version)
  }
  assert.deepEqual([...seen].toSorted(), [1, 2])
})

test('rows are counted for their domains, the time of reading by their share', async () => {
  const house = await openThree()
  await house.answering.inferMixed('signs', { wish: {}, rows: ['fog', 'night', 'fog', 'fog'], feeds: pictures(4), inputMs: 8 })
  assert.deepEqual(house.countedAs('countInference'), [['signs', 'fog', 3, 'ok'], ['signs', 'night', 1, 'ok']])
  assert.equal(house.answering.traffic('signs', 'fog', 1).input.ms, 6)
  assert.equal(house.answering.traffic('signs', 'night', 1).input.ms, 2)
})

test('what cannot be answered is refused whole, and nothing stays held', async () => {
  const house = await openThree()
  for (const [rows, code, count] of [
    [['night', 'snow'], 'DOMAIN_NOT_FOUND'], [['night', 'fog:9'], 'VERSION_NOT_FOUND'],
    [['night', 'no:such:form'], 'DOMAIN_REFERENCE_INVALID'], [['night'], 'INPUT_SHAPE_MISMATCH', 2],
    [['night', 'fog', 'day'], 'INPUT_SHAPE_MISMATCH', 2]
  ] as Array<[string[], string, number?]>) {
    await assert.rejects(mixed(house, rows, {}, count), hasCode(code))
    assert.equal(house.held(), 0)
  }
  assert.deepEqual(house.pool.jobs, [])
  // References are told before tensors.
  await assert.rejects(mixed(house, ['no:such:form'], {}, 2), hasCode('DOMAIN_REFERENCE_INVALID'))
})

test('a run that fails fails all rows, and every version is let go', async () => {
  const house = await openThree()
  const { network } = house.pool
  house.pool.network = (job) => {
    if (job.turnOf === 'signs@fog') throw new Error('broken')
    return network(job)
  }
  await assert.rejects(mixed(house, ['night', 'fog']), /broken/)
  assert.deepEqual(house.countedAs('countInference').map(([, domain, , outcome]) => [domain, outcome]), [['night', 'error'], ['fog', 'error']])
  assert.equal(house.held(), 0)
})

test('at most 64 versions; one more is refused', async () => {
  const house = await openHouse()
  const versions = Array.from({ length: 65 }, (_, at) => `day:${at + 1}`)
  for (let shift = 1; shift < 65; shift++) await house.publish('day', shift)
  const answer = await mixed(house, versions.slice(0, 64))
  assert.deepEqual(firstScores(answer), Array.from({ length: 64 }, (_, at) => 2 * at + 1))
  await assert.rejects(mixed(house, versions), hasCode('REQUEST_TOO_MANY_VERSIONS', { expected: 64 }))
  assert.equal(house.held(), 0)
})

test('rows that depend on each other share one domain', async () => {
  const model = readyModel(MANIFEST, { proof: { maxRelativeError: 0, isRowInvariant: false } })
  const house = await openHouse({ models: [model] })
  await assert.rejects(mixed(house, ['day', 'day']), hasCode('ROWS_DEPENDENT'))
})
