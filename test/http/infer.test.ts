import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { runtimeErrors } from '#src/runtime/errors.js'
import { readGolden, SIGN_DOMAINS, type GoldenTensor } from '../support/golden.js'
import { startService, type Service } from '../support/service.js'
import { binaryRequest, firstOutput, parseAnswer, type WireTensor } from '../support/wire.js'

const URL_INFER = '/v2/models/traffic-signs/infer'

/**
 * Logits are around 10; float32 convolutions summed in another order differ by some 1e-6 of that, and 1e-4 is what the
 * service promises.
 */
const LOGIT_TOLERANCE = 1e-4

describe('POST /v2/models/{model}/infer', () => {
  let service: Service
  let golden: Map<string, GoldenTensor>
  const inputsOf = (domain: string): WireTensor => {
    const { shape, values } = golden.get(`${domain}.inputs`)!
    return { shape, values: values as Float32Array }
  }
  const post = (payload: string | Buffer | object, headers: Record<string, string> = {}, url = URL_INFER) => {
    return service.app.inject({ method: 'POST', url, payload: payload as Buffer, headers })
  }
  const infer = async (domain: string, tensor = inputsOf(domain)) => {
    const { payload, headers } = binaryRequest(tensor)
    return await post(payload, { ...headers, 'x-domain': domain })
  }

  before(async () => {
    golden = await readGolden()
    service = await startService({ BANKSWITCH_WORKERS: '2' })
  })
  after(() => service.close())

  for (const domain of SIGN_DOMAINS) {
    it(`gives PyTorch's logits for ${domain}`, async () => {
      const response = await infer(domain)
      assert.equal(response.statusCode, 200)
      const logits = firstOutput(parseAnswer(response))
      const expected = golden.get(`${domain}.logits`)!
      assert.equal(logits.length, expected.values.length)
      const worst = Math.max(...logits.map((value, at) => Math.abs(value - expected.values[at]!)))
      assert.ok(worst <= LOGIT_TOLERANCE, `off by ${worst}`)
      const [rows, classes] = expected.shape as [number, number]
      for (let row = 0; row < rows; row++) {
        const best = (values: ArrayLike<number>) => {
          const slice = Array.from(values).slice(row * classes, (row + 1) * classes)
          return slice.indexOf(Math.max(...slice))
        }
        assert.equal(best(logits), best(expected.values), `arg-max of row ${row}`)
      }
    })
  }

  it('says which bank answered, in the body and in headers', async () => {
    const response = await infer('fog')
    const { json } = parseAnswer(response)
    assert.equal(json.model_name, 'traffic-signs')
    assert.equal(json.model_version, '1')
    assert.equal(json.parameters.domain, 'fog')
    assert.equal(json.parameters.domain_version, 1)
    assert.equal(response.headers['x-domain'], 'fog')
    assert.equal(response.headers['x-domain-version'], '1')
    assert.match(String(response.headers['server-timing']), /^read;dur=[\d.]+, decode;dur=[\d.]+, queue;dur=[\d.]+, infer;dur=[\d.]+, encode;dur=[\d.]+$/)
    assert.equal(response.headers['content-type'], 'application/octet-stream')
    assert.match(String(response.headers['x-request-id']), /^[0-9a-f-]{36}$/)
  })

  it('answers JSON with the same numbers as binary', async () => {
    const { shape, values } = inputsOf('day')
    const row = Array.from(values.slice(0, 3 * 32 * 32))
    const inputs = [{ name: 'input', shape: [1, ...shape.slice(1)], datatype: 'FP32', data: row }]
    const response = await post({ id: 'r1', model_name: 'ignored', inputs })
    assert.equal(response.statusCode, 200)
    assert.equal(response.headers['content-type'], 'application/json')
    const body = response.json()
    assert.equal(body.id, 'r1')
    assert.deepEqual(body.outputs[0].shape, [1, 43])
    assert.equal(body.outputs[0].datatype, 'FP32')
    const whole = firstOutput(parseAnswer(await infer('day')))
    assert.deepEqual(Float32Array.from(body.outputs[0].data), whole.slice(0, 43))
  })

  it('takes nested data, and outputs by name in JSON or binary', async () => {
    const plane = Array.from({ length: 16 }, () => Array(16).fill(0.5))
    const data = [[plane, plane, plane]]
    const inputs = [{ name: 'input', shape: [1, 3, 16, 16], datatype: 'FP32', data }]
    const json = await post({ inputs, outputs: [{ name: 'logits' }], parameters: { domain: 'lowres' } })
    assert.equal(json.json().outputs[0].data.length, 43)
    assert.equal(json.headers['x-domain'], 'lowres')
    const binary = parseAnswer(await post({ inputs, outputs: [{ name: 'logits', parameters: { binary_data: true } }] }))
    assert.equal(binary.binary.length, 43 * 4)
    const explicit = parseAnswer(await post({
      inputs,
      outputs: [{ name: 'logits', parameters: { binary_data: false } }],
      parameters: { binary_data_output: true }
    }))
    assert.equal(explicit.binary.length, 0)
    assert.equal(explicit.json.outputs[0].data.length, 43)
  })

  it('takes the domain from the header before the body before the path before the default', async () => {
    const zeros = { shape: [1, 3, 32, 32], values: new Float32Array(3072) }
    const domainOf = async (url: string, header?: string, parameter?: string) => {
      const parameters = { binary_data_output: true, ...(parameter === undefined ? {} : { domain: parameter }) }
      const { payload, headers } = binaryRequest(zeros, { parameters })
      const response = await post(payload, header === undefined ? headers : { ...headers, 'x-domain': header }, url)
      assert.equal(response.statusCode, 200, response.payload)
      return response.headers['x-domain']
    }
    const pathed = '/v2/models/traffic-signs@lowlight/infer'
    assert.equal(await domainOf(pathed, 'fog', 'lowres'), 'fog')
    assert.equal(await domainOf(pathed, undefined, 'lowres'), 'lowres')
    assert.equal(await domainOf(pathed), 'lowlight')
    assert.equal(await domainOf(URL_INFER), 'day')
    assert.equal(await domainOf(URL_INFER, 'fog:1'), 'fog')
    assert.equal(await domainOf(URL_INFER, 'fog:active'), 'fog')
    assert.equal(await domainOf('/v2/models/traffic-signs@fog/versions/1/infer'), 'fog')
  })

  it('gives the same bytes whether domains alternate, mix or come alone', async () => {
    const alone = new Map<string, Buffer>()
    for (const domain of SIGN_DOMAINS) alone.set(domain, parseAnswer(await infer(domain)).binary)
    for (let round = 0; round < 50; round++) {
      for (const domain of ['day', 'lowlight']) {
        assert.ok(parseAnswer(await infer(domain)).binary.equals(alone.get(domain)!), `${domain} in round ${round}`)
      }
    }
    const mixed = await Promise.all(Array.from({ length: 80 }, async (_, at) => {
      const domain = SIGN_DOMAINS[(at * 7) % 4]!
      return parseAnswer(await infer(domain)).binary.equals(alone.get(domain)!)
    }))
    assert.ok(mixed.every(Boolean))
  })

  it('answers a size that no domain has as it answers others', async () => {
    const side = 20
    const row = Float32Array.from({ length: 3 * side * side }, (_, at) => Math.sin(at))
    const alone = firstOutput(parseAnswer(await infer('day', { shape: [1, 3, side, side], values: row })))
    assert.equal(alone.length, 43)
    const many = await infer('day', { shape: [5, 3, side, side], values: Float32Array.from({ length: 5 * row.length }, (_, at) => row[at % row.length]!) })
    assert.deepEqual(firstOutput(parseAnswer(many)), Float32Array.from({ length: 5 * 43 }, (_, at) => alone[at % 43]!))
  })

  it('answers many rows in order, whatever shares a run', async () => {
    const { values } = inputsOf('day')
    const rows = 50
    const many = new Float32Array(rows * 3072)
    for (let row = 0; row < rows; row++) many.set(values.subarray((row % 8) * 3072, (row % 8 + 1) * 3072), row * 3072)
    const once = firstOutput(parseAnswer(await infer('day')))
    const response = await infer('day', { shape: [rows, 3, 32, 32], values: many })
    const logits = firstOutput(parseAnswer(response))
    for (let row = 0; row < rows; row++) {
      assert.deepEqual(logits.slice(row * 43, (row + 1) * 43), once.slice((row % 8) * 43, (row % 8 + 1) * 43))
    }
  })

  describe('refuses', () => {
    const one = { name: 'input', shape: [1, 3, 32, 32], datatype: 'FP32' }
    const zeros = Array(3072).fill(0)
    const binary = (size: number) => ({ ...one, parameters: { binary_data_size: size } })
    const framed = (json: object, bytes: number, headerLength?: string) => {
      const header = Buffer.from(JSON.stringify(json))
      return [Buffer.concat([header, Buffer.alloc(bytes)]), {
        'inference-header-content-length': headerLength ?? String(header.length)
      }] as const
    }
    const cases: Array<[name: string, code: string, status: number, request: () => ReturnType<typeof post>]> = [
      ['an unknown model', 'MODEL_NOT_FOUND', 404, () => post({}, {}, '/v2/models/nothing/infer')],
      ['an unknown domain', 'DOMAIN_NOT_FOUND', 404, () => post({ inputs: [{ ...one, data: zeros }] }, { 'x-domain': 'dusk' })],
      ['an unknown version', 'VERSION_NOT_FOUND', 404, () => post({ inputs: [{ ...one, data: zeros }] }, { 'x-domain': 'fog:99' })],
      ['a reference that is none', 'DOMAIN_REFERENCE_INVALID', 400, () => post({ inputs: [{ ...one, data: zeros }] }, { 'x-domain': '../etc' })],
      ['two pins that differ', 'DOMAIN_REFERENCE_INVALID', 400, () => {
        return post({ inputs: [{ ...one, data: zeros }] }, { 'x-domain': 'fog:1' }, '/v2/models/traffic-signs/versions/2/infer')
      }],
      ['a wrong rank', 'INPUT_SHAPE_MISMATCH', 400, () => post({ inputs: [{ ...one, shape: [3, 32, 32], data: zeros }] })],
      ['a wrong channel count', 'INPUT_SHAPE_MISMATCH', 400, () => post({ inputs: [{ ...one, shape: [3, 1, 32, 32], data: zeros }] })],
      ['an empty batch', 'INPUT_SHAPE_MISMATCH', 400, () => post({ inputs: [{ ...one, shape: [0, 3, 32, 32], data: [] }] })],
      ['a wrong datatype', 'INPUT_DATATYPE_MISMATCH', 400, () => post({ inputs: [{ ...one, datatype: 'FP64', data: zeros }] })],
      ['an unknown datatype', 'PROTOCOL_INVALID', 400, () => post({ inputs: [{ ...one, datatype: 'FP8', data: zeros }] })],
      ['an unknown input', 'INPUT_UNKNOWN', 400, () => post({ inputs: [{ ...one, name: 'image', data: zeros }] })],
      ['an unknown output', 'OUTPUT_UNKNOWN', 400, () => post({ inputs: [{ ...one, data: zeros }], outputs: [{ name: 'x' }] })],
      ['an output twice', 'PROTOCOL_INVALID', 400, () => {
        return post({ inputs: [{ ...one, data: zeros }], outputs: [{ name: 'logits' }, { name: 'logits' }] })
      }],
      ['an object among the numbers', 'PROTOCOL_INVALID', 400, () => {
        return post({ inputs: [{ ...one, data: [{ toString: 1 }, ...zeros.slice(1)] }] })
      }],
      ['too few values', 'PROTOCOL_INVALID', 400, () => post({ inputs: [{ ...one, data: zeros.slice(1) }] })],
      ['text among the numbers', 'PROTOCOL_INVALID', 400, () => post({ inputs: [{ ...one, data: ['a', ...zeros.slice(1)] }] })],
      ['an input twice', 'PROTOCOL_INVALID', 400, () => post({ inputs: [{ ...one, data: zeros }, { ...one, data: zeros }] })],
      ['neither data nor size', 'PROTOCOL_INVALID', 400, () => post({ inputs: [one] })],
      ['both data and size', 'PROTOCOL_INVALID', 400, () => post(...framed({ inputs: [{ ...binary(12288), data: zeros }] }, 12288))],
      ['no inputs', 'PROTOCOL_INVALID', 400, () => post({ inputs: [] })],
      ['no JSON', 'PROTOCOL_INVALID', 400, () => post('{"inputs":[')],
      ['an empty body', 'PROTOCOL_INVALID', 400, () => post('')],
      ['shared memory', 'PROTOCOL_UNSUPPORTED', 501, () => post({ inputs: [{ ...one, parameters: { shared_memory_region: 'r' } }] })],
      ['a truncated tensor', 'PROTOCOL_INVALID', 400, () => post(...framed({ inputs: [binary(12288)] }, 12287))],
      ['surplus bytes', 'PROTOCOL_INVALID', 400, () => post(...framed({ inputs: [binary(12288)] }, 12289))],
      ['a size that is not the shape\'s', 'PROTOCOL_INVALID', 400, () => post(...framed({ inputs: [binary(12284)] }, 12284))],
      ['a binary input without the header', 'PROTOCOL_INVALID', 400, () => post({ inputs: [binary(12288)] })],
      ['a header length beyond the body', 'PROTOCOL_INVALID', 400, () => post(...framed({ inputs: [binary(12288)] }, 12288, '99999'))],
      ['a header length that is no number', 'PROTOCOL_INVALID', 400, () => post(...framed({ inputs: [binary(12288)] }, 12288, '-1'))]
    ]
    for (const [name, code, status, request] of cases) {
      it(`${name}, and serves the next request`, async () => {
        const response = await request()
        const body = response.json()
        assert.equal(response.statusCode, status, response.payload)
        assert.equal(body.code, code)
        assert.equal(typeof body.error, 'string')
        assert.equal(body.requestId, response.headers['x-request-id'])
        assert.equal(response.headers['content-type'], 'application/json')
        assert.equal((await infer('day')).statusCode, 200)
      })
    }

    it('an unknown domain by naming the known ones', async () => {
      const response = await post({ inputs: [{ ...one, data: zeros }] }, { 'x-domain': 'dusk' })
      assert.deepEqual(response.json().details.expected.toSorted(), [...SIGN_DOMAINS].sort())
      assert.match(response.json().error, /fog/)
    })

    it('a body over the limit', async () => {
      const small = await startService({ BANKSWITCH_BODY_BYTES: '4096' })
      try {
        const response = await small.app.inject({ method: 'POST', url: URL_INFER, payload: Buffer.alloc(5000) })
        assert.equal(response.statusCode, 413)
        assert.equal(response.json().code, 'REQUEST_TOO_LARGE')
      } finally {
        await small.close()
      }
    })

    it('before the body is sent, when the queue has no room', async (t) => {
      const full = () => { throw runtimeErrors.QUEUE_FULL('full') }
      t.mock.method(service.engine.answering, 'requireRoom', full)
      await service.app.listen({ port: 0, host: '127.0.0.1' })
      const { port } = service.app.server.address() as AddressInfo
      for (const path of [URL_INFER, '/v1/models/traffic-signs/predict']) {
        const socket = connect(port, '127.0.0.1')
        socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\n`)
        const [answer] = await once(socket, 'data') as [Buffer]
        socket.destroy()
        assert.match(answer.toString(), /^HTTP\/1.1 429 /)
        assert.match(answer.toString(), /retry-after: 1\r\n/)
      }
    })

    it('more than the queue holds with 429 and Retry-After, and answers the rest', async () => {
      const small = await startService({ BANKSWITCH_QUEUE_ROWS: '2' })
      try {
        const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) })
        const responses = await Promise.all(Array.from({ length: 40 }, () => {
          return small.app.inject({ method: 'POST', url: URL_INFER, payload, headers })
        }))
        const statuses = new Set(responses.map(({ statusCode }) => statusCode))
        assert.deepEqual(statuses, new Set([200, 429]))
        const refused = responses.find(({ statusCode }) => statusCode === 429)!
        assert.equal(refused.json().code, 'QUEUE_FULL')
        assert.ok(Number(refused.headers['retry-after']) >= 1)
      } finally {
        await small.close()
      }
    })
  })
})
