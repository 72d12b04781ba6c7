/** X-Domain: auto through HTTP, over the shipped model and its signatures. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { bytesOf } from '#src/base/bytes.js'
import { parseSafetensors, serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { parseSignatures } from '#src/signature/file-parts.js'
import { ROOT } from '../support/folders.js'
import { formOf } from '../support/form.js'
import { seededNormal } from '../support/random.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest, parseAnswer } from '../support/wire.js'

const URL_INFER = '/v2/models/traffic-signs/infer'
const URL_PREDICT = '/v1/models/traffic-signs/predict'
const ROW = 3072
const SAMPLES = join(ROOT, 'models/traffic-signs/samples')

const normal = seededNormal(5)
/** What no domain looks like. */
const noise = Float32Array.from({ length: ROW }, () => 3 * normal())

describe('X-Domain: auto', () => {
  let service: Service
  before(async () => { service = await startService() })
  after(() => service.close())

  const infer = (values: Float32Array, headers: Record<string, string> = { 'x-domain': 'auto' }) => {
    const request = binaryRequest({ shape: [values.length / ROW, 3, 32, 32], values })
    return service.app.inject({ method: 'POST', url: URL_INFER, payload: request.payload, headers: { ...request.headers, ...headers } })
  }
  const predict = async (name: string, headers: Record<string, string> = {}) => service.app.inject({
    method: 'POST',
    url: URL_PREDICT,
    payload: await readFile(join(SAMPLES, name)),
    headers: { 'content-type': 'image/png', 'x-domain': 'auto', ...headers }
  })

  it('finds the domains of the samples, lowres by its size', async () => {
    for (const name of await readdir(SAMPLES)) {
      const response = await predict(name)
      assert.equal(response.statusCode, 200, response.payload)
      const { domain, recognised } = response.json()
      assert.equal(domain, name.split('-')[0], name)
      assert.equal(recognised.nearest, domain)
      assert.equal(response.headers['x-domain'], domain)
      assert.equal(response.headers['x-domain-fit'], 'good')
      assert.ok(Number(response.headers['x-domain-p']) > 0 && Number(response.headers['x-domain-p']) <= 1)
      assert.equal(recognised.runnerUp === undefined, domain === 'lowres')
    }
  })

  it('gives the answer of the domain that it found', async () => {
    const found = (await predict('fog-slippery-road.png')).json()
    const named = (await predict('fog-slippery-road.png', { 'x-domain': 'fog' })).json()
    assert.deepEqual(found.predictions, named.predictions)
    assert.equal(named.recognised, undefined)
  })

  it('answers what is no picture from the default domain, and says so', async () => {
    for (const values of [noise, new Float32Array(ROW).fill(1e30), new Float32Array(ROW).fill(NaN), new Float32Array(ROW).fill(0.3)]) {
      const response = await infer(values)
      assert.equal(response.statusCode, 200, response.payload)
      assert.equal(response.headers['x-domain-fit'], 'none')
      assert.equal(response.headers['x-domain'], 'day')
      const { json: { parameters } } = parseAnswer(response)
      assert.equal(parameters.domain_fit, 'none')
      assert.ok(Number(parameters.domain_p) > 0)
    }
  })

  it('chooses row by row, and lists what it chose', async () => {
    const response = await infer(Float32Array.from([...noise, ...noise]))
    const { json: { parameters } } = parseAnswer(response)
    assert.equal(parameters.domain_of_rows, 'day,day')
    assert.equal(response.headers['x-domain-fit'], 'none')
    assert.equal(response.headers['x-domain-p'], undefined)
  })

  it('takes a body that is nothing but the tensor, and auto in the path', async () => {
    const response = await service.app.inject({
      method: 'POST',
      url: '/v2/models/traffic-signs@auto/infer',
      payload: Buffer.from(noise.buffer),
      headers: { 'inference-header-content-length': '0', 'content-type': 'application/octet-stream' }
    })
    assert.equal(response.statusCode, 200, response.payload)
    assert.equal(response.headers['x-domain-fit'], 'none')
  })

  it('refuses a stream without a name, and a domain of that name', async () => {
    assert.equal((await infer(noise, { 'x-domain': 'auto', 'x-stream': '../..' })).json().code, 'REQUEST_INVALID')
    const bank = await service.app.inject({ url: '/admin/models/traffic-signs/domains/fog/versions/1', headers: ADMIN })
    const response = await service.app.inject({
      method: 'PUT',
      url: '/admin/models/traffic-signs/domains/auto',
      payload: bank.rawPayload,
      headers: { ...ADMIN, 'content-type': 'application/octet-stream' }
    })
    assert.deepEqual([response.statusCode, response.json().code], [400, 'DOMAIN_NAME_RESERVED'])
  })

  it('takes the signature of a bank that is registered, and refuses a malformed one', async () => {
    const bank = await service.app.inject({ url: '/admin/models/traffic-signs/domains/fog/versions/1', headers: ADMIN })
    const put = (payload: Uint8Array) => service.app.inject({
      method: 'PUT',
      url: '/admin/models/traffic-signs/domains/mist?activate=false',
      payload: Buffer.from(payload),
      headers: { ...ADMIN, 'content-type': 'application/octet-stream' }
    })
    const response = await put(bank.rawPayload)
    assert.equal(response.statusCode, 201, response.payload)
    assert.equal(response.json().ignored, undefined)
    const stored = await service.app.inject({ url: '/admin/models/traffic-signs/domains/mist/versions/1', headers: ADMIN })
    assert.equal(parseSignatures(parseSafetensors(stored.rawPayload)).length, 1)
    const malformed = Buffer.from(bank.rawPayload.toString('latin1').replace('\\"images\\":4', '\\"images\\":9'), 'latin1')
    assert.equal((await put(malformed)).json().code, 'SIGNATURE_INVALID')
  })

  it('learns a domain that has no signature from pictures of it, keeping its bank', async () => {
    const bank = await service.app.inject({ url: '/admin/models/traffic-signs/domains/fog/versions/1', headers: ADMIN })
    const { tensors, metadata } = parseSafetensors(bank.rawPayload)
    const plain = serializeSafetensors(
      [...tensors].filter(([name]) => !name.startsWith('bankswitch.')).map(([name, { shape, bytes }]) => ({ name, dtype: 'F32' as const, shape, bytes })),
      new Map([...metadata].filter(([key]) => key !== 'bankswitch.signatures'))
    )
    const made = await service.app.inject({
      method: 'PUT',
      url: '/admin/models/traffic-signs/domains/snow',
      payload: Buffer.from(plain),
      headers: { ...ADMIN, 'content-type': 'application/octet-stream' }
    })
    const { digest } = made.json()
    const rows = 64
    const images = Float32Array.from({ length: rows * ROW }, () => 3 * normal())
    const form = formOf({ mode: 'signature' }, [{
      field: 'tensors',
      name: 'snow.safetensors',
      bytes: serializeSafetensors([{ name: 'input', dtype: 'F32', shape: [rows, 3, 32, 32], bytes: bytesOf(images) }], new Map())
    }])
    const started = await service.app.inject({
      method: 'POST', url: '/admin/models/traffic-signs/domains/snow/calibrations', payload: form.payload, headers: { ...ADMIN, ...form.headers }
    })
    assert.equal(started.statusCode, 202, started.payload)
    const { state, result, error } = await service.engine.calibrations.ended(started.json().id) as { state: string, result: any, error: unknown }
    assert.equal(state, 'succeeded', JSON.stringify(error))
    assert.deepEqual([result.version, result.digest, result.active, result.hasSignature], [2, digest, true, true])
    const response = await infer(noise)
    assert.equal(response.headers['x-domain'], 'snow')
    assert.equal(response.headers['x-domain-fit'], 'good')
  })
})
