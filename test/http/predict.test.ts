import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import { ROOT } from '../support/folders.js'
import { startService, type Service } from '../support/service.js'

const URL_PREDICT = '/v1/models/traffic-signs/predict'
const SAMPLES = join(ROOT, 'models/traffic-signs/samples')

describe('POST /v1/models/{model}/predict', () => {
  let service: Service
  let samples: Array<{ domain: string, label: string, bytes: Buffer }>
  const post = (payload: Buffer | string, headers: Record<string, string>, url = URL_PREDICT) => {
    return service.app.inject({ method: 'POST', url, payload, headers })
  }

  before(async () => {
    service = await startService()
    samples = await Promise.all((await readdir(SAMPLES)).filter((name) => name.endsWith('.png')).map(async (name) => {
      const [, domain, label] = /^([a-z]+)-(.*)\.png$/.exec(name)!
      return { domain: domain!, label: label!.replaceAll('-', ' '), bytes: await readFile(join(SAMPLES, name)) }
    }))
  })
  after(() => service.close())

  it('reads every sample picture right under its own bank', async () => {
    assert.ok(samples.length >= 8)
    for (const { domain, label, bytes } of samples) {
      const response = await post(bytes, { 'content-type': 'image/png', 'x-domain': domain })
      assert.equal(response.statusCode, 200, response.payload)
      const body = response.json()
      assert.equal(body.predictions[0].label, label, domain)
      assert.equal(body.domain, domain)
      assert.match(String(response.headers['server-timing']), /^read;dur=[\d.]+, decode;dur=[\d.]+, queue;dur=[\d.]+, infer;dur=[\d.]+, encode;dur=[\d.]+$/)
    }
  })

  it('gives scores that are probabilities, the best first, as many as asked', async () => {
    const { bytes } = samples[0]!
    const all = (await post(bytes, { 'content-type': 'image/png' }, `${URL_PREDICT}?top=43`)).json().predictions
    assert.equal(all.length, 43)
    const scores: number[] = all.map(({ score }: { score: number }) => score)
    assert.deepEqual(scores, scores.toSorted((a, b) => b - a))
    assert.ok(Math.abs(scores.reduce((sum, score) => sum + score, 0) - 1) < 1e-9)
    const few = (await post(bytes, { 'content-type': 'image/png' }, `${URL_PREDICT}?top=2`)).json().predictions
    assert.deepEqual(few, all.slice(0, 2))
  })

  it('takes the one file of a form', async () => {
    const { domain, label, bytes } = samples[0]!
    const boundary = 'xyz'
    const form = Buffer.concat([
      Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n`),
      bytes,
      Buffer.from(`\r\n--${boundary}--\r\n`)
    ])
    const response = await post(form, { 'content-type': `multipart/form-data; boundary=${boundary}`, 'x-domain': domain })
    assert.equal(response.statusCode, 200, response.payload)
    assert.equal(response.json().predictions[0].label, label)
  })

  describe('refuses', () => {
    const cases: Array<[name: string, code: string, status: number, request: () => ReturnType<typeof post>]> = [
      ['a broken picture', 'IMAGE_UNREADABLE', 400, () => {
        return post(samples[0]!.bytes.subarray(0, 300), { 'content-type': 'image/png' })
      }],
      ['what is no picture', 'IMAGE_UNREADABLE', 400, () => post('hello', { 'content-type': 'image/jpeg' })],
      ['an empty body', 'REQUEST_INVALID', 400, () => post('', { 'content-type': 'image/png' })],
      ['a 100-megapixel picture', 'IMAGE_TOO_LARGE', 413, () => {
        return post(pngHeader(10_000, 10_000), { 'content-type': 'image/png' })
      }],
      ['another content type', 'CONTENT_TYPE_UNSUPPORTED', 415, () => post('{}', { 'content-type': 'application/json' })],
      ['a form without a file', 'REQUEST_INVALID', 400, () => {
        return post('--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', {
          'content-type': 'multipart/form-data; boundary=x'
        })
      }],
      ['top out of bounds', 'REQUEST_INVALID', 400, () => {
        return post(samples[0]!.bytes, { 'content-type': 'image/png' }, `${URL_PREDICT}?top=0`)
      }],
      ['a query it does not know', 'REQUEST_INVALID', 400, () => {
        return post(samples[0]!.bytes, { 'content-type': 'image/png' }, `${URL_PREDICT}?topp=1`)
      }],
      ['an unknown domain', 'DOMAIN_NOT_FOUND', 404, () => {
        return post(samples[0]!.bytes, { 'content-type': 'image/png', 'x-domain': 'dusk' })
      }]
    ]
    for (const [name, code, status, request] of cases) {
      it(`${name}, and serves the next request`, async () => {
        const response = await request()
        assert.equal(response.statusCode, status, response.payload)
        assert.equal(response.json().code, code)
        assert.equal((await post(samples[0]!.bytes, { 'content-type': 'image/png' })).statusCode, 200)
      })
    }
  })
})

/** A PNG that claims a size and holds next to nothing. */
function pngHeader (width: number, height: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const out = Buffer.alloc(8 + data.length + 4)
    out.writeUInt32BE(data.length, 0)
    body.copy(out, 4)
    out.writeUInt32BE(crc32(body), 8 + data.length)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(Buffer.alloc(100))), chunk('IEND', Buffer.alloc(0))])
}
