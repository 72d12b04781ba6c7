/** One picture under several banks: what each says, how far they agree, and that nothing is lost on the way. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import sharp from 'sharp'
import { preparationOf } from '#src/models/signature-preparation.js'
import { makeSignature, type Signature } from '#src/signature/signature.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { painted, pixelAt, type Paint } from '../imaging/fixtures/pictures.js'
import { hasCode } from '../support/errors.js'
import { gate } from '../support/gate.js'
import { DOUBLER } from '../support/models-folder.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { openHouse, readyModel, STEM, type House, type HouseOptions } from '../support/served.js'
import type { PictureManifest } from '#src/models/manifest.js'

const white = () => painted(4, 4, 3, () => 255).png().toBuffer()

/** Of images whose first value is about `centre`. */
function signature (centre: number, manifest: PictureManifest): Signature {
  const normal = seededNormal(runSeed)
  const rows = Array.from({ length: 200 }, () => Float64Array.of(centre + 0.2 * normal(), 0))
  const size = manifest.task === 'classification' ? manifest.input.size : undefined
  return makeSignature(rows, { stem: STEM, preparation: preparationOf(manifest, size) })
}

/** Runs of the stem so far. */
const looks = ({ pool: { jobs } }: House) => jobs.filter(({ turnOf }) => turnOf.endsWith('@auto')).length

describe('comparing classes', () => {
  /** Of a white picture the scores are 2 + shift and 2 - shift: day says neither, night cat, fog and mist dog. */
  async function openFour (options?: HouseOptions): Promise<House> {
    const house = await openHouse(options)
    for (const [domain, shift] of [['night', 1], ['fog', -2], ['mist', -3]] as const) await house.publish(domain, shift)
    return house
  }

  const compare = async (house: House, references?: string[], top = 2) => {
    return await house.answering.compareClasses('signs', { image: await white(), references }, top)
  }

  it('tells of each what it says and how sure it is, and what most say', async () => {
    const house = await openFour()
    const { banks, agreement } = await compare(house)
    assert.deepEqual(banks.map(({ domain, version, predictions }) => [domain, version, predictions[0]!.label]), [
      ['day', 1, 'cat'], ['fog', 1, 'dog'], ['mist', 1, 'dog'], ['night', 1, 'cat']
    ])
    const entropies = banks.map(({ entropy }) => entropy!)
    for (const [at, shift] of [0, 2, 3, 1].entries()) {
      const p = 1 / (1 + Math.exp(-2 * shift))
      const expected = -p * Math.log(p) - (1 - p) * Math.log(1 - p)
      assert.ok(Math.abs(entropies[at]! - expected) < 1e-6, `${entropies[at]} is not ${expected}`)
    }
    // Two to two: the first by index.
    assert.deepEqual(agreement, { index: 0, label: 'cat', banks: ['day:1', 'night:1'], share: 0.5 })
    const others = await compare(house, ['night', 'fog', 'mist'])
    assert.deepEqual(others.agreement, { index: 1, label: 'dog', banks: ['fog:1', 'mist:1'], share: 2 / 3 })
  })

  it('tells how well the picture fits each that has a signature, by one look of the stem', async () => {
    const house = await openHouse()
    await house.publish('night', 1, { signatures: [signature(2, MANIFEST)] })
    await house.publish('fog', -2, { signatures: [signature(50, MANIFEST)] })
    const { banks } = await compare(house)
    assert.equal(looks(house), 1)
    const { recognised } = await house.answering.classify('signs', { wish: { header: 'auto' }, image: await white() }, 1)
    assert.equal(recognised!.nearest, 'night')
    assert.deepEqual(banks.map(({ domain, fit, p }) => [domain, fit, p]), [
      ['day', undefined, undefined], ['fog', 'none', 1 / 201], ['night', 'good', recognised!.p]
    ])
    await house.publish('night', 1)
    const pinned = await compare(house, ['night', 'night:1', 'fog', 'fog=0.5;day=0.5'])
    assert.deepEqual(pinned.banks.map(({ fit }) => fit), [undefined, undefined, 'none', undefined])
  })

  it('tells no version the fit of another that is activated meanwhile', async () => {
    const house = await openHouse()
    await house.publish('night', 1, { signatures: [signature(2, MANIFEST)] })
    await house.publish('fog', -2, { signatures: [signature(2, MANIFEST)] })
    const asked = house.answering.compareClasses('signs', { image: await white(), references: ['night', 'fog'] }, 1)
    await house.publish('night', 1, { signatures: [signature(50, MANIFEST)] })
    const { banks } = await asked
    assert.deepEqual(banks.map(({ domain, version, fit }) => [domain, version, fit]), [['night', 1, undefined], ['fog', 1, 'good']])
  })

  it('does not look where no domain has a signature', async () => {
    const house = await openFour()
    const { banks } = await compare(house)
    assert.deepEqual([looks(house), banks.some((bank) => 'fit' in bank || 'p' in bank)], [0, false])
  })

  it('asks those that it is told, in their order and once each, pinned, labelled or blended', async () => {
    const house = await openFour()
    await house.publish('night', 5)
    await house.store.mark('signs', 'night', { kind: 'label', label: 'old', version: 1 })
    const { banks, agreement } = await compare(house, ['night:old', 'night', 'day', 'night:1', 'day=0.5;fog=0.5', 'fog=0.5;day=0.5'], 1)
    assert.deepEqual(banks.map(({ domain, version, predictions }) => [domain, version, predictions.length]), [
      ['night', 1, 1], ['night', 2, 1], ['day', 1, 1], ['day:1=0.5;fog:1=0.5', 1, 1]
    ])
    assert.deepEqual(agreement.banks, ['night:1', 'night:2', 'day:1'])
    assert.equal(house.pool.jobs.length, 4)
  })

  it('asks all active ones where none is named, no canary among them', async () => {
    const house = await openFour()
    await house.publish('off', 1, { isActivated: false })
    await house.publish('fog', 9, { isActivated: false })
    await house.store.mark('signs', 'fog', { kind: 'canary', candidate: { version: 2, percent: 100 } })
    assert.deepEqual((await compare(house)).banks.map(({ domain, version }) => `${domain}:${version}`), ['day:1', 'fog:1', 'mist:1', 'night:1'])
  })

  it('decodes once, prepares for each as predict does, and lets all rows in together, each in its turn', async () => {
    const asked: number[] = []
    const decode = async <T>(bytes: number, work: () => Promise<T>) => { asked.push(bytes); return await work() }
    const hold = decode
    const house = await openFour({ room: { decode, hold } })
    await house.publish('small', 7, { preprocessing: { size: { width: 8, height: 6 } } })
    const image = await painted(40, 30, 3, (x, y, channel) => 5 * x + 3 * y + channel).png().toBuffer()
    await house.answering.compareClasses('signs', { image, references: ['day', 'small', 'night'] }, 1)
    const [first, second] = [12 * (2 * 32 * 32 + 48), 4 * 3 * (2 * 32 * 32 + 48)]
    assert.deepEqual(asked, [3 * 40 * 30 + first, second])
    assert.equal(house.pool.letIn.length, 1)
    const compared = house.pool.jobs.splice(0)
    assert.deepEqual(compared.map(({ turnOf }) => turnOf), ['signs@day', 'signs@small', 'signs@night'])
    for (const [at, domain] of ['day', 'small', 'night'].entries()) {
      await house.answering.classify('signs', { wish: { header: domain }, image }, 1)
      assert.deepEqual(house.pool.jobs.at(-1)!.feeds, compared[at]!.feeds, domain)
    }
    assert.deepEqual(house.countedAs('countInference').slice(0, 3), [['signs', 'day', 1, 'ok'], ['signs', 'small', 1, 'ok'], ['signs', 'night', 1, 'ok']])
  })

  it('is not watched for drift: it asks one picture of all banks', async () => {
    const house = await openFour({ drift: { offer: () => assert.fail('watched') } })
    await compare(house)
  })

  it('refuses too many, and by name what is not there, before anything is decoded', async () => {
    const house = await openFour({ room: { decode: () => assert.fail('decoded'), hold: () => assert.fail('held') } })
    for (let at = 0; at < 29; at++) await house.publish(`domain-${at}`, at)
    const many = hasCode('REQUEST_TOO_MANY_VERSIONS', { expected: 'at most 32', received: 33 })
    await assert.rejects(compare(house), many)
    await assert.rejects(house.answering.requireRoomToCompare('signs', undefined), many)
    for (const [references, code] of [
      [['dawn'], 'DOMAIN_NOT_FOUND'], [['day', 'day:9'], 'VERSION_NOT_FOUND'], [[''], 'DOMAIN_REFERENCE_INVALID'], [['day=0.5'], 'DOMAIN_REFERENCE_INVALID']
    ] as const) {
      await assert.rejects(compare(house, [...references]), hasCode(code))
      await assert.rejects(house.answering.requireRoomToCompare('signs', references), hasCode(code))
    }
    assert.equal(house.held(), 0)
    await assert.rejects(house.answering.comparePictures('signs', { image: await white() }, false), hasCode('TASK_MISMATCH'))
    await house.answering.requireRoomToCompare('signs', ['day', 'fog'])
    assert.deepEqual(house.pool.asked, [['signs@day', 1], ['signs@fog', 1]])
  })

  it('names the bank that has no finite scores', async () => {
    const house = await openFour()
    const { network } = house.pool
    house.pool.network = (job) => {
      return job.turnOf === 'signs@fog' ? { logits: { type: 'float32', dims: [1, 2], data: Float32Array.of(NaN, 1) } } : network(job)
    }
    await assert.rejects(compare(house), hasCode('OUTPUT_NOT_FINITE', { bank: 'fog:1' }))
    assert.equal(house.held(), 0)
  })

  it('holds all versions until it is answered: one that is to be removed loses nothing', async () => {
    const house = await openFour()
    const { reached, open } = house.pool.hold()
    const asked = compare(house)
    await reached
    for (const domain of ['fog', 'night', 'mist']) {
      await assert.rejects(house.admin.removeDomain('signs', domain), hasCode('VERSION_LEASED', { received: 1 }))
    }
    assert.equal(house.held(), 4)
    open()
    assert.equal((await asked).banks.length, 4)
    await house.admin.removeDomain('signs', 'fog')
    assert.deepEqual((await compare(house)).banks.map(({ domain }) => domain), ['day', 'mist', 'night'])
    const removing = gate()
    const removed = house.leases.remove('signs/night/', removing.pass)
    await assert.rejects(compare(house), hasCode('VERSION_LEAVING'))
    removing.open()
    await removed
    assert.equal(house.held(), 0)
  })

  it('lets go of all when the client leaves', async () => {
    const house = await openFour()
    const leaving = new AbortController()
    const { reached, open } = house.pool.hold()
    const asked = house.answering.compareClasses('signs', { image: await white(), signal: leaving.signal }, 1)
    await reached
    leaving.abort(new Error('gone'))
    open()
    await assert.rejects(asked, /gone/)
    assert.equal(house.held(), 0)
  })

  it('tells no entropy of scores that are no probabilities', async () => {
    const house = await openHouse({ models: [readyModel({ ...MANIFEST, output: { name: 'logits', activation: 'none' } })] })
    assert.equal('entropy' in (await compare(house)).banks[0]!, false)
  })
})

describe('comparing pictures', () => {
  const ramp: Paint = (x, y, channel) => 20 * x + 10 * y + channel

  /** plain leaves values as they are, light adds 51 of 255, mid 25.5. */
  async function openThree (options?: HouseOptions): Promise<House> {
    const house = await openHouse(options)
    for (const [domain, shift] of [['light', 0.2], ['mid', 0.1]] as const) await house.publish(domain, shift, { model: house.models[1]! })
    return house
  }
  const picture = () => painted(5, 4, 3, ramp).png().toBuffer()
  const compare = async (house: House, references?: string[], isSheet = false) => {
    return await house.answering.comparePictures(DOUBLER.name, { image: await picture(), references }, isSheet)
  }

  it('tells how far each lies from each other', async () => {
    const house = await openThree()
    const { banks, differences, sheet } = await compare(house)
    assert.deepEqual(banks.map(({ domain, version }) => `${domain}:${version}`), ['light:1', 'mid:1', 'plain:1'])
    assert.deepEqual(differences!.map((pair) => pair.banks), [['light:1', 'mid:1'], ['light:1', 'plain:1'], ['mid:1', 'plain:1']])
    const { psnr, meanDifference, largestDifference } = differences![1]!
    assert.deepEqual([meanDifference, largestDifference], [51, 51])
    assert.ok(Math.abs(psnr! - 20 * Math.log10(255 / 51)) < 1e-9)
    assert.equal(sheet, undefined)
    assert.deepEqual(house.pool.jobs.map(({ turnOf }) => turnOf), ['doubler@light', 'doubler@mid', 'doubler@plain'])
    assert.deepEqual(house.heated, ['light:1:1', 'mid:1:1', 'plain:1:1'])
    assert.equal(house.answering.traffic(DOUBLER.name, 'mid', 1).success.count, 1)
  })

  it('tells how well it fits each that has a signature, by one look of the stem', async () => {
    const house = await openThree()
    const model = house.models[1]!
    await house.publish('dark', 0, { model, signatures: [signature(0, DOUBLER)] })
    await house.publish('bright', 0, { model, signatures: [signature(50, DOUBLER)] })
    for (const isSheet of [false, true]) {
      const { banks } = await compare(house, ['plain', 'bright', 'dark'], isSheet)
      assert.deepEqual(banks.map(({ domain, fit }) => [domain, fit]), [['plain', undefined], ['bright', 'none'], ['dark', 'good']])
      assert.ok(banks[1]!.p! < banks[2]!.p!)
    }
    assert.equal(looks(house), 2)
  })

  it('has no PSNR of equal pictures', async () => {
    const house = await openThree()
    await house.publish('same', 0, { model: house.models[1]! })
    const { differences } = await compare(house, ['plain', 'same'])
    assert.deepEqual(differences, [{ banks: ['plain:1', 'same:1'], psnr: null, meanDifference: 0, largestDifference: 0 }])
  })

  it('lays the answers side by side, each as predict gives it', async () => {
    const house = await openThree()
    const { sheet, differences, banks } = await compare(house, ['plain', 'light'], true)
    assert.equal(differences, undefined)
    assert.deepEqual(banks.map(({ domain }) => domain), ['plain', 'light'])
    const [width, height, gap] = [10, 8, 8]
    const { data, info } = await sharp(sheet).raw().toBuffer({ resolveWithObject: true })
    assert.deepEqual([info.width, info.height, info.channels], [2 * width + gap, height, 3])
    for (const [at, domain] of ['plain', 'light'].entries()) {
      const alone = await house.answering.transform(DOUBLER.name, { wish: { header: domain }, image: await picture(), format: 'png', quality: 90 })
      const own = await sharp(sheet).extract({ left: at * (width + gap), top: 0, width, height }).raw().toBuffer()
      assert.deepEqual(own, await sharp(alone.picture).raw().toBuffer())
    }
    assert.deepEqual(pixelAt({ data, width: info.width, channels: 3 }, width + 3, 2), [255, 255, 255])
  })

  it('lays a picture with alpha over black, and keeps a grey one grey', async () => {
    const house = await openThree()
    const image = await painted(3, 3, 4, (_x, _y, channel) => channel === 3 ? 0 : 200).png().toBuffer()
    const { sheet } = await house.answering.comparePictures(DOUBLER.name, { image, references: ['plain'] }, true)
    const { data, info } = await sharp(sheet).raw().toBuffer({ resolveWithObject: true })
    assert.deepEqual([info.channels, data[0]], [3, 0])
    const grey = await painted(3, 3, 1, () => 100).toColourspace('b-w').png().toBuffer()
    const answer = await house.answering.comparePictures(DOUBLER.name, { image: grey }, true)
    assert.equal((await sharp(answer.sheet).metadata()).channels, 1)
  })

  it('has room for all its pictures, known from the header, and refuses by name what has too many pixels or banks', async () => {
    const asked: number[] = []
    const hold = async <T>(bytes: number, work: () => Promise<T>) => { asked.push(bytes); return await work() }
    const house = await openThree({ room: { hold, decode: hold } })
    await compare(house, ['plain', 'light'])
    await compare(house, ['plain', 'light'], true)
    const source = 3 * 5 * 4
    assert.deepEqual(asked, [source + 2 * 3 * 10 * 8, source + 3 * 3 * 28 * 8])
    const image = await painted(400, 350, 3, () => 9).png().toBuffer()
    await assert.rejects(house.answering.comparePictures(DOUBLER.name, { image }, false), hasCode('IMAGE_TOO_LARGE', {
      expected: 'at most 1000000 pixels', received: '2400 x 700'
    }))
    for (let at = 0; at < 6; at++) await house.publish(`domain-${at}`, at, { model: house.models[1]! })
    await assert.rejects(compare(house), hasCode('REQUEST_TOO_MANY_VERSIONS', { expected: 'at most 8', received: 9 }))
    await assert.rejects(house.answering.compareClasses(DOUBLER.name, { image }, 1), hasCode('TASK_MISMATCH'))
    assert.equal(house.held(), 0)
  })

  it('asks for room in every turn first, and counts what failed under the bank that did', async () => {
    const house = await openThree()
    const { network } = house.pool
    house.pool.network = (job) => {
      if (job.turnOf === 'doubler@mid') throw new Error('broken')
      return network(job)
    }
    await assert.rejects(compare(house), /broken/)
    assert.deepEqual(house.pool.asked, [['doubler@light', 1], ['doubler@mid', 1], ['doubler@plain', 1]])
    assert.deepEqual(house.countedAs('countInference'), [['doubler', 'light', 1, 'ok'], ['doubler', 'mid', 0, 'error']])
    assert.equal(house.answering.traffic(DOUBLER.name, 'mid', 1).fail.count, 1)
    assert.deepEqual([house.held(), house.pool.keptOpen], [0, 0])
    house.pool.network = (job) => {
      const { doubled } = network(job) as { doubled: { type: 'float32', dims: number[], data: Float32Array } }
      return { doubled: { ...doubled, data: doubled.data.fill(NaN) } }
    }
    await assert.rejects(compare(house), hasCode('OUTPUT_PIXELS_NOT_FINITE', { bank: 'light:1' }))
  })

  it('holds all versions between its runs', async () => {
    const house = await openThree()
    const { reached, open } = house.pool.hold()
    const asked = compare(house)
    await reached
    await assert.rejects(house.admin.removeDomain(DOUBLER.name, 'mid'), hasCode('VERSION_LEASED'))
    open()
    assert.equal((await asked).banks.length, 3)
    assert.equal(house.held(), 0)
  })
})
