/** POST /v1/models/{model}/compare, of a shipped network and of one that makes pictures. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import sharp from 'sharp'
import { painted } from '../imaging/fixtures/pictures.js'
import { ROOT } from '../support/folders.js'
import { DOUBLER, writeModels } from '../support/models-folder.js'
import { superResolver } from '../support/networks.js'
import { ADMIN, startService, type Service } from '../support/service.js'

const PNG = { 'content-type': 'image/png' }

describe('comparing the banks of a classifier', () => {
  let service: Service
  let picture: Buffer
  const url = '/v1/models/traffic-signs/compare'
  before(async () => {
    service = await startService()
    picture = await readFile(join(ROOT, 'models/traffic-signs/samples/fog-slippery-road.png'))
  })
  after(() => service.close())
  const compare = async (query = '', headers: Record<string, string> = PNG, payload: Buffer | string = picture) => {
    return await service.app.inject({ method: 'POST', url: `${url}${query}`, payload, headers })
  }

  it('gives what predict gives under each, and what most say', async () => {
    const response = await compare('?top=3')
    assert.equal(response.statusCode, 200, response.payload)
    const { model, banks, agreement, ...rest } = response.json()
    assert.deepEqual([model, rest], ['traffic-signs', {}])
    assert.deepEqual(banks.map(({ domain }: { domain: string }) => domain), ['day', 'fog', 'lowlight', 'lowres'])
    for (const { domain, version, predictions, entropy } of banks) {
      const alone = await service.app.inject({
        method: 'POST', url: '/v1/models/traffic-signs/predict?top=3', payload: picture, headers: { ...PNG, 'x-domain': domain }
      })
      assert.deepEqual(predictions, alone.json().predictions, domain)
      assert.ok(version === 1 && entropy >= 0 && entropy < Math.log(43))
    }
    const best = banks.map(({ predictions: [first] }: { predictions: Array<{ label: string }> }) => first!.label)
    const same = best.filter((label: string) => label === agreement.label).length
    assert.deepEqual([agreement.share, agreement.banks.length], [same / 4, same])
    assert.equal(response.headers['x-domain'], 'day,fog,lowlight,lowres')
    assert.equal(response.headers['x-domain-version'], '1,1,1,1')
    assert.match(String(response.headers['server-timing']), /^read;dur=[\d.]+, decode;dur=[\d.]+, queue;dur=[\d.]+, infer;dur=[\d.]+, encode;dur=[\d.]+$/)
  })

  it('tells how well the picture fits each domain with a signature, as auto does', async () => {
    const { banks } = (await compare()).json() as { banks: Array<{ domain: string, fit?: string, p?: number }> }
    const fits = new Map(banks.map(({ domain, fit, p }) => [domain, { fit, p }]))
    const { recognised } = (await service.app.inject({
      method: 'POST', url: '/v1/models/traffic-signs/predict', payload: picture, headers: { ...PNG, 'x-domain': 'auto' }
    })).json()
    assert.deepEqual([recognised.nearest, fits.get('fog')], ['fog', { fit: recognised.fit, p: recognised.p }])
    assert.equal(fits.get('lowlight')!.fit, 'none')
    const pinned = (await compare('?domains=fog:1,day=0.5;fog=0.5')).json().banks
    assert.deepEqual([pinned[0].p, 'fit' in pinned[1]], [recognised.p, false])
  })

  it('asks chosen ones, blends among them', async () => {
    const response = await compare('?domains=fog:1,%20day,day=0.5;fog=0.5')
    const { banks } = response.json()
    assert.deepEqual(banks.map(({ domain }: { domain: string }) => domain), ['fog', 'day', 'day:1=0.5;fog:1=0.5'])
    assert.equal(banks[0].predictions.length, 5)
  })

  it('takes a form', async () => {
    const form = Buffer.concat([
      Buffer.from('--xyz\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n'),
      picture, Buffer.from('\r\n--xyz--\r\n')
    ])
    const response = await compare('', { 'content-type': 'multipart/form-data; boundary=xyz' }, form)
    assert.equal(response.json().banks.length, 4)
  })

  it('is logged as what it asked', async () => {
    await compare('?domains=fog,day')
    const { model, domain, rows } = service.log.findLast(({ msg }) => msg === 'request')!
    assert.deepEqual([model, domain, rows], ['traffic-signs', 'fog,day', 2])
  })

  for (const [query, headers, payload, code, status] of [
    ['?domains=dawn', PNG, undefined, 'DOMAIN_NOT_FOUND', 404], ['?domains=', PNG, undefined, 'DOMAIN_REFERENCE_INVALID', 400],
    ['?domains=day&domains=fog', PNG, undefined, 'REQUEST_INVALID', 400], ['?domain=day', PNG, undefined, 'REQUEST_INVALID', 400],
    ['?top=0', PNG, undefined, 'REQUEST_INVALID', 400], [`?domains=${'day,'.repeat(40)}day`, PNG, undefined, 'REQUEST_TOO_MANY_VERSIONS', 400],
    ['', { ...PNG, accept: 'image/png' }, undefined, 'NOT_ACCEPTABLE', 406], ['', PNG, 'no picture', 'IMAGE_UNREADABLE', 400],
    ['', PNG, '', 'REQUEST_INVALID', 400], ['', { 'content-type': 'application/json' }, '{}', 'CONTENT_TYPE_UNSUPPORTED', 415]
  ] as const) {
    it(`refuses ${query.slice(0, 40)} ${JSON.stringify(headers)} ${payload ?? ''} by name`, async () => {
      const response = await compare(query, { ...headers }, payload)
      assert.deepEqual([response.statusCode, response.json().code], [status, code])
    })
  }
})

describe('comparing the banks of a model that makes pictures', () => {
  let service: Service
  let folder: string
  let picture: Buffer
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bankswitch-models-'))
    await writeModels(folder, [{ manifest: DOUBLER, graph: superResolver().bytes }])
    service = await startService({ BANKSWITCH_MODELS_DIR: folder })
    picture = await painted(13, 9, 3, (x, y, channel) => 9 * x + 5 * y + 20 * channel).png().toBuffer()
    const { compiled } = (await service.app.inject('/v1/models/doubler')).json()
    const layers = Object.fromEntries(compiled.layers.map(({ key, channels }: { key: string, channels: number }) => {
      return [key, { mean: Array(channels).fill(0.3), variance: Array(channels).fill(2) }]
    }))
    const response = await service.app.inject({
      method: 'PUT', url: '/admin/models/doubler/domains/other', payload: { layers }, headers: ADMIN
    })
    assert.equal(response.statusCode, 201, response.payload)
  })
  after(async () => {
    await service.close()
    await rm(folder, { recursive: true })
  })
  const compare = async (query = '', headers: Record<string, string> = {}) => await service.app.inject({
    method: 'POST', url: `/v1/models/doubler/compare${query}`, payload: picture, headers: { ...PNG, ...headers }
  })
  const pixels = async (bytes: Buffer) => await sharp(bytes).raw().toBuffer()

  it('tells how far their pictures lie apart', async () => {
    const response = await compare()
    const { banks, differences } = response.json()
    assert.deepEqual(banks, [{ domain: 'other', version: 1 }, { domain: 'plain', version: 1 }])
    const [{ banks: pair, psnr, meanDifference, largestDifference }] = differences
    assert.deepEqual([differences.length, pair], [1, ['other:1', 'plain:1']])
    const [one, other] = await Promise.all(['other', 'plain'].map(async (domain) => {
      const alone = await service.app.inject({
        method: 'POST', url: '/v1/models/doubler/predict', payload: picture, headers: { ...PNG, 'x-domain': domain }
      })
      return await pixels(alone.rawPayload)
    }))
    const errors = one!.map((value, at) => Math.abs(value - other![at]!))
    const squares = Array.from(one!, (value, at) => (value - other![at]!) ** 2).reduce((a, b) => a + b, 0) / one!.length
    assert.ok(Math.abs(psnr - 10 * Math.log10(255 ** 2 / squares)) < 1e-9)
    assert.ok(Math.abs(meanDifference - errors.reduce((a, b) => a + b, 0) / errors.length) < 1e-9)
    assert.equal(largestDifference, Math.max(...errors))
    assert.match(String(response.headers['server-timing']), /tiles;desc="2"/)
  })

  it('gives a contact sheet, and its order in the headers', async () => {
    const response = await compare('?domains=plain,other', { accept: 'image/png' })
    assert.equal(response.headers['content-type'], 'image/png')
    assert.deepEqual([response.headers['x-domain'], response.headers['x-domain-version']], ['plain,other', '1,1'])
    const { width, height } = await sharp(response.rawPayload).metadata()
    assert.deepEqual([width, height], [26 + 8 + 26, 18])
  })

  it('refuses what means nothing to it', async () => {
    assert.equal((await compare('?top=3')).json().code, 'REQUEST_INVALID')
    assert.equal((await compare('', { accept: 'image/webp' })).json().code, 'NOT_ACCEPTABLE')
  })
})
