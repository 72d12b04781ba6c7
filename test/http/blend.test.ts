/** Blends of domains over HTTP, under the shipped network: named in requests, and kept as versions. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ROOT } from '../support/folders.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'

const URL_INFER = '/v2/models/traffic-signs/infer'
const URL_DUSK = '/admin/models/traffic-signs/domains/dusk'
const TEXT = 'day=0.7,lowlight=0.3'
const NAME = 'day:1=0.7;lowlight:1=0.3'

const values = Float32Array.from({ length: 3072 }, (_, at) => Math.sin(at * 12.9898) * 2)

describe('a blend of domains', () => {
  let service: Service
  before(async () => { service = await startService() })
  after(() => service.close())

  const infer = async (domain: string, url = URL_INFER) => {
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values })
    return await service.app.inject({ method: 'POST', url, payload, headers: { ...headers, 'x-domain': domain } })
  }
  const logits = async (domain: string) => firstOutput(parseAnswer(await infer(domain)))
  const keep = async (body: object, headers: Record<string, string> = {}, query = '') => await service.app.inject({
    method: 'POST', url: `${URL_DUSK}/blend${query}`, payload: body, headers: { ...ADMIN, ...headers }
  })

  it('answers and tells who did, in a form that can be asked again', async () => {
    const response = await infer(TEXT)
    assert.equal(response.statusCode, 200, response.payload)
    assert.deepEqual([response.headers['x-domain'], response.headers['x-domain-version']], [NAME, '1'])
    const { json } = parseAnswer(response)
    assert.deepEqual([json.parameters.domain, json.parameters.domain_version, json.model_version], [NAME, 1, '1'])
    const again = await infer(String(response.headers['x-domain']))
    assert.deepEqual(firstOutput(parseAnswer(again)), firstOutput(parseAnswer(response)))
    assert.equal(parseAnswer(again).json.parameters.bank_digest, json.parameters.bank_digest)
  })

  it('is neither of its parts, and one of them where it has all', async () => {
    const [day, lowlight, blend] = [await logits('day'), await logits('lowlight'), await logits(TEXT)]
    assert.notDeepEqual(blend, day)
    assert.notDeepEqual(blend, lowlight)
    assert.deepEqual(await logits('day=1'), day)
    assert.deepEqual(await logits('lowlight=0.998,day=0.002'), lowlight)
    assert.deepEqual(await logits('lowlight=0.3;day=0.7'), blend)
  })

  it('may be a parameter of the body, or of a row', async () => {
    const blend = await logits(TEXT)
    const input = { name: 'input', shape: [1, 3, 32, 32], datatype: 'FP32', data: Array.from(values) }
    const row = { name: '__domain__', shape: [1], datatype: 'BYTES', data: [TEXT] }
    for (const payload of [{ inputs: [input], parameters: { domain: TEXT } }, { inputs: [input, row] }]) {
      const response = await service.app.inject({ method: 'POST', url: URL_INFER, payload })
      assert.equal(response.statusCode, 200, response.payload)
      assert.deepEqual(Float32Array.from(response.json().outputs[0].data), blend)
      assert.equal(response.headers['x-domain'], NAME)
    }
  })

  it('classifies a picture', async () => {
    const picture = await readFile(join(ROOT, 'models/traffic-signs/samples/fog-slippery-road.png'))
    const response = await service.app.inject({
      method: 'POST',
      url: '/v1/models/traffic-signs/predict',
      payload: picture,
      headers: { 'content-type': 'image/png', 'x-domain': 'fog=0.9,day=0.1' }
    })
    const { domain, version, predictions } = response.json()
    assert.deepEqual([domain, version, predictions[0].label], ['day:1=0.1;fog:1=0.9', 1, 'slippery road'])
  })

  for (const [text, code, status] of [
    ['day=0.7,lowlight=0.2', 'DOMAIN_REFERENCE_INVALID', 400], ['day=0.7,=0.3', 'DOMAIN_REFERENCE_INVALID', 400],
    ['day=0.7,dawn=0.3', 'DOMAIN_NOT_FOUND', 404], ['day=0.7,lowlight:9=0.3', 'VERSION_NOT_FOUND', 404],
    ['day=0.5,lowres=0.5', 'BLEND_PREPROCESSING_DIFFERS', 400]
  ] as const) {
    it(`refuses ${text} by name`, async () => {
      const response = await infer(text)
      assert.deepEqual([response.statusCode, response.json().code], [status, code])
    })
  }

  it('has no place in a path, which pins no version of it either', async () => {
    const path = `/v2/models/traffic-signs@${encodeURIComponent(TEXT)}`
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values })
    for (const response of [
      await service.app.inject({ method: 'POST', url: `${path}/infer`, payload, headers }), await service.app.inject(path),
      await service.app.inject(`${path}/stats`), await infer(TEXT, '/v2/models/traffic-signs/versions/1/infer')
    ]) assert.deepEqual([response.statusCode, response.json().code], [400, 'DOMAIN_REFERENCE_INVALID'])
  })

  it('is kept as a version of a domain, which answers the same, to the bit', async () => {
    const response = await keep({ blend: TEXT, description: 'Between day and lowlight' })
    assert.equal(response.statusCode, 201, response.payload)
    const { digest, ...rest } = response.json()
    assert.deepEqual(rest, { model: 'traffic-signs', domain: 'dusk', version: 1, active: true, blend: NAME })
    assert.equal(response.headers.location, `${URL_DUSK}/versions/1`)
    assert.deepEqual(await logits('dusk'), await logits(TEXT))
    const { description, versions } = (await service.app.inject('/v1/models/traffic-signs/domains/dusk')).json()
    assert.deepEqual([description, versions[0].source, versions[0].digest], ['Between day and lowlight', 'blend', digest])
    const stored = await keep({ blend: TEXT }, { 'if-match': String(response.headers.etag) }, '?activate=false')
    assert.deepEqual([stored.statusCode, stored.json().version, stored.json().active], [201, 2, false])
  })

  it('is not kept where that is wrong', async () => {
    for (const [body, headers, code, status] of [
      [{ blend: TEXT }, { 'if-none-match': '*' }, 'PRECONDITION_FAILED', 412], [{ blend: 'day' }, {}, 'DOMAIN_REFERENCE_INVALID', 400],
      [{ blend: 'day=0.5,lowres=0.5' }, {}, 'BLEND_PREPROCESSING_DIFFERS', 400], [{}, {}, 'REQUEST_INVALID', 400],
      [{ blend: TEXT, more: 1 }, {}, 'REQUEST_INVALID', 400], [{ blend: 'x'.repeat(2000) }, {}, 'REQUEST_INVALID', 400],
      [{ blend: TEXT }, { authorization: 'Bearer wrong' }, 'KEY_UNKNOWN', 401]
    ] as const) {
      const response = await keep(body, { ...headers })
      assert.deepEqual([response.statusCode, response.json().code], [status, code])
    }
  })
})
