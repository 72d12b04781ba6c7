/** Shadows over a whole house: what is compared, what is remembered of it, and that requests do not notice. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { noReport, WAITING_BYTES_MAX, WAITING_ROWS_MAX } from '#src/serving/answering/shadows.js'
import { gate } from '../support/gate.js'
import { openHouse, pictures, scoresOf, type House } from '../support/served.js'

/** night is answered by version 1, which shifts by 1, and shadowed by version 2, which shifts by `candidate`. */
async function openShadowed (candidate: number, percent = 100) {
  let draw = 0
  const house = await openHouse({ random: () => draw })
  house.pool.workers.ready = 4
  await house.publish('night', 1)
  await house.publish('night', candidate, { isActivated: false })
  await house.store.mark('signs', 'night', { kind: 'shadow', candidate: { version: 2, percent } })
  return { ...house, setDraw: (share: number) => { draw = share } }
}

const ask = (house: House, rows = 1, header = 'night') => {
  return house.answering.infer('signs', { wish: { header }, feeds: pictures(rows) })
}

/** Shadows run by themselves after an answer; nothing tells when. */
async function settle (): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => { setImmediate(resolve) })
}

describe('a comparison', () => {
  it('is of the same rows under both banks: how far apart, and which class is the best', async () => {
    const house = await openShadowed(-1)
    const answer = await ask(house, 2)
    assert.deepEqual(scoresOf(answer), [2, 0, 3, 1])
    await settle()
    // The candidate answers 0, 2 and 1, 3: another class for each row, and 2 of at most 2 away.
    const { since, ...report } = house.admin.shadow('signs', 'night')
    assert.deepEqual(report, {
      version: 2, active: 1, comparedRows: 2, disagreeingRows: 2, notFiniteRows: 0, largestRelativeDifference: 1, droppedRows: 0, failedRows: 0
    })
    assert.ok(!Number.isNaN(Date.parse(since)))
    assert.deepEqual(house.countedAs('countShadow').map(([model, domain]) => [model, domain]), [['signs', 'night']])
    assert.equal(house.pool.jobs.at(-1)!.turnOf, 'signs@')
  })

  it('adds up over requests, and keeps the largest difference', async () => {
    const house = await openShadowed(3)
    await ask(house, 2)
    await settle()
    const first = house.admin.shadow('signs', 'night')
    assert.equal(first.largestRelativeDifference, 1)
    house.pool.network = (job) => {
      const { data } = job.feeds.x!
      return { logits: { type: 'float32', dims: [job.rows, 2], data: Float32Array.from({ length: 2 * job.rows }, () => Number(data[0])) } }
    }
    await ask(house, 3)
    await settle()
    const { comparedRows, disagreeingRows, largestRelativeDifference, since } = house.admin.shadow('signs', 'night')
    assert.deepEqual([comparedRows, disagreeingRows, largestRelativeDifference, since], [5, 0, 1, first.since])
  })

  it('begins anew with another candidate, or another active version', async () => {
    const house = await openShadowed(3)
    await ask(house, 3)
    await settle()
    assert.equal(house.admin.shadow('signs', 'night').comparedRows, 3)
    await house.publish('night', 5)
    await house.store.mark('signs', 'night', { kind: 'shadow', candidate: { version: 2, percent: 100 } })
    await ask(house)
    await settle()
    const again = house.admin.shadow('signs', 'night')
    assert.deepEqual([again.active, again.comparedRows], [3, 1])
    await house.store.mark('signs', 'night', { kind: 'shadow', candidate: { version: 1, percent: 100 } })
    assert.equal(house.admin.shadow('signs', 'night').comparedRows, 0)
    await ask(house, 2)
    await settle()
    const other = house.admin.shadow('signs', 'night')
    assert.deepEqual([other.version, other.active, other.comparedRows], [1, 3, 2])
  })

  it('counts rows with values that are no finite numbers, and tells no difference of them', async () => {
    const house = await openShadowed(1)
    const { network } = house.pool
    house.pool.network = (job) => job.turnOf === 'signs@'
      ? { logits: { type: 'float32', dims: [2, 2], data: Float32Array.of(NaN, 0, 3, 1) } }
      : network(job)
    await ask(house, 2)
    await settle()
    const { notFiniteRows, largestRelativeDifference } = house.admin.shadow('signs', 'night')
    assert.deepEqual([notFiniteRows, largestRelativeDifference], [1, 0])
  })

  it('is forgotten with its domain', async () => {
    const house = await openShadowed(3)
    await ask(house)
    await settle()
    await house.admin.removeDomain('signs', 'night')
    assert.equal(house.shadows.report('signs', 'night', 2), undefined)
  })
})

describe('a request', () => {
  it('does not notice a shadow that fails, or whose bank is gone', async (t) => {
    const house = await openShadowed(3)
    t.mock.method(house.store, 'read', async (_model: string, _domain: string, version: number) => {
      if (version === 2) throw new Error('lost')
      return await Object.getPrototypeOf(house.store).read.call(house.store, 'signs', 'night', version)
    })
    assert.deepEqual(scoresOf(await ask(house)), [2, 0])
    await settle()
    const { failedRows, comparedRows } = house.admin.shadow('signs', 'night')
    assert.deepEqual([failedRows, comparedRows], [1, 0])
  })

  it('may do with its tensors what it likes once it is answered', async () => {
    const house = await openShadowed(3)
    house.pool.backlog.rows = 1
    const feeds = pictures(1)
    const { outputs } = await house.answering.infer('signs', { wish: { header: 'night' }, feeds })
    const held = [feeds.x!.data, outputs.logits!.data] as Float32Array[]
    for (const data of held) data.fill(1e9)
    house.pool.backlog.rows = 0
    house.shadows.pump()
    await settle()
    assert.equal(house.pool.jobs.at(-1)!.feeds.x!.data[0], 1)
    // 1 + 3 instead of 1 + 1: two away, relative to two.
    assert.equal(house.admin.shadow('signs', 'night').largestRelativeDifference, 1)
  })

  it('of a pinned version, of the canary, or outside the share is not shadowed', async () => {
    const house = await openShadowed(3, 40)
    house.setDraw(0.4)
    await ask(house)
    house.setDraw(0)
    await ask(house, 1, 'night:2')
    await settle()
    assert.equal(house.pool.jobs.length, 2)
    house.setDraw(0.399)
    await ask(house)
    await settle()
    assert.equal(house.pool.jobs.length, 4)
    await ask(house, 1, 'night:1')
    await settle()
    assert.equal(house.pool.jobs.length, 6, 'a pin of the active version is a request like any other')
  })
})

describe('what waits', () => {
  it('is bounded in rows and bytes, gives its room back, and the rest is counted as dropped', async () => {
    const house = await openShadowed(3)
    house.pool.backlog.rows = 1
    for (let request = 0; request < WAITING_ROWS_MAX / 4 + 3; request++) await ask(house, 4)
    const bytes = WAITING_ROWS_MAX * (3 + 2) * 4
    assert.deepEqual(house.shadows.backlog, { rows: WAITING_ROWS_MAX, bytes })
    assert.equal(house.admin.shadow('signs', 'night').droppedRows, 12)
    house.pool.backlog.rows = 0
    house.shadows.pump()
    while (house.shadows.backlog.rows > 0) await settle()
    await settle()
    assert.deepEqual(house.shadows.backlog, { rows: 0, bytes: 0 })
    assert.equal(house.admin.shadow('signs', 'night').comparedRows, WAITING_ROWS_MAX)
  })

  it('has no room for what is larger than all of it', async () => {
    const house = await openShadowed(3)
    house.pool.backlog.rows = 1
    const side = Math.ceil(Math.sqrt(WAITING_BYTES_MAX / 12))
    await house.answering.infer('signs', { wish: { header: 'night' }, feeds: pictures(1, side) })
    assert.deepEqual([house.shadows.backlog.rows, house.admin.shadow('signs', 'night').droppedRows], [0, 1])
  })

  it('goes one run at a time, and not at all while requests wait or threads are busy', async () => {
    const house = await openShadowed(3)
    const { network } = house.pool
    const running = gate()
    let shadows = 0
    house.pool.network = async (job) => {
      if (job.turnOf === 'signs@') {
        shadows++
        await running.pass()
      }
      return await network(job)
    }
    await ask(house)
    await ask(house)
    await running.reached
    assert.deepEqual([shadows, house.shadows.backlog.rows], [1, 1])
    // Two of four threads stay free for requests.
    house.pool.workers.busy = 2
    running.open()
    await settle()
    assert.equal(shadows, 1)
    house.pool.workers.busy = 1
    house.shadows.pump()
    await settle()
    assert.equal(shadows, 2)
  })
})

it('a report of nothing has no rows in it', () => {
  const { since, version, active, ...counts } = noReport(2, 1)
  assert.deepEqual([version, active], [2, 1])
  assert.ok(Object.values(counts).every((count) => count === 0))
  assert.ok(since.endsWith('Z'))
})
