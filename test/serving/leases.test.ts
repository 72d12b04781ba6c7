import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Leases } from '#src/serving/leases.js'
import { hasCode } from '../support/errors.js'

/** A promise and the function that settles it. */
function gate () {
  let open: () => void
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { opened, open: open! }
}

test('a lease is held while the work lasts, and its result comes through', async () => {
  const leases = new Leases()
  const { opened, open } = gate()
  const work = leases.hold('signs/night/3', async () => {
    await opened
    return 'answer'
  })
  assert.equal(leases.count('signs/night/3'), 1)
  open()
  assert.equal(await work, 'answer')
  assert.equal(leases.count('signs/night/3'), 0)
})

test('holders are counted, each key for itself', async () => {
  const leases = new Leases()
  const gates = [gate(), gate(), gate()]
  const keys = ['signs/night/3', 'signs/night/3', 'signs/night/4']
  const works = keys.map((key, index) => leases.hold(key, () => gates[index]!.opened))
  assert.deepEqual(['signs/night/3', 'signs/night/4', 'signs/night/5'].map((key) => leases.count(key)), [2, 1, 0])
  gates[0]!.open()
  await works[0]
  assert.deepEqual(['signs/night/3', 'signs/night/4'].map((key) => leases.count(key)), [1, 1])
  gates[1]!.open()
  gates[2]!.open()
  await Promise.all(works)
  assert.equal(leases.count('signs/'), 0)
})

test('a key that ends with a slash counts all below it, and nothing beside it', async () => {
  const leases = new Leases()
  const { opened, open } = gate()
  const keys = ['signs/night/3', 'signs/night/31', 'signs/night2/3', 'signs/day/3', 'sign/night/3']
  const works = keys.map((key) => leases.hold(key, () => opened))
  assert.equal(leases.count('signs/night/'), 2)
  assert.equal(leases.count('signs/'), 4)
  assert.equal(leases.count('signs/night/3'), 1)
  assert.equal(leases.count('signs/fog/'), 0)
  open()
  await Promise.all(works)
})

test('a lease ends when the work fails, also before it has begun to wait', async () => {
  const leases = new Leases()
  await assert.rejects(leases.hold('a', async () => { throw new Error('later') }), /later/)
  await assert.rejects(leases.hold('a', () => { throw new Error('at once') }), /at once/)
  assert.equal(leases.count('a'), 0)
})

test('leases nest', async () => {
  const leases = new Leases()
  await leases.hold('a', async () => {
    await leases.hold('a', async () => assert.equal(leases.count('a'), 2))
    assert.equal(leases.count('a'), 1)
  })
  assert.equal(leases.count('a'), 0)
})

test('what is held cannot be removed, and what is being removed cannot be held', async () => {
  const leases = new Leases()
  const holding = gate()
  const work = leases.hold('signs/night/3', () => holding.opened)
  const never = async () => assert.fail('removed under a request')
  await assert.rejects(leases.remove('signs/night/3', never), hasCode('VERSION_LEASED', { received: 1 }))
  await assert.rejects(leases.remove('signs/night/', never), hasCode('VERSION_LEASED', { received: 1 }))
  holding.open()
  await work
  const removing = gate()
  const removed = leases.remove('signs/night/', async () => {
    await removing.opened
    return 'gone'
  })
  await assert.rejects(leases.hold('signs/night/3', never), hasCode('VERSION_LEAVING'))
  await assert.rejects(leases.remove('signs/night/', never), hasCode('VERSION_LEAVING'))
  await leases.hold('signs/day/3', async () => {})
  removing.open()
  assert.equal(await removed, 'gone')
  await leases.hold('signs/night/3', async () => {})
})

test('a removal that fails leaves the version in use', async () => {
  const leases = new Leases()
  await assert.rejects(leases.remove('a', async () => { throw new Error('disk') }), /disk/)
  await leases.hold('a', async () => {})
})
