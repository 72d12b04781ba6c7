import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import sharp from 'sharp'
import { painted, pixelAt, type Paint } from '../imaging/fixtures/pictures.js'
import { hasCode } from '../support/errors.js'
import { DOUBLER, writeModels } from '../support/models-folder.js'
import { hourglass, superResolver } from '../support/networks.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'

/** Waves with detail in every channel. */
const waves: Paint = (x, y, channel) => Math.round(128 + 60 * Math.sin(x / 3 + channel) + 50 * Math.cos(y / 2 - x / 5))

const HALF = { ...DOUBLER, output: { ...DOUBLER.output, name: 'same', scale: 1 } }

describe('POST /v1/models/{model}/predict of an image-to-image model', () => {
  let service: Service
  let folder: string
  const post = async (picture: Buffer, headers: Record<string, string> = {}, query = '', model = 'doubler') => {
    return await service.app.inject({
      method: 'POST', url: `/v1/models/${model}/predict${query}`, payload: picture, headers: { 'content-type': 'image/png', ...headers }
    })
  }
  const decoded = async (bytes: Buffer) => {
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
    return { data, width: info.width, height: info.height, channels: info.channels }
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bankswitch-models-'))
    await writeModels(folder, [
      { manifest: DOUBLER, graph: superResolver().bytes },
      { manifest: { ...DOUBLER, name: 'whole', tiling: { tile: 208, overlap: 5, multipleOf: 1 } }, graph: superResolver().bytes },
      { manifest: { ...HALF, name: 'hourglass', tiling: { tile: 24, overlap: 6, multipleOf: 2 } }, graph: hourglass().bytes },
      { manifest: { ...HALF, name: 'hourglass-whole', tiling: { tile: 208, overlap: 6, multipleOf: 2 } }, graph: hourglass().bytes }
    ])
    service = await startService({ BANKSWITCH_MODELS_DIR: folder })
  })
  after(async () => {
    await service.close()
    await rm(folder, { recursive: true })
  })

  it('counts tiles as rows of the version that answered', async () => {
    const statistics = async () => (await service.app.inject('/v2/models/hourglass@plain/stats')).json().model_stats[0]
    const before = await statistics()
    const response = await post(await painted(60, 40, 3, waves).png().toBuffer(), {}, '', 'hourglass')
    const tiles = Number(/tiles;desc="(\d+)"/.exec(String(response.headers['server-timing']))![1])
    assert.ok(tiles > 1)
    const { inference_count: rows, execution_count: runs, inference_stats: { success } } = await statistics()
    assert.deepEqual([rows - before.inference_count, runs - before.execution_count], [tiles, tiles])
    assert.equal(success.count - before.inference_stats.success.count, 1)
  })

  it('answers the doubled picture that the graph computes', async () => {
    const [width, height] = [13, 9]
    const bytes = await painted(width, height, 3, waves).png().toBuffer()
    const response = await post(bytes)
    assert.equal(response.statusCode, 200, response.payload)
    assert.equal(response.headers['content-type'], 'image/png')
    assert.equal(response.headers['x-domain'], 'plain')
    assert.match(String(response.headers['server-timing']), /^read;dur=.*, decode;dur=.*, queue;dur=.*, infer;dur=.*, encode;dur=[\d.]+, tiles;desc="1"$/)
    const result = await decoded(response.rawPayload)
    assert.deepEqual([result.width, result.height, result.channels], [26, 18, 3])
    const values = Float32Array.from({ length: 3 * width * height }, (_, at) => {
      const [x, y] = [at % width, Math.floor(at / width) % height]
      return waves(x, y, Math.floor(at / width / height)) / 255
    })
    const { payload, headers } = binaryRequest({ shape: [1, 3, height, width], values, name: 'x' })
    const reference = firstOutput(parseAnswer(await service.app.inject({
      method: 'POST', url: '/v2/models/doubler/infer', payload, headers
    })))
    const expected = Uint8ClampedArray.from(reference, (value) => 255 * value)
    for (let at = 0; at < expected.length; at++) {
      const [x, y] = [at % 26, Math.floor(at / 26) % 18]
      assert.equal(pixelAt(result, x, y)[Math.floor(at / 26 / 18)], expected[at])
    }
  })

  for (const [tiled, whole, width, height] of [
    ['doubler', 'whole', 100, 77], ['doubler', 'whole', 33, 200], ['hourglass', 'hourglass-whole', 101, 75]
  ] as const) {
    it(`has no seams: ${tiled} of ${width} x ${height} is what it is untiled`, async () => {
      const bytes = await painted(width, height, 3, waves).png().toBuffer()
      const [parts, one] = [await post(bytes, {}, '', tiled), await post(bytes, {}, '', whole)]
      assert.match(String(one.headers['server-timing']), /tiles;desc="1"/)
      assert.match(String(parts.headers['server-timing']), /tiles;desc="\d\d"/)
      const [a, b] = [await decoded(parts.rawPayload), await decoded(one.rawPayload)]
      assert.deepEqual([a.width, a.height], [b.width, b.height])
      assert.ok(a.data.every((value, at) => Math.abs(value - b.data[at]!) <= 1))
      assert.ok(new Set(a.data).size > 50, 'there is something to see')
    })
  }

  describe('answers in the format that Accept names', () => {
    const cases: Array<[accept: string | undefined, format: string]> = [
      [undefined, 'png'], ['*/*', 'png'], ['image/*', 'png'], ['image/jpeg', 'jpeg'], ['image/webp', 'webp'], ['text/html, image/jpeg;q=0.5', 'jpeg'],
      ['image/jpeg;q=0.5, image/webp', 'webp'], ['application/json, */*;q=0.1', 'png'], ['image/png;q=0, image/*', 'jpeg']
    ]
    for (const [accept, format] of cases) {
      it(`${accept}: ${format}`, async () => {
        const response = await post(await painted(9, 7, 3, waves).png().toBuffer(), accept === undefined ? {} : { accept })
        assert.equal(response.statusCode, 200, response.payload)
        assert.equal(response.headers['content-type'], `image/${format}`)
        assert.equal(response.headers.vary, 'accept')
        const metadata = await sharp(response.rawPayload).metadata()
        assert.deepEqual([metadata.format, metadata.width, metadata.height], [format, 18, 14])
      })
    }

    it('in the quality that is asked for', async () => {
      const picture = await painted(40, 40, 3, waves).png().toBuffer()
      const bytes = async (query: string) => (await post(picture, { accept: 'image/jpeg' }, query)).rawPayload.length
      assert.ok(await bytes('?quality=10') < await bytes('?quality=50'))
      assert.equal(await bytes(''), await bytes('?quality=92'))
    })
  })

  describe('keeps what a picture is', () => {
    it('alpha, where the format carries it; the colours are those of the opaque picture', async () => {
      const paint: Paint = (x, y, channel) => channel < 3 ? waves(x, y, channel) : x < 20 ? 255 : 60
      const picture = await painted(40, 36, 4, paint).png().toBuffer()
      const opaque = await decoded((await post(await painted(40, 36, 3, waves).png().toBuffer())).rawPayload)
      const result = await decoded((await post(picture)).rawPayload)
      assert.equal(result.channels, 4)
      for (const [x, y] of [[3, 3], [30, 60], [70, 10], [79, 71]] as const) {
        assert.deepEqual(pixelAt(result, x, y).slice(0, 3), pixelAt(opaque, x, y))
        assert.equal(pixelAt(result, x, y)[3], x < 35 ? 255 : 60)
      }
      assert.equal((await decoded((await post(picture, { accept: 'image/webp' })).rawPayload)).channels, 4)
      const jpeg = await decoded((await post(picture, { accept: 'image/jpeg' })).rawPayload)
      assert.equal(jpeg.channels, 3)
      const overBlack = await post(await sharp(picture).flatten({ background: '#000' }).png().toBuffer(), { accept: 'image/jpeg' })
      assert.deepEqual(jpeg, await decoded(overBlack.rawPayload))
    })

    it('grey, with one channel; with alpha, two', async () => {
      const grey: Paint = (x, y) => waves(x, y, 0)
      const response = await post(await painted(20, 20, 1, grey).toColourspace('b-w').png().toBuffer())
      const metadata = await sharp(response.rawPayload).metadata()
      assert.deepEqual([metadata.space, metadata.channels, metadata.width], ['b-w', 1, 40])
      const coloured = await decoded((await post(await painted(20, 20, 3, grey).png().toBuffer())).rawPayload)
      const { data } = await sharp(response.rawPayload).toColourspace('b-w').raw().toBuffer({ resolveWithObject: true })
      for (const [x, y] of [[0, 0], [17, 31], [39, 39]] as const) {
        const [red, green, blue] = pixelAt(coloured, x, y) as [number, number, number]
        assert.ok(Math.abs(data[y * 40 + x]! - (0.299 * red + 0.587 * green + 0.114 * blue)) <= 1)
      }
      const greyAlpha = await painted(20, 20, 2, (x, y, channel) => channel === 0 ? grey(x, y, 0) : 90).toColourspace('b-w').png().toBuffer()
      assert.equal((await sharp((await post(greyAlpha)).rawPayload).metadata()).channels, 2)
    })

    it('upright, and without an orientation left to apply again', async () => {
      const picture = painted(20, 12, 3, waves)
      const turned = await picture.clone().rotate(90).png().toBuffer()
      const tagged = await sharp(await picture.clone().png().toBuffer()).withMetadata({ orientation: 6 }).webp({ lossless: true }).toBuffer()
      const [result, expected] = [await post(tagged, { 'content-type': 'image/webp' }), await post(turned)]
      assert.equal((await sharp(result.rawPayload).metadata()).orientation, undefined)
      assert.deepEqual(await decoded(result.rawPayload), await decoded(expected.rawPayload))
    })

    it('its colours: a profile is turned into sRGB', async () => {
      const tagged = await painted(16, 16, 3, waves).withIccProfile('p3').png().toBuffer()
      const plain = await sharp(tagged).png().toBuffer()
      assert.equal((await sharp(plain).metadata()).icc, undefined)
      const [a, b] = [await decoded((await post(tagged)).rawPayload), await decoded((await post(plain)).rawPayload)]
      assert.deepEqual(a, b)
    })
  })

  describe('refuses', () => {
    const small = () => painted(8, 8, 3, waves).png().toBuffer()
    const cases: Array<[name: string, code: string, status: number, request: () => ReturnType<typeof post>]> = [
      ['an Accept that it cannot answer', 'NOT_ACCEPTABLE', 406, async () => post(await small(), { accept: 'application/json' })],
      ['an Accept of a picture format that it cannot write', 'NOT_ACCEPTABLE', 406, async () => post(await small(), { accept: 'image/avif' })],
      ['top', 'REQUEST_INVALID', 400, async () => post(await small(), {}, '?top=1')],
      ['a quality out of bounds', 'REQUEST_INVALID', 400, async () => post(await small(), {}, '?quality=101')],
      ['a progress key that is no name', 'REQUEST_INVALID', 400, async () => post(await small(), { 'x-progress-key': 'a/b' })],
      ['a broken picture', 'IMAGE_UNREADABLE', 400, async () => post((await small()).subarray(0, 60))],
      ['an unknown domain', 'DOMAIN_NOT_FOUND', 404, async () => post(await small(), { 'x-domain': 'fog' })],
      ['what WebP cannot hold', 'IMAGE_TOO_LARGE', 413, async () => {
        return post(await painted(8200, 1, 3, waves).png().toBuffer(), { accept: 'image/webp' })
      }],
      ['what takes more memory than there is', 'PICTURE_TOO_LARGE', 413, async () => {
        return post(await sharp({ create: { width: 16_000, height: 3_000, channels: 4, background: '#123f' } }).png().toBuffer())
      }],
      ['a key of nobody', 'PROGRESS_NOT_FOUND', 404, async () => service.app.inject('/v1/progress/nobody')]
    ]
    for (const [name, code, status, request] of cases) {
      it(`${name}, and serves the next request`, async () => {
        const response = await request()
        assert.equal(response.statusCode, status, response.payload)
        assert.equal(response.json().code, code)
        assert.equal((await post(await small())).statusCode, 200)
      })
    }
  })

  it('tells the progress under the key of the request, which no other may use meanwhile', async () => {
    const picture = await painted(400, 300, 3, waves).png().toBuffer()
    const seen: Array<{ tilesDone: number, tilesTotal: number }> = []
    const state = { isAnswered: false }
    const answer = post(picture, { 'x-progress-key': 'mine' }).finally(() => { state.isAnswered = true })
    let second: Awaited<ReturnType<typeof post>> | undefined
    while (!state.isAnswered) {
      await turn()
      const response = await service.app.inject('/v1/progress/mine')
      if (response.statusCode !== 200) continue
      seen.push(response.json())
      second ??= await post(await painted(8, 8, 3, waves).png().toBuffer(), { 'x-progress-key': 'mine' })
    }
    assert.equal((await answer).statusCode, 200)
    assert.equal(second?.json().code, 'PROGRESS_KEY_IN_USE')
    const total = seen[0]!.tilesTotal
    assert.match(String((await answer).headers['server-timing']), new RegExp(`tiles;desc="${total}"`))
    assert.ok(seen.length > 2 && seen.every(({ tilesTotal }) => tilesTotal === total))
    const done = seen.map(({ tilesDone }) => tilesDone)
    assert.deepEqual(done, done.toSorted((a, b) => a - b))
    assert.equal((await service.app.inject('/v1/progress/mine')).statusCode, 404)
  })

  it('answers a small picture before a large one that came first, also of the same domain', async () => {
    const order: string[] = []
    const large = post(await painted(500, 400, 3, waves).png().toBuffer(), { 'x-progress-key': 'large' }).then(() => order.push('large'))
    while ((await service.app.inject('/v1/progress/large')).json().tilesDone === undefined) await turn()
    await post(await painted(8, 8, 3, waves).png().toBuffer()).then(() => order.push('small'))
    await large
    assert.deepEqual(order, ['small', 'large'])
  })

  it('stops when the client goes away, and gives its room back', async () => {
    const controller = new AbortController()
    const image = await painted(500, 400, 3, waves).png().toBuffer()
    const work = service.engine.answering.transform('doubler', {
      wish: {}, image, format: 'png', quality: 92, progressKey: 'leaving', signal: controller.signal
    })
    const rejected = assert.rejects(work, /gone/)
    const state = { done: 0, total: 0 }
    while (state.done === 0) {
      await turn()
      const response = await service.app.inject('/v1/progress/leaving')
      if (response.statusCode !== 200) continue
      const { tilesDone, tilesTotal } = response.json()
      Object.assign(state, { done: tilesDone, total: tilesTotal })
    }
    controller.abort(new Error('gone'))
    await rejected
    assert.ok(state.done < state.total)
    assert.throws(() => service.engine.answering.progress('leaving'), hasCode('PROGRESS_NOT_FOUND'))
  })

  it('shows its stages in the metrics', async () => {
    await post(await painted(8, 8, 3, waves).png().toBuffer())
    const { payload } = await service.app.inject('/metrics')
    for (const stage of ['decode', 'queue', 'infer', 'encode']) {
      assert.match(payload, new RegExp(`bankswitch_stage_seconds_count{model="doubler",stage="${stage}"} [1-9]`))
    }
  })

  it('describes itself by its output and tiling', async () => {
    const model = (await service.app.inject('/v1/models/doubler')).json()
    assert.equal(model.task, 'image-to-image')
    assert.deepEqual(model.output, DOUBLER.output)
    assert.deepEqual(model.tiling, DOUBLER.tiling)
    assert.equal(model.labels, undefined)
  })

  it('takes other colours registered with a domain, but no size', async () => {
    const { layers } = (await service.app.inject('/v1/models/doubler')).json().compiled as { layers: Array<{ key: string, channels: number }> }
    const bank = Object.fromEntries(layers.map(({ key, channels }) => {
      return [key, { mean: Array(channels).fill(0), variance: Array(channels).fill(1) }]
    }))
    const put = (domain: string, preprocessing: unknown) => service.app.inject({
      method: 'PUT', url: `/admin/models/doubler/domains/${domain}`, headers: ADMIN, payload: { layers: bank, preprocessing } as object
    })
    assert.equal((await put('rgb', {})).statusCode, 201)
    assert.equal((await put('bgr', { colour: 'bgr' })).statusCode, 201)
    const refused = await put('sized', { size: { width: 8, height: 8 } })
    assert.deepEqual([refused.statusCode, refused.json().code], [400, 'PREPROCESSING_INVALID'])
    const picture = (order: number[]) => painted(8, 8, 3, (x, y, channel) => waves(x, y, order[channel]!)).png().toBuffer()
    const rgb = await decoded((await post(await picture([0, 1, 2]), { 'x-domain': 'rgb' })).rawPayload)
    const bgr = await decoded((await post(await picture([2, 1, 0]), { 'x-domain': 'bgr' })).rawPayload)
    assert.deepEqual(pixelAt(bgr, 5, 6), pixelAt(rgb, 5, 6).toReversed())
  })
})

/** Injected requests alone would never let the event loop turn. */
function turn (): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

describe('an image-to-image model', () => {
  it('whose overlap is less than its pixels see is refused at start', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bankswitch-models-'))
    try {
      const tiling = { tile: 32, overlap: 2, multipleOf: 1 }
      await writeModels(folder, [{ manifest: { ...DOUBLER, tiling }, graph: superResolver({ gain: 1 }).bytes }])
      await assert.rejects(startService({ BANKSWITCH_MODELS_DIR: folder }), /tiles of .*doubler.* would show/)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
