/** Which version answers, in which order the places count, and that it is held from then on. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { chooseVersion, STRATEGIES, type ChoiceInput, type Strategy } from '#src/serving/answering/choose-version.js'
import { shareOf } from '#src/serving/domain-reference.js'
import { leaseKey } from '#src/serving/leases.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { hasCode } from '../support/errors.js'
import { gate } from '../support/gate.js'
import { DOUBLER } from '../support/models-folder.js'
import { openHouse, pictures, readyModel, scoresOf, type House } from '../support/served.js'
import type { ClassificationManifest } from '#src/models/manifest.js'
import type { VersionWish } from '#src/serving/version-wish.js'

const size = (side: number) => ({ size: { width: side, height: side } })

const BY_SIZE: ClassificationManifest = {
  ...MANIFEST, domainFrom: 'inputSize', domains: { px16: { input: size(16) }, px8: { input: size(8) } }
}

async function openBySize (): Promise<House> {
  const house = await openHouse({ models: [readyModel(BY_SIZE)] })
  for (const [at, domain] of ['px16', 'px8', 'night', 'fog', 'rain', 'snow'].entries()) await house.publish(domain, at + 1)
  return house
}

async function chosenBy (house: House, wish: VersionWish, input?: ChoiceInput, strategies?: Strategy[]): Promise<string> {
  const { manifest } = house.models[0]!.entry
  const { record, version, release } = await chooseVersion({ ...house, imagePixels: 1e4 }, manifest, wish, input, strategies)
  assert.equal(house.leases.count(leaseKey(manifest.name, record.domain, version.version)), 1)
  release()
  assert.equal(house.held(), 0)
  return `${record.domain}:${version.version}`
}

describe('the choice', () => {
  it('goes by row, header, parameter, path, version segment, size, manifest, in this order', async () => {
    const house = await openBySize()
    const input = { feeds: pictures(1, 16) }
    const places: VersionWish = { row: 'night', header: 'fog', parameter: 'rain', path: 'snow' }
    assert.equal(await chosenBy(house, places, input), 'night:1')
    assert.equal(await chosenBy(house, { ...places, row: undefined }, input), 'fog:1')
    assert.equal(await chosenBy(house, { parameter: 'rain', path: 'snow' }, input), 'rain:1')
    assert.equal(await chosenBy(house, { path: 'snow' }, input), 'snow:1')
    assert.equal(await chosenBy(house, { pathVersion: '1' }, input), 'day:1')
    assert.equal(await chosenBy(house, {}, input), 'px16:1')
    assert.equal(await chosenBy(house, {}), 'day:1')
  })

  it('looks once more for what another server may have made, and only for what is not there', async () => {
    const house = await openBySize()
    let looks = 0
    house.store.catchUp = async () => {
      if (looks++ === 0) await house.publish('later', 1)
    }
    assert.equal(await chosenBy(house, { header: 'night' }), 'night:1')
    assert.equal(looks, 0)
    assert.equal(await chosenBy(house, { header: 'later:1' }), 'later:1')
    for (const header of ['never', 'night:7', 'night:stable']) {
      const before: number = looks
      await assert.rejects(chosenBy(house, { header }), /has no/)
      assert.equal(looks, before + 1, header)
    }
    await assert.rejects(chosenBy(house, { header: '' }), hasCode('DOMAIN_REFERENCE_INVALID'))
    assert.equal(looks, 4)
  })

  it('reads the size of a picture from its header, of tensors from their shape, and only where the manifest says so', async () => {
    const house = await openBySize()
    const image = await painted(8, 8, 3, () => 7).png().toBuffer()
    assert.equal(await chosenBy(house, {}, { image }), 'px8:1')
    assert.equal(await chosenBy(house, {}, { feeds: pictures(3, 8) }), 'px8:1')
    // The header is enough, the pixels may be missing.
    assert.equal(await chosenBy(house, {}, { image: image.subarray(0, image.length - 20) }), 'px8:1')
    const other = await openHouse()
    await other.publish('px8', 1)
    assert.equal(await chosenBy(other, {}, { image }), 'day:1')
  })

  it('pins by number, by label, and by the path, and refuses two pins that differ', async () => {
    const house = await openHouse()
    for (const shift of [1, 2, 3]) await house.publish('night', shift)
    await house.store.mark('signs', 'night', { kind: 'label', label: 'calm', version: 1 })
    for (const [wish, chosen] of [
      [{ header: 'night' }, 'night:3'], [{ header: 'night:2' }, 'night:2'], [{ header: 'night:calm' }, 'night:1'],
      [{ header: 'night:active' }, 'night:3'], [{ header: 'night', pathVersion: '2' }, 'night:2'],
      [{ header: 'night:2', pathVersion: '2' }, 'night:2'], [{ path: 'night', pathVersion: 'calm' }, 'night:1'],
      // A row has its own domain, which the path's version does not pin.
      [{ row: 'night', pathVersion: '1' }, 'night:3']
    ] as const) assert.equal(await chosenBy(house, wish), chosen, JSON.stringify(wish))
    for (const wish of [{ header: 'night:1', pathVersion: '2' }, { header: 'night:calm', pathVersion: '1' }]) {
      await assert.rejects(chosenBy(house, wish), hasCode('DOMAIN_REFERENCE_INVALID'))
    }
  })

  it('gives the canary its share, the same key always the same version; a pin and a request without a key pass it by', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    await house.publish('night', 2, { isActivated: false })
    await house.store.mark('signs', 'night', { kind: 'canary', candidate: { version: 2, percent: 30 } })
    const keys = Array.from({ length: 2000 }, (_, at) => `request-${at}`)
    const answers = await Promise.all(keys.map((canaryKey) => {
      return chooseVersion({ ...house, imagePixels: 1 }, MANIFEST, { header: 'night', canaryKey }, undefined)
    }))
    for (const [at, { version, release }] of answers.entries()) {
      assert.equal(version.version, shareOf('night', keys[at]!) < 30 ? 2 : 1)
      release()
    }
    const share = answers.filter(({ version }) => version.version === 2).length / keys.length
    // Five standard deviations of a draw of 2000.
    assert.ok(Math.abs(share - 0.3) < 0.0513, `${share}`)
    const canaryKey = keys[answers.findIndex(({ version }) => version.version === 2)]!
    assert.equal(await chosenBy(house, { row: 'night', canaryKey }), 'night:2')
    assert.equal(await chosenBy(house, { header: 'night' }), 'night:1')
    assert.equal(await chosenBy(house, { header: 'night:active', canaryKey }), 'night:1')
  })

  it('keeps who is in a canary that grows, and draws for each domain anew', async () => {
    const house = await openHouse()
    for (const domain of ['night', 'fog']) {
      await house.publish(domain, 1)
      await house.publish(domain, 2, { isActivated: false })
    }
    const keys = Array.from({ length: 300 }, (_, at) => `request-${at}`)
    const inCanary = async (domain: string, percent: number) => {
      await house.store.mark('signs', domain, { kind: 'canary', candidate: { version: 2, percent } })
      const drawn = new Set<string>()
      for (const canaryKey of keys) {
        if (await chosenBy(house, { header: domain, canaryKey }) === `${domain}:2`) drawn.add(canaryKey)
      }
      return drawn
    }
    const shares = [0, 10, 40, 100]
    const night: Array<Set<string>> = []
    for (const percent of shares) night.push(await inCanary('night', percent))
    assert.deepEqual([night[0]!.size, night[3]!.size], [0, keys.length])
    for (const [at, smaller] of night.slice(0, -1).entries()) {
      assert.ok([...smaller].every((key) => night[at + 1]!.has(key)), `${shares[at]} to ${shares[at + 1]}`)
    }
    const fog = await inCanary('fog', 40)
    const both = [...fog].filter((key) => night[2]!.has(key)).length
    assert.ok(both < fog.size && both < night[2]!.size, 'not the same keys in every domain')
    // A domain that is switched off has no canary either.
    await house.store.deactivate('signs', 'night')
    await assert.rejects(chosenBy(house, { header: 'night', canaryKey: keys[0] }), hasCode('DOMAIN_INACTIVE'))
  })

  it('takes one more strategy at any place of the list, which may take its time and see what was sent', async () => {
    const house = await openHouse()
    await house.publish('night', 1)
    const { opened, open } = gate()
    const byBrightness: Strategy = ({ wish, input }) => {
      if (wish.header !== 'bright') return undefined
      return opened.then(() => input !== undefined && 'feeds' in input ? { domain: 'night' } : undefined)
    }
    const strategies = [byBrightness, ...STRATEGIES.filter((strategy) => strategy !== byBrightness)]
    const chosen = chosenBy(house, { header: 'bright' }, { feeds: pictures(1) }, strategies)
    open()
    assert.equal(await chosen, 'night:1')
    assert.equal(await chosenBy(house, { header: 'day' }, undefined, strategies), 'day:1')
    await assert.rejects(chosenBy(house, { header: 'bright' }, undefined, strategies), hasCode('DOMAIN_NOT_FOUND'))
  })

  it('holds nothing when it fails', async () => {
    const house = await openHouse()
    await house.publish('night', 1, { isActivated: false })
    for (const [header, code] of [
      ['no:such:form', 'DOMAIN_REFERENCE_INVALID'], ['fog', 'DOMAIN_NOT_FOUND'], ['night', 'DOMAIN_INACTIVE'],
      ['night:7', 'VERSION_NOT_FOUND'], ['night:calm', 'LABEL_NOT_FOUND']
    ] as const) {
      await assert.rejects(chosenBy(house, { header }), hasCode(code))
    }
    const removing = gate()
    const removed = house.leases.remove('signs/night/', removing.pass)
    await assert.rejects(chosenBy(house, { header: 'night:1' }), hasCode('VERSION_LEAVING'))
    removing.open()
    await removed
    assert.equal(house.held(), 0)
  })
})

describe('between choice and run', () => {
  /** A domain whose version 1 was active when the request came, and is not any more. */
  async function openNight (room?: Parameters<typeof openHouse>[0]) {
    const house = await openHouse(room)
    for (const model of house.models) await house.publish('night', 5, { model })
    const replace = async () => {
      for (const model of house.models) await house.publish('night', 9, { model })
    }
    return { ...house, replace }
  }

  /** Asks, and while the request waits at the gate replaces its version and tries to remove it. */
  async function whileHeld<T> (
    { replace, admin, held }: Awaited<ReturnType<typeof openNight>>, model: string, reached: Promise<void>, open: () => void,
    work: Promise<T>
  ): Promise<T> {
    await Promise.race([reached, work])
    await replace()
    await assert.rejects(admin.removeVersion(model, 'night', 1), hasCode('VERSION_LEASED', { received: 1 }))
    await assert.rejects(admin.removeDomain(model, 'night'), hasCode('VERSION_LEASED', { received: 1 }))
    open()
    const answer = await work
    assert.equal(held(), 0)
    await admin.removeVersion(model, 'night', 1)
    return answer
  }

  it('tensors are answered by the version that was chosen, which nobody can remove', async () => {
    const house = await openNight()
    const { reached, open } = house.pool.hold()
    const work = house.answering.infer('signs', { wish: { header: 'night' }, feeds: pictures(1) })
    const answer = await whileHeld(house, 'signs', reached, open, work)
    assert.deepEqual([answer.version, ...scoresOf(answer)], [1, 6, -4])
  })

  it('rows of several domains likewise', async () => {
    const house = await openNight()
    const { reached, open } = house.pool.hold()
    const work = house.answering.inferMixed('signs', { wish: {}, rows: ['night', '', 'day'], feeds: pictures(3) })
    const answer = await whileHeld(house, 'signs', reached, open, work)
    assert.deepEqual(answer.answeredBy.map(({ domain, version }) => [domain, version]), [['night', 1], ['day', 1]])
    assert.deepEqual(scoresOf(answer), [6, -4, 2, 2, 3, 3])
  })

  it('a picture to classify, before it is decoded', async () => {
    const decoding = gate()
    const hold = async <T>(_: number, work: () => Promise<T>) => { await decoding.pass(); return await work() }
    const room = { hold, decode: hold }
    const house = await openNight({ room })
    const image = await painted(4, 4, 3, () => 255).png().toBuffer()
    const work = house.answering.classify('signs', { wish: { header: 'night' }, image }, 2)
    const answer = await whileHeld(house, 'signs', decoding.reached, decoding.open, work)
    assert.equal(answer.version, 1)
    // (1 - 0.5) / 0.25 = 2 and the shift of 5: the second class has 2 - 5.
    assert.ok(answer.predictions[0]!.label === 'cat' && answer.predictions[0]!.score > 0.9999)
  })

  it('a picture to turn into another, before it is decoded', async () => {
    const decoding = gate()
    const hold = async <T>(_: number, work: () => Promise<T>) => { await decoding.pass(); return await work() }
    const room = { hold, decode: hold }
    const house = await openNight({ room })
    const image = await painted(4, 4, 3, () => 0).png().toBuffer()
    const work = house.answering.transform(DOUBLER.name, { wish: { header: 'night' }, image, format: 'png', quality: 90 })
    const answer = await whileHeld(house, DOUBLER.name, decoding.reached, decoding.open, work)
    assert.equal(answer.version, 1)
  })

  it('a raw body, read by the rules of the version that was chosen', async () => {
    const house = await openNight()
    const { reached, open } = house.pool.hold()
    const read: number[] = []
    const work = house.answering.infer('signs', {
      wish: { header: 'night' },
      feeds: ({ version: { version } }) => {
        read.push(version, house.leases.count(leaseKey('signs', 'night', version)))
        return pictures(1)
      }
    })
    assert.equal((await whileHeld(house, 'signs', reached, open, work)).version, 1)
    assert.deepEqual(read, [1, 1])
  })
})
