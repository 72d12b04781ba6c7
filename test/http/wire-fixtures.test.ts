/**
 * The exact bytes of the protocol's Python clients, over a real connection: tritonclient.http sends no Content-Type,
 * lower-case headers and no body at all where it has none.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import { ADMIN, startService, type Service } from '../support/service.js'

const M = '/v2/models/traffic-signs'
const BINARY_INPUT = '{"inputs":[{"name":"input","shape":[1,3,32,32],"datatype":"FP32","parameters":{"binary_data_size":12288}}]'
/** What the client sends unless told otherwise. */
const DEFAULT = `${BINARY_INPUT},"parameters":{"binary_data_output":true}}`

const pixels = Buffer.from(Float32Array.from({ length: 3072 }, (_, at) => Math.sin(at)).buffer)

interface Answer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

describe('wire fixtures', () => {
  let service: Service
  let port: number
  before(async () => {
    service = await startService({ BANKSWITCH_COMPRESS_BYTES: '100' })
    await service.app.listen({ port: 0, host: '127.0.0.1' })
    port = (service.app.server.address() as AddressInfo).port
  })
  after(() => service.close())

  /** Sends the bytes as they are; the server is asked to close, so the answer ends with the connection. */
  const exchange = async (head: string[], body: Buffer = Buffer.alloc(0)): Promise<Answer> => {
    const socket = connect(port, '127.0.0.1')
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    const [first, ...rest] = head
    socket.write(Buffer.concat([Buffer.from([first, 'host: localhost', 'connection: close', ...rest, '', ''].join('\r\n')), body]))
    await once(socket, 'close')
    const all = Buffer.concat(chunks)
    const end = all.indexOf('\r\n\r\n')
    const [status, ...lines] = all.subarray(0, end).toString().split('\r\n')
    const headers = Object.fromEntries(lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }))
    return { status: Number(status!.split(' ')[1]), headers, body: all.subarray(end + 4) }
  }
  const get = (path: string) => exchange([`GET ${path} HTTP/1.1`, 'user-agent: Python-geventhttpclient-2.0.8'])
  const json = ({ body }: Answer) => JSON.parse(body.toString())
  const post = (path: string, body?: Buffer | string, headers: string[] = []) => {
    const bytes = body === undefined ? undefined : Buffer.from(body)
    const length = bytes === undefined ? [] : [`content-length: ${bytes.length}`]
    return exchange([`POST ${path} HTTP/1.1`, ...length, ...headers], bytes)
  }
  const infer = (header: string, tensors: Buffer, headers: string[] = [], path = `${M}/infer`) => {
    return post(path, Buffer.concat([Buffer.from(header), tensors]), [`inference-header-content-length: ${header.length}`, ...headers])
  }
  const outputOf = (answer: Answer) => {
    const length = Number(answer.headers['inference-header-content-length'])
    return { json: JSON.parse(answer.body.subarray(0, length).toString()), tensor: answer.body.subarray(length) }
  }
  const key = `authorization: ${ADMIN.authorization}`

  describe('GET', () => {
    it('/v2 and /v2/', async () => {
      for (const path of ['/v2', '/v2/']) {
        const answer = await get(path)
        assert.equal(answer.status, 200)
        assert.equal(answer.headers['content-type'], 'application/json')
        const { name, version, extensions } = json(answer)
        assert.equal(name, 'bankswitch')
        assert.equal(version, '0.0.0-test')
        for (const extension of ['binary_tensor_data', 'classification', 'model_repository', 'statistics', 'model_configuration']) {
          assert.ok(extensions.includes(extension), extension)
        }
      }
    })

    it('health: bodies that every client reads', async () => {
      assert.deepEqual(json(await get('/v2/health/live')), { live: true })
      assert.deepEqual(json(await get('/v2/health/ready')), { live: true, ready: true })
    })

    it('health: 503 while a model is not ready', async (t) => {
      t.mock.getter(service.engine, 'isReady', () => false)
      const answer = await get('/v2/health/ready')
      assert.equal(answer.status, 503)
      assert.equal(typeof json(answer).error, 'string')
    })

    it('model metadata, by name, domain and version; the bank is hidden', async () => {
      for (const [path, name] of [[M, 'traffic-signs'], [`${M}/versions/1`, 'traffic-signs'], [`${M}@fog`, 'traffic-signs@fog']] as const) {
        assert.deepEqual(json(await get(path)), {
          name,
          versions: ['1'],
          platform: 'onnx_onnxv1',
          inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 3, -1, -1] }],
          outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, 43] }]
        })
      }
      assert.deepEqual(json(await get('/v2/models')), { models: ['traffic-signs'] })
    })

    it('ready: 200 or 404 with the message under error', async () => {
      assert.deepEqual(json(await get(`${M}/ready`)), { name: 'traffic-signs', ready: true })
      assert.deepEqual(json(await get(`${M}@fog/versions/1/ready`)), { name: 'traffic-signs@fog', ready: true })
      for (const path of ['/v2/models/x/ready', `${M}@dusk/ready`, `${M}@fog/versions/9/ready`]) {
        const answer = await get(path)
        assert.equal(answer.status, 404, path)
        assert.match(json(answer).error, /has no|is no/)
        assert.equal(answer.headers['content-type'], 'application/json')
      }
      assert.equal((await get(`${M}/versions/v10/ready`)).status, 404, 'a label that nobody has set')
      assert.equal((await get(`${M}/versions/1.5/ready`)).status, 400)
    })

    it('configuration without the batch axis', async () => {
      assert.deepEqual(json(await get(`${M}/config`)), {
        name: 'traffic-signs',
        platform: 'onnx_onnxv1',
        backend: 'onnxruntime',
        max_batch_size: 1024,
        input: [{ name: 'input', data_type: 'TYPE_FP32', dims: [3, -1, -1] }],
        output: [{ name: 'logits', data_type: 'TYPE_FP32', dims: [43] }]
      })
      assert.equal((await get(`${M}/versions/1/config`)).status, 200)
    })
  })

  describe('statistics', () => {
    it('count requests, rows, runs and failures of a version', async () => {
      const path = `${M}@lowlight/versions/1/stats`
      const [before] = json(await get(path)).model_stats
      assert.equal(before.inference_count, 0)
      assert.equal(before.last_inference, 0)
      const two = BINARY_INPUT.replace('[1,3', '[2,3').replace('12288', '24576') + '}'
      assert.equal((await infer(two, Buffer.concat([pixels, pixels]), ['x-domain: lowlight'])).status, 200)
      const late = `${BINARY_INPUT},"parameters":{"timeout":1}}`
      const waiting = [1, 2, 3, 4, 5, 6, 7, 8].map(() => infer(late, pixels, ['x-domain: lowlight']))
      const failed = (await Promise.all(waiting)).filter(({ status }) => status === 504).length
      const [after] = json(await get(path)).model_stats
      assert.equal(after.name, 'traffic-signs@lowlight')
      assert.equal(after.version, '1')
      assert.equal(after.inference_count, 2 + 8 - failed)
      assert.ok(after.execution_count >= 1 && after.execution_count <= 9 - failed)
      assert.ok(after.last_inference > 1.7e12)
      const { success, fail, queue, compute_infer: run } = after.inference_stats
      assert.equal(success.count, 9 - failed)
      assert.ok(fail.count <= failed)
      assert.ok(run.ns > 0 && queue.ns > 0 && success.ns >= run.ns + queue.ns)
      assert.ok(after.batch_stats.some(({ batch_size: rows }: { batch_size: number }) => rows === 2))
    })

    it('of all, of a model, of a domain', async () => {
      const all = json(await get('/v2/models/stats')).model_stats
      const names = all.map(({ name }: { name: string }) => name)
      assert.deepEqual(names.slice(0, 2), ['traffic-signs', 'traffic-signs@day'])
      const counts = all.map(({ inference_count: count }: { inference_count: number }) => count)
      assert.equal(counts[0], counts.slice(1).reduce((sum: number, count: number) => sum + count, 0))
      const [signs] = json(await get(`${M}/stats`)).model_stats
      assert.equal(signs.version, '1')
      assert.equal(json(await get(`${M}@fog/stats`)).model_stats.length, 1)
      assert.equal((await get('/v2/models/x/stats')).status, 404)
    })
  })

  describe('infer', () => {
    it('the default request of tritonclient, without Content-Type: a binary answer', async () => {
      const answer = await infer(DEFAULT, pixels, ['x-domain: fog'])
      assert.equal(answer.status, 200)
      assert.equal(answer.headers['content-type'], 'application/octet-stream')
      const { json: header, tensor } = outputOf(answer)
      assert.equal(header.model_name, 'traffic-signs')
      assert.equal(header.model_version, '1')
      assert.deepEqual(header.outputs, [{ name: 'logits', datatype: 'FP32', shape: [1, 43], parameters: { binary_data_size: 172 } }])
      assert.equal(tensor.length, 172)
    })

    it('explicit outputs, JSON or binary; the request\'s own flag counts for outputs that say nothing', async () => {
      const outputs = (parameters: string) => `"outputs":[{"name":"logits"${parameters}}]`
      const plain = await infer(`${BINARY_INPUT},${outputs(',"parameters":{"binary_data":false}')}}`, pixels)
      assert.equal(plain.headers['content-type'], 'application/json')
      assert.equal(plain.headers['inference-header-content-length'], undefined)
      assert.equal(json(plain).outputs[0].data.length, 43)
      const binary = await infer(`${BINARY_INPUT},${outputs(',"parameters":{"binary_data":true}')}}`, pixels)
      assert.equal(outputOf(binary).tensor.length, 172)
      const inherited = await infer(`${BINARY_INPUT},${outputs('')},"parameters":{"binary_data_output":true}}`, pixels)
      assert.equal(outputOf(inherited).tensor.length, 172)
      const silent = await infer(`${BINARY_INPUT},${outputs('')}}`, pixels)
      assert.equal(json(silent).outputs[0].data.length, 43)
    })

    it('JSON inputs, no header, a binary answer asked for; as KServe sends it, with model_name and id', async () => {
      const data = `[${Array(3072).fill(0.5).join(',')}]`
      const input = `"inputs":[{"name":"input","shape":[1,3,32,32],"datatype":"FP32","data":${data}}]`
      const mixed = await post(`${M}/infer`, `{${input},"parameters":{"binary_data_output":true}}`)
      assert.equal(outputOf(mixed).tensor.length, 172)
      const kserve = await post(`${M}/infer`, `{"id":"6f9c","model_name":"traffic-signs",${input}}`, ['content-type: application/json'])
      assert.equal(kserve.headers['content-type'], 'application/json')
      const { id, model_name: name, outputs } = json(kserve)
      assert.deepEqual([id, name, outputs[0].data.length], ['6f9c', 'traffic-signs', 43])
    })

    it('any Content-Type, as the aio client sends octet-stream', async () => {
      for (const type of ['application/octet-stream', 'application/json', 'application/json; charset=utf-8', 'text/plain']) {
        assert.equal((await infer(DEFAULT, pixels, [`content-type: ${type}`])).status, 200, type)
      }
    })

    it('compressed requests: the header length is that of the inflated JSON, which may exceed Content-Length', async () => {
      const plain = outputOf(await infer(DEFAULT, pixels)).tensor
      const zeros = Buffer.alloc(12288)
      const expected = outputOf(await infer(DEFAULT, zeros)).tensor
      const length = [`inference-header-content-length: ${DEFAULT.length}`]
      for (const [encoding, squeeze] of [['gzip', gzipSync], ['deflate', deflateSync]] as const) {
        const body = squeeze(Buffer.concat([Buffer.from(DEFAULT), pixels]))
        const answer = await post(`${M}/infer`, body, [`content-encoding: ${encoding}`, ...length])
        assert.deepEqual(outputOf(answer).tensor, plain)
        const tiny = squeeze(Buffer.concat([Buffer.from(DEFAULT), zeros]))
        const short = await post(`${M}/infer`, tiny, [`content-encoding: ${encoding}`, ...length])
        assert.deepEqual(outputOf(short).tensor, expected)
      }
    })

    it('compressed answers: inflated first, then cut by the header length', async () => {
      const plain = outputOf(await infer(DEFAULT, pixels)).tensor
      for (const [encoding, inflate] of [['gzip', gunzipSync], ['deflate', inflateSync]] as const) {
        const answer = await infer(DEFAULT, pixels, [`accept-encoding: ${encoding}`])
        assert.equal(answer.headers['content-encoding'], encoding)
        assert.equal(Number(answer.headers['content-length']), answer.body.length)
        assert.deepEqual(outputOf({ ...answer, body: inflate(answer.body) }).tensor, plain)
      }
    })

    it('a raw request: the body is the tensor, the answer binary, or JSON when asked for', async () => {
      const raw = (headers: string[], path = `${M}/infer`) => post(path, pixels, ['inference-header-content-length: 0', ...headers])
      const expected = outputOf(await infer(DEFAULT, pixels)).tensor
      assert.deepEqual(outputOf(await raw([])).tensor, expected)
      assert.deepEqual(outputOf(await raw([], `${M}@day/versions/1/infer`)).tensor, expected)
      const plain = await raw(['accept: application/json'])
      assert.deepEqual(Float32Array.from(json(plain).outputs[0].data), new Float32Array(new Uint8Array(expected).buffer))
      assert.equal((await raw(['x-domain: lowres'])).status, 400, 'pictures of this domain are smaller')
    })

    it('the classification extension: value, index and label', async () => {
      const outputs = (more: string) => `"outputs":[{"name":"logits","parameters":{"classification":3${more}}}]`
      const plain = json(await infer(`${BINARY_INPUT},${outputs('')}}`, pixels)).outputs[0]
      assert.deepEqual([plain.datatype, plain.shape], ['BYTES', [1, 3]])
      for (const text of plain.data) assert.match(text, /^-?[\d.]+:\d+:[a-z]/)
      const binary = outputOf(await infer(`${BINARY_INPUT},${outputs(',"binary_data":true')}}`, pixels))
      assert.equal(binary.tensor.readUInt32LE(0), plain.data[0].length)
      assert.equal(binary.tensor.subarray(4, 4 + plain.data[0].length).toString(), plain.data[0])
    })

    it('BF16 is widened to what the model takes', async () => {
      const floats = new Uint32Array(pixels.buffer, pixels.byteOffset, 3072)
      const halves = Buffer.from(Uint16Array.from(floats, (bits) => bits >>> 16).buffer)
      const wide = Buffer.from(Uint32Array.from(floats, (bits) => bits & 0xffff0000).buffer)
      const narrow = DEFAULT.replace('FP32', 'BF16').replace('12288', '6144')
      assert.deepEqual(outputOf(await infer(narrow, halves)).tensor, outputOf(await infer(DEFAULT, wide)).tensor)
    })

    it('the version in the path is that of the default domain, of the path\'s or of the header\'s', async () => {
      for (const [path, header] of [[M, ''], [`${M}@day`, ''], [M, 'x-domain: day']] as const) {
        const answer = await infer(DEFAULT, pixels, header === '' ? [] : [header], `${path}/versions/1/infer`)
        assert.equal(answer.headers['x-domain'], 'day')
      }
      assert.equal((await infer(DEFAULT, pixels, [], `${M}/versions/9/infer`)).status, 404)
      assert.equal((await infer(DEFAULT, pixels, ['x-domain: fog:1'], `${M}/versions/2/infer`)).status, 400)
    })

    it('errors: a JSON object whose error is the message', async () => {
      const answer = await post(`${M}/infer`, '{"inputs":[]}')
      assert.equal(answer.status, 400)
      assert.equal(answer.headers['content-type'], 'application/json')
      assert.match(json(answer).error, /inputs/)
      assert.equal((await exchange([`GET ${M}/infer HTTP/1.1`])).status, 405)
      assert.match(json(await get('/v2/nowhere')).error, /nothing at this path/)
    })
  })

  describe('repository', () => {
    const states = async (body?: string): Promise<string[]> => {
      const answer = await post('/v2/repository/index', body)
      assert.equal(answer.status, 200)
      return json(answer).map((one: Record<string, string>) => `${one.name}${one.version === undefined ? '' : ':' + one.version} ${one.state}`)
    }

    it('index: no body, no length; or what is ready', async () => {
      const expected = ['traffic-signs READY', ...['day', 'fog', 'lowlight', 'lowres'].map((domain) => `traffic-signs@${domain}:1 READY`)]
      assert.deepEqual(await states(), expected)
      assert.deepEqual(await states('{"ready":true}'), expected)
      assert.equal((await post('/v2/repository/index', '[]')).status, 400)
    })

    it('unload and load: exactly 200, no body; the domain goes and comes', async () => {
      const fog = '/v2/repository/models/traffic-signs@fog'
      const unloaded = await post(`${fog}/unload`, '{"parameters":{"unload_dependents":false}}', [key])
      assert.equal(unloaded.status, 200)
      assert.equal(unloaded.body.length, 0)
      assert.ok((await states()).includes('traffic-signs@fog:1 UNAVAILABLE'))
      assert.ok(!(await states('{"ready":true}')).some((line) => line.includes('fog')))
      assert.equal((await infer(DEFAULT, pixels, ['x-domain: fog'])).status, 409)
      assert.equal((await get(`${M}@fog/ready`)).status, 409)
      const loaded = await post(`${fog}/load`, '{}', [key])
      assert.equal(loaded.status, 200)
      assert.equal(loaded.body.length, 0)
      assert.equal((await infer(DEFAULT, pixels, ['x-domain: fog'])).status, 200)
      assert.equal((await post(`${fog}/load`, undefined, [key])).status, 200, 'again, without a body')
      assert.equal((await post('/v2/repository/models/traffic-signs/load', '{}', [key])).status, 200)
    })

    it('refuses without the key, and what cannot be', async () => {
      const load = '/v2/repository/models/traffic-signs@fog/load'
      assert.equal((await post(load, '{}')).status, 401)
      assert.equal((await post(load, '{"parameters":{"file:1/model.onnx":"AAAA"}}', [key])).status, 501)
      assert.equal((await post(load, '{"parameters":[]}', [key])).status, 400)
      assert.equal((await post('/v2/repository/models/x/load', '{}', [key])).status, 404)
      assert.equal((await post('/v2/repository/models/traffic-signs@dusk/load', '{}', [key])).status, 404)
      assert.equal((await post('/v2/repository/models/traffic-signs/unload', '{}', [key])).status, 501)
      assert.equal((await post('/v2/repository/models/traffic-signs@day/unload', '{}', [key])).status, 409)
    })
  })
})
