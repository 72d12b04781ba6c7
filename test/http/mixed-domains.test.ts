import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { runSeed } from '../support/run-seed.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest, bytesOfTexts, firstOutput, parseAnswer } from '../support/wire.js'

const URL_INFER = '/v2/models/traffic-signs/infer'
const ROW = 3072
const CLASSES = 43

const pixels = Float32Array.from({ length: 8 * ROW }, (_, at) => Math.sin(at * 12.9898) * 2)

describe('rows of several domains in one request', () => {
  let service: Service
  before(async () => { service = await startService({ BANKSWITCH_WORKERS: '2' }) })
  after(() => service.close())

  const post = (payload: Buffer | object, headers: Record<string, string> = {}) => {
    return service.app.inject({ method: 'POST', url: URL_INFER, payload: payload as Buffer, headers })
  }
  const mixed = (domains: readonly string[], headers: Record<string, string> = {}) => {
    const names = bytesOfTexts(domains)
    const rows = Buffer.from(pixels.buffer, 0, domains.length * ROW * 4)
    const header = Buffer.from(JSON.stringify({
      inputs: [
        { name: '__domain__', shape: [domains.length], datatype: 'BYTES', parameters: { binary_data_size: names.length } },
        { name: 'input', shape: [domains.length, 3, 32, 32], datatype: 'FP32', parameters: { binary_data_size: rows.length } }
      ],
      parameters: { binary_data_output: true }
    }))
    return post(Buffer.concat([header, names, rows]), { 'inference-header-content-length': String(header.length), ...headers })
  }
  const alone = async (domain: string, row: number) => {
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: pixels.subarray(row * ROW, (row + 1) * ROW) })
    return firstOutput(parseAnswer(await post(payload, { ...headers, 'x-domain': domain })))
  }

  it('each row is answered by its own bank, in order, bit for bit as alone', async () => {
    const domain = fc.constantFrom('day', 'fog', 'lowlight', 'fog:1', '')
    await fc.assert(fc.asyncProperty(fc.array(domain, { minLength: 1, maxLength: 8 }), async (domains) => {
      const response = await mixed(domains, { 'x-domain': 'lowres' })
      assert.equal(response.statusCode, 200, response.payload)
      const logits = firstOutput(parseAnswer(response))
      for (const [row, name] of domains.entries()) {
        assert.deepEqual(logits.slice(row * CLASSES, (row + 1) * CLASSES), await alone(name === '' ? 'lowres' : name, row), `row ${row}`)
      }
    }), { seed: runSeed, numRuns: 20 })
  })

  it('says who answered', async () => {
    const response = await mixed(['fog', 'day', 'fog'])
    const { json } = parseAnswer(response)
    assert.equal(response.headers['x-domain'], 'fog,day')
    assert.equal(response.headers['x-domain-version'], '1,1')
    assert.equal(json.parameters.domain, 'fog,day')
    assert.equal(json.parameters.domain_version, '1,1')
    assert.equal(json.parameters.bank_digest.split(',').length, 2)
    assert.equal(json.model_version, undefined)
    const same = parseAnswer(await mixed(['fog', 'fog'])).json
    assert.equal(same.parameters.domain_version, 1)
    assert.equal(same.model_version, '1')
  })

  it('takes the domains as JSON', async () => {
    const data = Array.from(pixels.subarray(0, 2 * ROW))
    const response = await post({
      inputs: [
        { name: 'input', shape: [2, 3, 32, 32], datatype: 'FP32', data },
        { name: '__domain__', shape: [2], datatype: 'BYTES', data: ['fog', 'day'] }
      ]
    })
    assert.deepEqual(Float32Array.from(response.json().outputs[0].data).slice(0, CLASSES), await alone('fog', 0))
  })

  it('refuses what does not fit, whole', async () => {
    const image = { name: 'input', shape: [2, 3, 32, 32], datatype: 'FP32', data: Array(2 * ROW).fill(0) }
    const cases: Array<[code: string, domains: object]> = [
      ['INPUT_SHAPE_MISMATCH', { shape: [1], datatype: 'BYTES', data: ['fog'] }],
      ['INPUT_SHAPE_MISMATCH', { shape: [3], datatype: 'BYTES', data: ['fog', 'fog', 'fog'] }],
      ['PROTOCOL_INVALID', { shape: [2, 1], datatype: 'BYTES', data: ['fog', 'fog'] }],
      ['PROTOCOL_INVALID', { shape: [2], datatype: 'INT32', data: [1, 2] }],
      ['DOMAIN_NOT_FOUND', { shape: [2], datatype: 'BYTES', data: ['fog', 'dusk'] }],
      ['VERSION_NOT_FOUND', { shape: [2], datatype: 'BYTES', data: ['fog', 'fog:7'] }],
      ['DOMAIN_REFERENCE_INVALID', { shape: [2], datatype: 'BYTES', data: ['fog', '../fog'] }]
    ]
    for (const [code, domains] of cases) {
      const response = await post({ inputs: [image, { name: '__domain__', ...domains }] })
      assert.equal(response.json().code, code)
    }
  })

  it('refuses more versions than one request may use', async () => {
    const { rawPayload } = await service.app.inject({ url: '/admin/models/traffic-signs/domains/fog/versions/1', headers: ADMIN })
    const names = Array.from({ length: 65 }, (_, at) => `many-${at}`)
    for (const name of names) {
      const { statusCode } = await service.app.inject({
        method: 'PUT',
        url: `/admin/models/traffic-signs/domains/${name}`,
        payload: rawPayload,
        headers: { ...ADMIN, 'content-type': 'application/octet-stream' }
      })
      assert.equal(statusCode, 201)
    }
    const ask = async (domains: string[]) => {
      const values = new Float32Array(domains.length * 3 * 8 * 8)
      const bytes = Buffer.from(values.buffer)
      const header = Buffer.from(JSON.stringify({
        inputs: [
          { name: '__domain__', shape: [domains.length], datatype: 'BYTES', data: domains },
          { name: 'input', shape: [domains.length, 3, 8, 8], datatype: 'FP32', parameters: { binary_data_size: bytes.length } }
        ]
      }))
      return await post(Buffer.concat([header, bytes]), { 'inference-header-content-length': String(header.length) })
    }
    assert.equal((await ask(names)).json().code, 'REQUEST_TOO_MANY_VERSIONS')
    assert.equal((await ask(names.slice(1))).statusCode, 200)
  })
})
