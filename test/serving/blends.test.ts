/** Requests for blends of domains: which bank answers, in whose turn, what it counts as, and that all parts are held. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readOwnBank } from '#src/bank/formats/bank-safetensors.js'
import { parseSafetensors } from '#src/bank/formats/safetensors.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { hasCode } from '../support/errors.js'
import { gate } from '../support/gate.js'
import { DOUBLER } from '../support/models-folder.js'
import { bankOf, LAYERS, openHouse, pictures, readyModel, scoresOf, type House } from '../support/served.js'
import type { VersionWish } from '#src/serving/version-wish.js'

/** day shifts by 0, night by 10, fog by 20. */
async function openThree (): Promise<House> {
  const house = await openHouse()
  await house.publish('night', 10)
  await house.publish('fog', 20)
  return house
}

const ask = async (house: House, header: string, wish: VersionWish = {}) => {
  return await house.answering.infer('signs', { wish: { header, ...wish }, feeds: pictures(1) })
}

describe('a request for a blend', () => {
  it('is answered under the mixture, and told which', async () => {
    const house = await openThree()
    const answer = await ask(house, 'night=0.3,day=0.7')
    assert.deepEqual(scoresOf(answer), [4, -2])
    assert.deepEqual([answer.domain, answer.version], ['day:1=0.7;night:1=0.3', 1])
    assert.deepEqual(house.pool.jobs.map(({ turnOf }) => turnOf), ['signs@day'])
    assert.deepEqual(scoresOf(await ask(house, answer.domain)), [4, -2])
    assert.deepEqual(scoresOf(await ask(house, 'day=0.5,night=0.2,fog=0.3')), [9, -7])
  })

  it('may name it in every place but the path', async () => {
    const house = await openThree()
    const text = 'day=0.7,night=0.3'
    for (const wish of [{ header: text }, { parameter: text }, { row: text, header: 'fog' }]) {
      assert.deepEqual(scoresOf(await house.answering.infer('signs', { wish, feeds: pictures(1) })), [4, -2])
    }
    for (const wish of [{ path: text }, { header: text, pathVersion: '1' }]) {
      await assert.rejects(house.answering.infer('signs', { wish, feeds: pictures(1) }), hasCode('DOMAIN_REFERENCE_INVALID'))
    }
    assert.equal(house.held(), 0)
  })

  it('pins parts by number or label, takes the active version otherwise, and never a canary', async () => {
    const house = await openThree()
    await house.publish('night', 100)
    await house.store.mark('signs', 'night', { kind: 'label', label: 'calm', version: 1 })
    await house.publish('fog', 1000, { isActivated: false })
    await house.store.mark('signs', 'fog', { kind: 'canary', candidate: { version: 2, percent: 100 } })
    assert.deepEqual(scoresOf(await ask(house, 'day=0.5,night=0.5')), [51, -49])
    assert.deepEqual(scoresOf(await ask(house, 'day=0.5,night:calm=0.5')), [6, -4])
    assert.deepEqual(scoresOf(await ask(house, 'day=0.5,night:1=0.5')), [6, -4])
    assert.deepEqual(scoresOf(await ask(house, 'day=0.5,fog=0.5', { canaryKey: 'any' })), [11, -9])
  })

  it('of one version alone is a request for that version, whatever it is called', async () => {
    const house = await openThree()
    for (const text of ['night=1', 'night=0.4,night:1=0.6', 'night:active=0.999,day=0.001']) {
      const answer = await ask(house, text)
      assert.deepEqual([answer.domain, answer.version, answer.digest], ['night', 1, house.store.domain('signs', 'night')!.versions[0]!.digest])
    }
    assert.deepEqual(house.heated, ['night:1:1', 'night:1:1', 'night:1:1'])
  })

  it('reads its parts once; equal blends have one bank in memory and may share runs', async (t) => {
    const house = await openThree()
    const read = t.mock.method(house.store, 'read')
    for (const text of ['day=0.7,night=0.3', 'night:1=.3;day=.7', 'night=0.301,day=0.699', 'day:active=0.70,night=0.30']) await ask(house, text)
    assert.equal(read.mock.callCount(), 2)
    assert.equal(new Set(house.pool.jobs.map(({ runKey }) => runKey)).size, 1)
    assert.equal(new Set(house.pool.jobs.map(({ bankKey }) => bankKey)).size, 1)
    await ask(house, 'day=0.69,night=0.31')
    assert.equal(house.pool.jobs.at(-1)!.bankKey === house.pool.jobs[0]!.bankKey, false)
    // Another active version is another blend.
    await house.publish('night', 20)
    assert.deepEqual(scoresOf(await ask(house, 'day=0.7,night=0.3')), [7, -5])
  })

  it('of banks with one content is that bank, under both names', async () => {
    const house = await openThree()
    await house.publish('dusk', 10)
    const answer = await ask(house, 'dusk=0.5,night=0.5')
    assert.deepEqual([answer.domain, answer.digest], ['dusk:1=0.5;night:1=0.5', house.store.domain('signs', 'night')!.versions[0]!.digest])
    assert.deepEqual(scoresOf(answer), [11, -9])
    // A third of the night under two names is a third of it.
    const [one, other] = [await ask(house, 'day=0.4,dusk=0.3,night=0.3'), await ask(house, 'day=0.4,night=0.6')]
    assert.equal(one.digest, other.digest)
  })

  it('waits in the turn of its heaviest part and is counted as that, without a shadow and without heat', async () => {
    const house = await openThree()
    await house.publish('night', 11, { isActivated: false })
    await house.store.mark('signs', 'night', { kind: 'shadow', candidate: { version: 2, percent: 100 } })
    const { countedAs } = await ask(house, 'day=0.3,night=0.7')
    house.answering.observeEncoding('signs', [{ countedAs }], 8)
    assert.deepEqual(house.countedAs('countInference'), [['signs', 'night', 1, 'ok']])
    const { rows, output } = house.answering.traffic('signs', 'night', 1)
    assert.deepEqual([rows, output.ms, house.heated, house.shadows.backlog.rows, house.pool.jobs.length], [1, 8, [], 0, 1])
  })

  it('may stand in a row, beside others', async () => {
    const house = await openThree()
    const answer = await house.answering.inferMixed('signs', {
      wish: { header: 'day=0.9,fog=0.1' }, rows: ['night', 'day=0.5,night=0.5', '', 'night=0.5;day=0.5'], feeds: pictures(4)
    })
    assert.deepEqual(scoresOf(answer).filter((_, at) => at % 2 === 0), [11, 7, 5, 9])
    assert.deepEqual(answer.answeredBy.map(({ domain }) => domain), ['night', 'day:1=0.5;night:1=0.5', 'day:1=0.9;fog:1=0.1'])
    assert.equal(house.held(), 0)
  })

  it('refuses by name what it cannot blend, and holds nothing then', async () => {
    const house = await openThree()
    await house.publish('small', 1, { preprocessing: { size: { width: 8, height: 8 } } })
    await house.publish('foreign', 1, { fingerprint: 'e'.repeat(64) })
    await house.publish('off', 1, { isActivated: false })
    for (const [text, code] of [
      ['day=0.5,small=0.5', 'BLEND_PREPROCESSING_DIFFERS'], ['day=0.5,foreign=0.5', 'BANK_FINGERPRINT_MISMATCH'], ['day=0.5,off=0.5', 'DOMAIN_INACTIVE'],
      ['day=0.5,dawn=0.5', 'DOMAIN_NOT_FOUND'], ['day=0.5,night:7=0.5', 'VERSION_NOT_FOUND'], ['day=0.5,night:calm=0.5', 'LABEL_NOT_FOUND'],
      ['day=0.5,night=0.4', 'DOMAIN_REFERENCE_INVALID']
    ] as const) await assert.rejects(ask(house, text), hasCode(code), text)
    const removing = gate()
    const removed = house.leases.remove('signs/night/', removing.pass)
    await assert.rejects(ask(house, 'day=0.5,night:1=0.5'), hasCode('VERSION_LEAVING'))
    removing.open()
    await removed
    assert.equal(house.held(), 0)
    assert.deepEqual(house.pool.jobs, [])
  })

  it('refuses a variance beyond float32', async () => {
    const house = await openHouse()
    for (const [domain, mean] of [['low', -3e38], ['high', 3e38]] as const) await house.publish(domain, 0, { mean })
    await assert.rejects(ask(house, 'low=0.5,high=0.5'), hasCode('BANK_VALUE_INVALID', { statistic: 'variance' }))
  })

  it('holds all its versions until it is answered', async () => {
    const house = await openThree()
    const { reached, open } = house.pool.hold()
    const asked = ask(house, 'day=0.3,night=0.3,fog=0.4')
    await reached
    for (const domain of ['night', 'fog']) {
      await assert.rejects(house.admin.removeDomain('signs', domain), hasCode('VERSION_LEASED', { received: 1 }))
    }
    assert.equal(house.held(), 3)
    open()
    assert.deepEqual(scoresOf(await asked), [12, -10])
    assert.equal(house.held(), 0)
    await house.admin.removeDomain('signs', 'night')
    await assert.rejects(ask(house, 'day=0.3,night=0.3,fog=0.4'), hasCode('DOMAIN_NOT_FOUND'))
  })

  it('classifies and turns pictures, by the rules of its parts', async () => {
    const small = { preprocessing: { size: { width: 8, height: 6 } } }
    const house = await openHouse()
    for (const [domain, shift] of [['near', 1], ['far', 3]] as const) await house.publish(domain, shift, small)
    const image = await painted(4, 4, 3, () => 255).png().toBuffer()
    const { domain, predictions } = await house.answering.classify('signs', { wish: { header: 'near=0.5,far=0.5' }, image }, 1)
    assert.deepEqual([domain, predictions[0]!.label], ['far:1=0.5;near:1=0.5', 'cat'])
    // Scores of 2 + 2 and 2 - 2.
    assert.ok(Math.abs(predictions[0]!.score - 1 / (1 + Math.exp(-4))) < 1e-6)
    assert.deepEqual(house.pool.jobs[0]!.feeds.x!.dims, [1, 3, 6, 8])
    const [, doubler] = house.models
    await house.publish('light', 0.5, { model: doubler! })
    const black = await painted(4, 4, 3, () => 0).png().toBuffer()
    const answer = await house.answering.transform(DOUBLER.name, {
      wish: { header: 'plain=0.6,light=0.4' }, image: black, format: 'png', quality: 90
    })
    assert.deepEqual([answer.domain, answer.version], ['light:1=0.4;plain:1=0.6', 1])
    assert.equal(house.pool.jobs.at(-1)!.turnOf, 'doubler@plain')
    assert.deepEqual(house.heated, [])
  })
})

describe('a blend that is kept', () => {
  const DUSK = { ...MANIFEST, domains: { dusk: { description: 'Between day and night', input: { size: { width: 8, height: 8 } } } } }

  it('is the bank that a request for it is answered under, and says what it is of', async () => {
    const house = await openThree()
    const { version, record, blend } = await house.admin.registerBlend('signs', 'dusk', 'day=0.7,night=0.3', { isActivated: true })
    assert.deepEqual([version.version, version.source, record.active, blend], [1, 'blend', 1, 'day:1=0.7;night:1=0.3'])
    await ask(house, 'day=0.7,night=0.3')
    await ask(house, 'dusk')
    const [blended, kept] = house.pool.jobs.slice(-2)
    assert.deepEqual(kept!.bank, blended!.bank)
    const file = await house.store.read('signs', 'dusk', 1)
    assert.deepEqual(readOwnBank(file, LAYERS).get('bn')!.beta, bankOf(3).get('bn')!.beta)
    const digestOf = (domain: string) => house.store.domain('signs', domain)!.versions[0]!.digest
    assert.deepEqual(JSON.parse(parseSafetensors(file).metadata.get('bankswitch.blend')!), [
      { domain: 'day', version: 1, digest: digestOf('day'), hundredths: 70 }, { domain: 'night', version: 1, digest: digestOf('night'), hundredths: 30 }
    ])
    assert.equal(house.held(), 0)
  })

  it('brings the preprocessing of its parts along, where the domain has another', async () => {
    const house = await openHouse({ models: [readyModel(DUSK)] })
    await house.publish('night', 10)
    const { version } = await house.admin.registerBlend('signs', 'dusk', 'day=0.5,night=0.5', { isActivated: true })
    const { name: _name, ...rules } = MANIFEST.input
    assert.deepEqual(version.preprocessing, rules)
    const other = await house.admin.registerBlend('signs', 'dawn', 'day=0.5,night=0.5', { isActivated: false })
    assert.deepEqual([other.version.preprocessing, other.record.active], [undefined, null])
  })

  it('of one part is a copy of it', async () => {
    const house = await openThree()
    const { version, blend } = await house.admin.registerBlend('signs', 'dusk', 'night=1', { isActivated: true })
    assert.deepEqual([version.digest, blend], [house.store.domain('signs', 'night')!.versions[0]!.digest, 'night:1=1'])
  })

  it('passes the gate of its domain and heeds the revision, as every registration does', async () => {
    const house = await openThree()
    const { registerBlend } = house.admin
    const keep = registerBlend.bind(house.admin, 'signs', 'dusk', 'day=0.5,night=0.5')
    await assert.rejects(keep({ isActivated: true, expected: 7 }), hasCode('PRECONDITION_FAILED'))
    await keep({ isActivated: true, expected: 0 })
    house.pool.network = ({ wanted }) => ({ [wanted[0]!]: { type: 'float32', dims: [1, 2], data: Float32Array.of(NaN, 0) } })
    await assert.rejects(keep({ isActivated: true }), hasCode('GATE_FAILED', { version: 2 }))
    assert.equal(house.store.domain('signs', 'dusk')!.active, 1)
    assert.equal(house.held(), 0)
  })

  it('is refused where it is none', async () => {
    const house = await openThree()
    const keep = async (text: string) => await house.admin.registerBlend('signs', 'dusk', text, { isActivated: true })
    for (const [text, code] of [
      ['day', 'DOMAIN_REFERENCE_INVALID'], ['day=0.5', 'DOMAIN_REFERENCE_INVALID'], ['day=0.5,dawn=0.5', 'DOMAIN_NOT_FOUND']
    ] as const) await assert.rejects(keep(text), hasCode(code))
    assert.equal(house.store.domain('signs', 'dusk'), undefined)
  })
})
