/** Changes of domains: what is checked before, what is refused, and what memory is told. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bankJson } from '#src/bank/formats/bank-json.js'
import { hasCode } from '../support/errors.js'
import { gate } from '../support/gate.js'
import { bankOf, openHouse, pictures, scoresOf, type House } from '../support/served.js'
import type { Goldens } from '#src/serving/changing/goldens.js'
import type { RegistrationOptions } from '#src/serving/changing/registration.js'

const body = (shift: number) => {
  return Buffer.from(JSON.stringify({ layers: { bn: { mean: [0, 0], variance: [1, 1], gamma: [1, 1], beta: [shift, -shift] } } }))
}

const register = (house: House, domain: string, shift: number, options: Partial<RegistrationOptions> = {}) => {
  return house.admin.register('signs', domain, bankJson, body(shift), { isActivated: true, ...options })
}

/** Goldens that a bank which shifts by `shift` meets. */
const goldens = (shift: number): Goldens => ({
  inputs: pictures(2),
  expected: { logits: { type: 'float32', dims: [2, 2], data: Float32Array.of(1 + shift, 1 - shift, 2 + shift, 2 - shift) } }
})

const EXACT = { absolute: 1e-6, relative: 0 }

const scores = async (house: House, header: string) => {
  return scoresOf(await house.answering.infer('signs', { wish: { header }, feeds: pictures(1) }))
}

describe('registering', () => {
  it('stores a version that answers at once, from memory', async (t) => {
    const house = await openHouse()
    const { record, version } = await register(house, 'night', 4, { description: 'dark' })
    assert.deepEqual([record.active, version.version, version.source, record.description], [1, 1, 'json', 'dark'])
    const read = t.mock.method(house.store, 'read')
    assert.deepEqual(await scores(house, 'night'), [5, -3])
    assert.equal(read.mock.callCount(), 0)
    assert.deepEqual(house.countedAs('countRegistration'), [['signs']])
  })

  it('only stores where it is not to be activated', async () => {
    const house = await openHouse()
    await register(house, 'night', 1)
    const { record } = await register(house, 'night', 2, { isActivated: false })
    assert.deepEqual([record.active, record.versions.length], [1, 2])
    assert.deepEqual(await scores(house, 'night'), [2, 0])
    assert.deepEqual(await scores(house, 'night:2'), [3, -1])
  })

  it('touches nothing before the bank is found good', async (t) => {
    const house = await openHouse()
    const publish = t.mock.method(house.store, 'publish')
    const refused = async (text: string, code: string, options: Partial<RegistrationOptions> = {}) => {
      const work = house.admin.register('signs', 'night', bankJson, Buffer.from(text), { isActivated: true, ...options })
      await assert.rejects(work, hasCode(code))
    }
    const layer = (statistics: object) => JSON.stringify({ layers: { bn: statistics } })
    await refused('{', 'JSON_INVALID')
    await refused(layer({ mean: [0, 0, 0], variance: [1, 1] }), 'BANK_LENGTH_MISMATCH')
    await refused(layer({ mean: [0, 0] }), 'BANK_STATISTIC_MISSING')
    await refused(JSON.stringify({ layers: { other: { mean: [0, 0], variance: [1, 1] } } }), 'BANK_LAYER_UNKNOWN')
    // Finite, but folded it is not: 1e30 / sqrt(1e-38).
    await refused(layer({ mean: [0, 0], variance: [1e-38, 1], gamma: [1e30, 1] }), 'BANK_VALUE_INVALID')
    await refused(body(1).toString(), 'PREPROCESSING_INVALID', { preprocessing: { size: { width: 0, height: 1 } } })
    assert.deepEqual([publish.mock.callCount(), house.store.domain('signs', 'night'), house.countedAs('countRegistration')], [0, undefined, []])
    assert.equal(house.banks.size.count, 0)
  })

  it('gives what another change took first back to its sender', async () => {
    const house = await openHouse()
    await register(house, 'night', 1)
    await assert.rejects(register(house, 'night', 2, { expected: 0 }), hasCode('PRECONDITION_FAILED'))
    assert.equal(house.store.domain('signs', 'night')!.versions.length, 1)
    assert.equal(house.countedAs('countRegistration').length, 1)
  })

  it('keeps what its answers show to be wrong from requests, stored all the same', async () => {
    const house = await openHouse()
    await register(house, 'night', 1)
    await house.admin.setGate('signs', 'night', goldens(1), EXACT)
    const details = { model: 'signs', domain: 'night', version: 2, output: 'logits', row: 0, index: 0, expected: 2, received: 3, wrong: 4, values: 4 }
    await assert.rejects(register(house, 'night', 2), hasCode('GATE_FAILED', details))
    const record = house.store.domain('signs', 'night')!
    assert.deepEqual([record.active, record.versions.length], [1, 2])
    assert.deepEqual(await scores(house, 'night'), [2, 0])
    await register(house, 'night', 3, { isActivated: false })
  })

  it('is not activated under another gate than the one it passed', async () => {
    const house = await openHouse()
    await register(house, 'night', 1)
    await house.admin.setGate('signs', 'night', goldens(1), EXACT)
    const trial = house.pool.hold()
    const work = assert.rejects(register(house, 'night', 1), hasCode('STORE_CHANGED'))
    await trial.reached
    await house.admin.setGate('signs', 'night', goldens(5), EXACT)
    trial.open()
    await work
    assert.equal(house.store.domain('signs', 'night')!.versions.length, 1)
  })

  it('of a bank made here, too', async () => {
    const house = await openHouse()
    const metadata = [['made', 'here']] as const
    const { version } = await house.admin.registerMade(house.models[0]!, 'night', bankOf(7), 'calibration', { isActivated: true }, { tensors: [], metadata })
    assert.equal(version.source, 'calibration')
    assert.match(Buffer.from(await house.store.read('signs', 'night', 1)).toString('latin1'), /"made":"here"/)
    assert.deepEqual(await scores(house, 'night'), [8, -6])
  })
})

describe('activating', () => {
  it('asks the gate first, also for a label and the canary, not for a shadow', async () => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    await house.admin.setGate('signs', 'night', goldens(2), EXACT)
    for (const change of [
      () => house.admin.activate('signs', 'night', 1),
      () => house.admin.mark('signs', 'night', { kind: 'label', label: 'calm', version: 1 }),
      () => house.admin.mark('signs', 'night', { kind: 'canary', candidate: { version: 1, percent: 5 } })
    ]) {
      const { revision } = house.store.domain('signs', 'night')!
      await assert.rejects(change(), hasCode('GATE_FAILED', { version: 1 }))
      assert.equal(house.store.domain('signs', 'night')!.revision, revision)
    }
    const record = await house.admin.mark('signs', 'night', { kind: 'shadow', candidate: { version: 1, percent: 5 } })
    assert.deepEqual(record.shadow, { version: 1, percent: 5 })
    assert.equal((await house.admin.activate('signs', 'night', 2)).active, 2)
  })

  it('is refused for what cannot be served: another network, a lost file, values that are not finite', async (t) => {
    const house = await openHouse()
    await house.publish('night', 1)
    await house.publish('night', 2, { isActivated: false, fingerprint: 'e'.repeat(64) })
    await house.publish('night', 3, { isActivated: false })
    await assert.rejects(house.admin.activate('signs', 'night', 2), hasCode('BANK_FINGERPRINT_MISMATCH'))
    const shadow = { kind: 'shadow', candidate: { version: 2, percent: 5 } } as const
    await assert.rejects(house.admin.mark('signs', 'night', shadow), hasCode('BANK_FINGERPRINT_MISMATCH'))
    t.mock.method(house.store, 'read', async () => { throw new Error('lost') })
    await assert.rejects(house.admin.activate('signs', 'night', 3), /lost/)
    t.mock.restoreAll()
    const { network } = house.pool
    house.pool.network = () => ({ logits: { type: 'float32', dims: [1, 2], data: Float32Array.of(1, NaN) } })
    await assert.rejects(house.admin.activate('signs', 'night', 3), hasCode('GATE_FAILED', { index: 1, received: 'NaN', expected: 'a finite number' }))
    house.pool.network = network
    assert.equal(house.store.domain('signs', 'night')!.active, 1)
    await assert.rejects(house.admin.activate('signs', 'night', 9), hasCode('VERSION_NOT_FOUND'))
  })

  it('under another gate than the one that was passed is refused, and so is a mark', async () => {
    for (const change of [
      (house: House) => house.admin.activate('signs', 'night', 1),
      (house: House) => house.admin.rollBack('signs', 'night', undefined),
      (house: House) => house.admin.mark('signs', 'night', { kind: 'label', label: 'calm', version: 1 })
    ]) {
      const house = await openHouse()
      for (const shift of [1, 2]) await house.publish('night', shift)
      const trial = house.pool.hold()
      const work = change(house)
      await trial.reached
      await house.store.setGate('signs', 'night', { file: new Uint8Array(8), rows: 1, absolute: 0, relative: 0 })
      trial.open()
      await assert.rejects(work, (error: { code?: string }) => ['STORE_CHANGED', 'PRECONDITION_FAILED'].includes(error.code!))
      const { active, labels } = house.store.domain('signs', 'night')!
      assert.deepEqual([active, labels], [2, undefined])
    }
  })

  it('passes by a full queue and keeps the pool open', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    await house.admin.activate('signs', 'night', 1)
    assert.deepEqual([house.pool.letIn, house.pool.jobs[0]!.turnOf], [[true], 'signs@'])
  })

  it('of what a path names: the pinned version, else the active one, else the newest', async () => {
    const { admin, store, publish } = await openHouse()
    for (const shift of [1, 2, 3]) await publish('night', shift, { isActivated: shift === 2 })
    assert.equal(admin.versionToLoad('signs', { domain: 'night' }), 2)
    assert.equal(admin.versionToLoad('signs', { domain: 'night', version: 1 }), 1)
    await store.deactivate('signs', 'night')
    assert.equal(admin.versionToLoad('signs', { domain: 'night' }), 3)
    assert.throws(() => admin.versionToLoad('signs', { domain: 'night', version: 7 }), hasCode('VERSION_NOT_FOUND'))
    assert.throws(() => admin.versionToLoad('signs', { domain: 'fog' }), hasCode('DOMAIN_NOT_FOUND'))
  })
})

describe('rolling back', () => {
  it('returns to the version before, which must pass the gate of today', async () => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    await house.admin.setGate('signs', 'night', goldens(2), EXACT)
    await assert.rejects(house.admin.rollBack('signs', 'night'), hasCode('GATE_FAILED', { version: 1 }))
    await house.admin.removeGate('signs', 'night')
    assert.equal((await house.admin.rollBack('signs', 'night')).active, 1)
    await assert.rejects(house.admin.rollBack('signs', 'night'), hasCode('ROLLBACK_IMPOSSIBLE'))
    await assert.rejects(house.admin.rollBack('signs', 'fog'), hasCode('DOMAIN_NOT_FOUND'))
  })

  it('that another change overtakes is refused: the version before is another by then', async () => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    const trial = house.pool.hold()
    const work = assert.rejects(house.admin.rollBack('signs', 'night'), hasCode('PRECONDITION_FAILED'))
    await trial.reached
    await house.publish('night', 3)
    trial.open()
    await work
    assert.equal(house.store.domain('signs', 'night')!.active, 3)
  })
})

describe('removing', () => {
  it('frees what memory holds of a version: bank, network of its own, figures', async () => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    await scores(house, 'night:1')
    const { bankKey } = house.pool.jobs[0]!
    assert.equal(house.banks.size.count, 1)
    await house.admin.removeVersion('signs', 'night', 1)
    assert.deepEqual([house.banks.size.count, house.pool.forgotten, house.heated.at(-1)], [0, [bankKey], bankKey])
    assert.equal(house.answering.traffic('signs', 'night', 1).rows, 0)
  })

  it('of a domain frees all its versions and its comparison', async (t) => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    const forget = t.mock.method(house.shadows, 'forget')
    await house.admin.removeDomain('signs', 'night')
    assert.deepEqual([house.pool.forgotten.length, forget.mock.calls[0]!.arguments], [2, ['signs', 'night']])
    assert.deepEqual(house.countedAs('forgetDomain'), [['signs', 'night']])
    assert.equal(house.store.domain('signs', 'night'), undefined)
  })

  it('frees as much of what another server removed, when nobody is answered with it any more', async () => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    const run = house.pool.hold()
    const answer = scores(house, 'night')
    await run.reached
    await house.store.removeDomain('signs', 'night')
    assert.deepEqual([house.pool.forgotten.length, house.countedAs('forgetDomain')], [1, []])
    run.open()
    await answer
    assert.deepEqual([house.pool.forgotten.length, house.banks.size.count], [2, 0])
    const metrics = house.counted.filter(([name]) => name === 'countInference' || name === 'forgetDomain')
    assert.deepEqual(metrics.map(([name]) => name), ['countInference', 'forgetDomain'])
    assert.equal(house.answering.traffic('signs', 'night', 2).rows, 0)
  })

  it('frees nothing when the store refuses, and leaves the version in use', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    await assert.rejects(house.admin.removeVersion('signs', 'night', 1), hasCode('VERSION_ACTIVE'))
    await assert.rejects(house.admin.removeVersion('signs', 'night', 1, 99), hasCode('PRECONDITION_FAILED'))
    assert.deepEqual(house.pool.forgotten, [])
    assert.deepEqual(await scores(house, 'night'), [2, 0])
  })

  it('lets no request in while it lasts', async (t) => {
    const house = await openHouse()
    for (const shift of [1, 2]) await house.publish('night', shift)
    const removing = gate()
    const original = house.store.removeVersion.bind(house.store)
    t.mock.method(house.store, 'removeVersion', async (...given: Parameters<typeof original>) => {
      await removing.pass()
      return await original(...given)
    })
    const removed = house.admin.removeVersion('signs', 'night', 1)
    await removing.reached
    await assert.rejects(scores(house, 'night:1'), hasCode('VERSION_LEAVING'))
    await assert.rejects(house.admin.removeVersion('signs', 'night', 1), hasCode('VERSION_LEAVING'))
    assert.deepEqual(await scores(house, 'night'), [3, -1])
    removing.open()
    await removed
    await assert.rejects(scores(house, 'night:1'), hasCode('VERSION_NOT_FOUND'))
  })

  it('never of the default domain, nor its last active version by switching it off', async () => {
    const { admin } = await openHouse()
    await assert.rejects(admin.removeDomain('signs', 'day'), hasCode('DOMAIN_IS_DEFAULT'))
    await assert.rejects(admin.deactivate('signs', 'day'), hasCode('DOMAIN_IS_DEFAULT'))
  })

  it('of a model that is not ready leaves the pool alone', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    house.states.setFailed(house.models[0]!.entry, new Error('no'))
    await house.admin.removeDomain('signs', 'night')
    assert.deepEqual(house.pool.forgotten, [])
  })
})

describe('what is told of a domain', () => {
  it('a version is downloaded as it is stored', async () => {
    const { admin, store, publish } = await openHouse()
    await publish('night', 1)
    const { file, version } = await admin.download('signs', 'night', 1)
    assert.deepEqual(file, await store.read('signs', 'night', 1))
    assert.equal(version.version, 1)
    await assert.rejects(admin.download('signs', 'night', 2), hasCode('VERSION_NOT_FOUND'))
    await assert.rejects(admin.download('other', 'night', 1), hasCode('MODEL_NOT_FOUND'))
  })

  it('its shadow\'s comparison, of nothing before the first row', async () => {
    const { admin, publish } = await openHouse()
    for (const shift of [1, 2]) await publish('night', shift)
    assert.throws(() => admin.shadow('signs', 'night'), hasCode('SHADOW_NOT_FOUND'))
    await admin.mark('signs', 'night', { kind: 'shadow', candidate: { version: 1, percent: 100 } })
    const { version, active, comparedRows } = admin.shadow('signs', 'night')
    assert.deepEqual([version, active, comparedRows], [1, 2, 0])
  })

  it('its gate, until it is removed', async () => {
    const { admin, publish } = await openHouse()
    await publish('night', 1)
    await admin.setGate('signs', 'night', goldens(1), EXACT)
    assert.ok((await admin.gate('signs', 'night')).length > 0)
    await admin.removeGate('signs', 'night')
    await assert.rejects(admin.gate('signs', 'night'), hasCode('GATE_NOT_FOUND'))
  })
})
