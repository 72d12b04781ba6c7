import assert from 'node:assert/strict'
import { test } from 'node:test'
import { leaseKey, Leases } from '#src/serving/leases.js'
import { gate } from '../support/gate.js'
import { hasCode } from '../support/errors.js'

test('holders are counted, each key for itself, until each gives back what it took', () => {
  const leases = new Leases()
  const [first, second, other] = ['signs/night/3', 'signs/night/3', 'signs/night/4'].map((key) => leases.take(key))
  const counts = () => ['signs/night/3', 'signs/night/4', 'signs/night/5'].map((key) => leases.count(key))
  assert.deepEqual(counts(), [2, 1, 0])
  first!()
  assert.deepEqual(counts(), [1, 1, 0])
  second!()
  other!()
  assert.equal(leases.count('signs/'), 0)
})

test('a lease that is given back twice is a mistake, and no other holder pays for it', () => {
  const leases = new Leases()
  const [first] = [leases.take('a'), leases.take('a')]
  first()
  assert.throws(first, /once/)
  assert.equal(leases.count('a'), 1)
})

test('what waits for a key to be free comes once, when the last holder of it has let go', () => {
  const leases = new Leases()
  const [first, second, other] = ['signs/night/3', 'signs/night/4', 'signs/day/1'].map((key) => leases.take(key))
  const done: string[] = []
  leases.whenFree('signs/night/', () => done.push('night'))
  leases.whenFree('signs/night/3', () => done.push('night 3'))
  leases.whenFree('signs/fog/', () => done.push('fog'))
  assert.deepEqual(done, ['fog'])
  for (const release of [first, second, other]) release!()
  assert.deepEqual(done, ['fog', 'night 3', 'night'])
})

test('a key that ends with a slash counts all below it, and nothing beside it', () => {
  const leases = new Leases()
  for (const key of ['signs/night/3', 'signs/night/31', 'signs/night2/3', 'signs/day/3', 'sign/night/3']) leases.take(key)
  assert.equal(leases.count(leaseKey('signs', 'night', '')), 2)
  assert.equal(leases.count('signs/'), 4)
  assert.equal(leases.count(leaseKey('signs', 'night', 3)), 1)
  assert.equal(leases.count('signs/fog/'), 0)
})

test('work under a lease holds it as long as it lasts, also when it fails', async () => {
  const leases = new Leases()
  const holding = gate()
  const work = leases.hold('a', async () => {
    await holding.pass()
    throw new Error('later')
  })
  await holding.reached
  assert.equal(leases.count('a'), 1)
  holding.open()
  await assert.rejects(work, /later/)
  await assert.rejects(leases.hold('a', () => { throw new Error('at once') }), /at once/)
  assert.equal(leases.count('a'), 0)
})

test('what is held cannot be removed, and what is being removed cannot be held', async () => {
  const leases = new Leases()
  const release = leases.take('signs/night/3')
  const never = async () => assert.fail('removed under a request')
  await assert.rejects(leases.remove('signs/night/3', never), hasCode('VERSION_LEASED', { received: 1 }))
  await assert.rejects(leases.remove('signs/night/', never), hasCode('VERSION_LEASED', { received: 1 }))
  release()
  const removing = gate()
  const removed = leases.remove('signs/night/', async () => {
    await removing.opened
    return 'gone'
  })
  assert.throws(() => leases.take('signs/night/3'), hasCode('VERSION_LEAVING'))
  assert.equal(leases.count('signs/night/'), 0)
  await assert.rejects(leases.remove('signs/night/', never), hasCode('VERSION_LEAVING'))
  leases.take('signs/day/3')()
  removing.open()
  assert.equal(await removed, 'gone')
  leases.take('signs/night/3')
})

test('a removal that fails leaves the version in use', async () => {
  const leases = new Leases()
  await assert.rejects(leases.remove('a', async () => { throw new Error('disk') }), /disk/)
  leases.take('a')
  assert.equal(leases.count('a'), 1)
})
