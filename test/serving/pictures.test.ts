/** Pictures in: to labels, and to other pictures in tiles, over a network that adds a bank's shift to every pixel. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import sharp from 'sharp'
import { PictureRoom } from '#src/serving/answering/picture-room.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { preparationOf } from '#src/models/signature-preparation.js'
import { makeSignature } from '#src/signature/signature.js'
import { hasCode } from '../support/errors.js'
import { featureRows } from '../support/feature-rows.js'
import { runSeed } from '../support/run-seed.js'
import { INFER_MS } from '../support/fake-pool.js'
import { DOUBLER } from '../support/models-folder.js'
import { openHouse, readyModel, STEM, type House } from '../support/served.js'
import type { TransformRequest } from '#src/serving/answering/transform.js'
import type { Job } from '#src/runtime/job.js'

const grey = (value: number, side = 4) => painted(side, side, 3, () => value).png().toBuffer()

describe('classifying', () => {
  it('gives the best labels, under the bank and the rules of the chosen version', async () => {
    const house = await openHouse()
    await house.publish('night', 3, { preprocessing: { size: { width: 8, height: 6 } } })
    const answer = await house.answering.classify('signs', { wish: { header: 'night' }, image: await grey(255) }, 1)
    assert.deepEqual([answer.domain, answer.version, answer.predictions.length, answer.predictions[0]!.label], ['night', 1, 1, 'cat'])
    // Scores of 2 + 3 and 2 - 3.
    assert.ok(Math.abs(answer.predictions[0]!.score - 1 / (1 + Math.exp(-6))) < 1e-6)
    assert.deepEqual(house.pool.jobs[0]!.feeds.x!.dims, [1, 3, 6, 8])
    await house.answering.classify('signs', { wish: {}, image: await grey(255) }, 1)
    assert.deepEqual(house.pool.jobs[1]!.feeds.x!.dims, [1, 3, 32, 32])
    assert.deepEqual(house.countedAs('countInference'), [['signs', 'night', 1, 'ok'], ['signs', 'day', 1, 'ok']])
    const { input } = house.answering.traffic('signs', 'night', 1)
    assert.equal(input.ms, answer.decodeMs)
  })

  it('lets go of the version when there is no room, no picture or no run', async () => {
    const house = await openHouse({ room: new PictureRoom({ picturesMax: 0, bytesMax: 100 }) })
    const ask = async (one: House, image: Buffer) => await one.answering.classify('signs', { wish: {}, image }, 1)
    await assert.rejects(ask(house, await grey(1)), hasCode('QUEUE_FULL'))
    assert.equal(house.held(), 0)
    const other = await openHouse()
    await assert.rejects(ask(other, Buffer.from('no picture')), hasCode('IMAGE_UNREADABLE'))
    assert.deepEqual([other.held(), other.pool.jobs], [0, []])
    other.pool.network = () => { throw new Error('broken') }
    await assert.rejects(ask(other, await grey(1)), /broken/)
    assert.equal(other.held(), 0)
  })

  it('has room for what decoding holds, which the header tells, before it is decoded', async () => {
    const asked: number[] = []
    const decode = async <T>(bytes: number, work: () => Promise<T>) => { asked.push(bytes); return await work() }
    const house = await openHouse({ room: { decode, hold: () => assert.fail('it is no picture for a picture') } })
    const [plain, interlaced] = await Promise.all([false, true].map((progressive) => {
      return painted(20, 10, 4, () => 9).toColourspace('rgb16').png({ progressive }).toBuffer()
    }))
    for (const image of [plain!, interlaced!]) await house.answering.classify('signs', { wish: {}, image }, 1)
    assert.deepEqual(asked, [3 * 200, 3 * 200 + 8 * 200])
    const small = await openHouse({ room: new PictureRoom({ picturesMax: 4, bytesMax: 2000 }) })
    await assert.rejects(small.answering.classify('signs', { wish: {}, image: interlaced! }, 1), hasCode('PICTURE_TOO_LARGE', {
      expected: 'at most 2000 bytes', received: 2200
    }))
    await small.answering.classify('signs', { wish: {}, image: plain! }, 1)
  })

  it('is refused for another task, and so is turning into another picture', async () => {
    const { answering } = await openHouse()
    const image = await grey(1)
    await assert.rejects(answering.classify('doubler', { wish: {}, image }, 1), hasCode('TASK_MISMATCH'))
    await assert.rejects(answering.transform('signs', { wish: {}, image, format: 'png', quality: 90 }), hasCode('TASK_MISMATCH'))
  })
})

describe('turning a picture into another', () => {
  it('keeps room for a picture while the stem, which may be long in coming, tells its domain', async () => {
    const model = readyModel(DOUBLER)
    const room = new PictureRoom({ picturesMax: 9, bytesMax: 1000 })
    const house = await openHouse({ models: [model], room })
    const origin = { stem: STEM, preparation: preparationOf(DOUBLER, undefined) }
    await house.publish('plain', 0, { model, signatures: [makeSignature(featureRows(100, 1, runSeed), origin)] })
    const ask = async () => await house.answering.transform(DOUBLER.name, {
      wish: { header: 'auto' }, image: await grey(1, 10), format: 'png', quality: 90
    })
    const held = house.pool.hold()
    const first = ask()
    await held.reached
    assert.equal(room.bytes, 400)
    const others = [house.pool.hold(), house.pool.hold()]
    const second = ask()
    await others[0]!.reached
    await assert.rejects(ask(), hasCode('QUEUE_FULL'))
    for (const one of [held, ...others]) one.open()
    await Promise.allSettled([first, second])
    assert.deepEqual([room.bytes, room.pictures, house.held()], [0, 0, 0])
  })

  /** Tiles of 8 with an overlap of 2: a picture of 20 x 20 has several. */
  const TILED = { ...DOUBLER, tiling: { tile: 8, overlap: 2, multipleOf: 1 } }
  const open = async (room?: PictureRoom) => {
    return await openHouse({ models: [readyModel(MANIFEST), readyModel(TILED)], ...(room === undefined ? {} : { room }) })
  }
  const gradient = (side: number) => painted(side, side, 3, (x, y, channel) => 5 * x + y + 40 * channel).png().toBuffer()
  const turn = (house: House, image: Buffer, more: Partial<TransformRequest> = {}) => {
    return house.answering.transform('doubler', { wish: {}, image, format: 'png', quality: 90, ...more })
  }

  it('in tiles is what the whole would be', async () => {
    const house = await open()
    const answer = await turn(house, await gradient(20))
    assert.ok(answer.tiles > 4, `${answer.tiles}`)
    assert.equal(house.pool.jobs.length, answer.tiles)
    const { data, info } = await sharp(answer.picture).raw().toBuffer({ resolveWithObject: true })
    assert.deepEqual([info.width, info.height, info.channels], [40, 40, 3])
    for (const [x, y, channel] of [[0, 0, 0], [39, 39, 2], [15, 16, 1], [16, 15, 0], [23, 24, 2]] as const) {
      assert.equal(data[(y * 40 + x) * 3 + channel], 5 * (x >> 1) + (y >> 1) + 40 * channel, `${x}, ${y}, ${channel}`)
    }
    assert.equal(answer.inferMs, answer.tiles * INFER_MS)
    assert.deepEqual(house.countedAs('countInference'), [['doubler', 'plain', answer.tiles, 'ok']])
    assert.equal(house.answering.traffic('doubler', 'plain', 1).rows, answer.tiles)
    assert.deepEqual(house.heated, [`plain:1:${answer.tiles}`])
  })

  it('asks for room once, in its domain\'s turn; what follows is in the house already and keeps it open', async () => {
    const house = await open()
    const { network } = house.pool
    house.pool.network = (job) => {
      assert.equal(house.pool.keptOpen, 1)
      return network(job)
    }
    await turn(house, await gradient(20))
    assert.deepEqual(house.pool.asked, [['doubler@plain', 1]])
    assert.ok(house.pool.letIn.every(Boolean))
    assert.ok(house.pool.jobs.every(({ rows, runKey }) => rows === 1 && runKey === undefined))
    assert.equal(house.pool.keptOpen, 0)
  })

  it('has one tile more than workers under way', async () => {
    const house = await open()
    const { network } = house.pool
    let [under, most] = [0, 0]
    house.pool.network = async (job: Job) => {
      most = Math.max(most, ++under)
      // Lets every other lane come as far.
      for (let at = 0; at < 20; at++) await Promise.resolve()
      under--
      return network(job)
    }
    await turn(house, await gradient(20))
    assert.equal(most, 3)
  })

  it('ends with the first tile that fails: the others stop, and nothing stays', async () => {
    const room = new PictureRoom({ picturesMax: 1, bytesMax: 1e6 })
    const house = await open(room)
    const { network } = house.pool
    let runs = 0
    house.pool.network = (job) => {
      if (++runs === 5) throw new Error('broken')
      return network(job)
    }
    await assert.rejects(turn(house, await gradient(20), { progressKey: 'mine' }), /broken/)
    const begun = house.pool.jobs.length
    assert.ok(begun < 9, `${begun} tiles were begun`)
    assert.ok(house.pool.signals.every((signal) => signal!.aborted), 'tiles that wait are dropped')
    assert.throws(() => house.answering.progress('mine'), hasCode('PROGRESS_NOT_FOUND'))
    assert.deepEqual([room.pictures, room.bytes, house.held(), house.pool.keptOpen], [0, 0, 0, 0])
    const [[, , done, outcome]] = house.countedAs('countInference') as [[string, string, number, string]]
    assert.ok(outcome === 'error' && done >= 4 && done < begun, `${done} of ${begun}`)
    assert.equal(house.answering.traffic('doubler', 'plain', 1).fail.count, 1)
    assert.deepEqual(house.heated, [])
    house.pool.network = network
    await turn(house, await gradient(20), { progressKey: 'mine' })
  })

  it('keeps grey grey and alpha where the format carries it, and asks for no more room than that takes', async () => {
    const asked: number[] = []
    const hold = async <T>(bytes: number, work: () => Promise<T>) => { asked.push(bytes); return await work() }
    const room = { hold, decode: hold }
    const house = await openHouse({ models: [readyModel(MANIFEST), readyModel(TILED)], room })
    const source = (channels: 1 | 2 | 3 | 4) => {
      const picture = painted(6, 6, channels, (x, y, channel) => channel === channels - 1 && channels % 2 === 0 ? 40 * y : 10 * x)
      return (channels < 3 ? picture.toColourspace('b-w') : picture).png().toBuffer()
    }
    const channelsOf = async (channels: 1 | 2 | 3 | 4, format: 'png' | 'jpeg') => {
      const { picture } = await turn(house, await source(channels), { format })
      const { channels: given, hasAlpha, space } = await sharp(picture).metadata()
      return [given, hasAlpha, space]
    }
    assert.deepEqual(await channelsOf(3, 'png'), [3, false, 'srgb'])
    assert.deepEqual(await channelsOf(4, 'png'), [4, true, 'srgb'])
    assert.deepEqual(await channelsOf(4, 'jpeg'), [3, false, 'srgb'])
    assert.equal((await channelsOf(1, 'png'))[2], 'b-w')
    assert.deepEqual((await channelsOf(2, 'png')).slice(1), [true, 'b-w'])
    // The picture that came, and twice the one that goes, of four times the pixels.
    assert.deepEqual(asked, [3, 4, 3, 1, 2].map((channels) => 36 * channels * (1 + 2 * 4)))
  })

  it('enlarges alpha beside the colours', async () => {
    const house = await open()
    const image = await painted(12, 12, 4, (x, y, channel) => channel === 3 ? 20 * Math.min(x, 11) : 10 * y).png().toBuffer()
    const { picture } = await turn(house, image)
    const { data } = await sharp(picture).raw().toBuffer({ resolveWithObject: true })
    const at = (x: number, y: number) => [...data.subarray((y * 24 + x) * 4, (y * 24 + x) * 4 + 4)]
    for (const [x, y] of [[0, 0], [23, 23], [9, 20], [20, 9]] as const) {
      const [red, , , alpha] = at(x, y)
      assert.equal(red, 10 * (y >> 1), `${x}, ${y}`)
      // Alpha is interpolated: between its neighbours.
      assert.ok(Math.abs(alpha! - 20 * (x >> 1)) <= 10, `${x}, ${y}: ${alpha}`)
    }
  })

  it('tells how far it has got under its key, which no other request may use meanwhile', async () => {
    const house = await open()
    const { reached, open: letGo } = house.pool.hold()
    const work = turn(house, await gradient(20), { progressKey: 'mine' })
    await reached
    assert.equal(house.answering.progress('mine').tilesDone <= house.answering.progress('mine').tilesTotal, true)
    await assert.rejects(turn(house, await gradient(20), { progressKey: 'mine' }), hasCode('PROGRESS_KEY_IN_USE'))
    letGo()
    await work
    assert.throws(() => house.answering.progress('mine'), hasCode('PROGRESS_NOT_FOUND'))
  })

  it('stops when its client goes away', async () => {
    const house = await open()
    const controller = new AbortController()
    const { reached, open: letGo } = house.pool.hold()
    const work = assert.rejects(turn(house, await gradient(20), { signal: controller.signal }), /gone/)
    await reached
    controller.abort(new Error('gone'))
    letGo()
    await work
    assert.equal(house.held(), 0)
  })

  it('is refused by its header: too many pixels, too large for the room, a full queue', async () => {
    const house = await open(new PictureRoom({ picturesMax: 1, bytesMax: 1000 }))
    await assert.rejects(turn(house, await gradient(20)), hasCode('PICTURE_TOO_LARGE'))
    assert.equal(house.held(), 0)
    const other = await open()
    other.pool.refusal = new Error('full')
    await assert.rejects(turn(other, await gradient(20)), /full/)
    assert.deepEqual([other.pool.jobs, other.held()], [[], 0])
    await assert.rejects(turn(other, Buffer.from('no picture')), hasCode('IMAGE_UNREADABLE'))
    assert.equal(other.held(), 0)
  })
})
