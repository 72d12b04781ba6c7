import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { bytesOf } from '#src/base/bytes.js'
import { parseSafetensors, serializeSafetensors, type SafetensorsTensor, type TensorToWrite } from '#src/bank/formats/safetensors.js'
import { isSignatureTensor } from '#src/signature/file-parts.js'
import { parseModel } from '#src/onnx/model.js'
import { dimsOf, readFloat64 } from '#src/onnx/tensor.js'
import { ROOT, SIGNS } from '../support/folders.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { npyOf, npzOf } from '../support/npz-file.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'

const ADMIN_MODEL = '/admin/models/traffic-signs'

interface Layer { mean: number[], variance: number[], gamma?: number[], beta?: number[] }
type Layers = Record<string, Layer>

const JSON_TYPE = { 'content-type': 'application/json' }
const BINARY_TYPE = { 'content-type': 'application/octet-stream' }

/** Without what tells its signature. */
function statisticsOf (file: Uint8Array): Array<[name: string, tensor: SafetensorsTensor]> {
  return [...parseSafetensors(file).tensors].filter(([name]) => !isSignatureTensor(name))
}

describe('admin API', () => {
  let service: Service
  let shipped: Buffer
  let layers: Layers

  const call = (
    method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, payload?: Buffer | string | object, headers: Record<string, string> = {}
  ) => service.app.inject({
    method, url: `${ADMIN_MODEL}${path}`, headers: { ...ADMIN, ...headers }, ...(payload === undefined ? {} : { payload: payload as Buffer })
  })
  const putJson = (domain: string, body: object | string, query = '') => call('PUT', `/domains/${domain}${query}`, body, JSON_TYPE)
  const putFile = (domain: string, file: Uint8Array) => call('PUT', `/domains/${domain}`, Buffer.from(file), BINARY_TYPE)
  const infer = async (domain: string) => {
    const { payload, headers } = binaryRequest({
      shape: [1, 3, 32, 32], values: Float32Array.from({ length: 3072 }, (_, at) => Math.sin(at))
    })
    return await service.app.inject({
      method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: { ...headers, 'x-domain': domain }
    })
  }
  const logits = async (domain: string) => {
    const response = await infer(domain)
    assert.equal(response.statusCode, 200, response.payload)
    return firstOutput(parseAnswer(response))
  }
  /** A copy of the day bank's layers, changed. */
  const changed = (change: (copy: Layers) => void): { layers: Layers } => {
    const copy = structuredClone(layers)
    change(copy)
    return { layers: copy }
  }
  const files = (domain: string) => readdir(join(service.storeDir, 'traffic-signs', domain)).catch(() => [])

  before(async () => {
    service = await startService()
    const response = await call('GET', '/domains/day/versions/1')
    assert.equal(response.statusCode, 200)
    shipped = response.rawPayload
    layers = {}
    for (const [name, { bytes }] of statisticsOf(shipped)) {
      const [, key, suffix] = /^(.*)\.(running_mean|running_var|weight|bias)$/.exec(name)!
      const statistic = { running_mean: 'mean', running_var: 'variance', weight: 'gamma', bias: 'beta' }[suffix!]!
      const values = Array.from(new Float32Array(new Uint8Array(bytes).buffer))
      layers[key!] = { ...layers[key!], [statistic]: values } as Layer
    }
  })
  after(() => service.close())

  describe('is denied', () => {
    const routes = [
      ['PUT', '/domains/x'], ['GET', '/domains/day/versions'], ['GET', '/domains/day/versions/1'],
      ['POST', '/domains/day/activate'], ['POST', '/domains/day/rollback'], ['DELETE', '/domains/day'],
      ['DELETE', '/domains/day/versions/1']
    ] as const
    for (const [method, path] of routes) {
      it(`without the key: ${method} ${path}`, async () => {
        const refused = [
          ['', 'AUTHENTICATION_REQUIRED', 'Bearer'],
          ['Bearer ', 'AUTHENTICATION_REQUIRED', 'Bearer'],
          ['Basic YTpi', 'AUTHENTICATION_REQUIRED', 'Bearer'],
          [`Bearer ${ADMIN.authorization}`, 'AUTHENTICATION_REQUIRED', 'Bearer'],
          ['Bearer wrong', 'KEY_UNKNOWN', 'Bearer error="invalid_token"'],
          [`${ADMIN.authorization}x`, 'KEY_UNKNOWN', 'Bearer error="invalid_token"']
        ] as const
        for (const [authorization, code, challenge] of refused) {
          const response = await service.app.inject({
            method, url: `${ADMIN_MODEL}${path}`, headers: authorization === '' ? {} : { authorization }
          })
          assert.equal(response.statusCode, 401, authorization)
          assert.equal(response.json().code, code)
          assert.equal(response.headers['www-authenticate'], challenge)
        }
      })
    }

    it('and the key is never logged', async () => {
      await call('GET', '/domains/day/versions')
      assert.ok(!JSON.stringify(service.log).includes(ADMIN.authorization.slice(7)))
    })
  })

  describe('PUT /domains/{domain}', () => {
    it('registers from JSON: 201, at once in force, the same numbers as the bank it copies', async () => {
      const response = await putJson('from-json', { description: 'a copy', layers })
      assert.equal(response.statusCode, 201, response.payload)
      const body = response.json()
      assert.deepEqual({ ...body, digest: '' }, {
        model: 'traffic-signs', domain: 'from-json', version: 1, digest: '', active: true
      })
      assert.match(body.digest, /^[0-9a-f]{64}$/)
      assert.equal(response.headers.etag, '"1"')
      assert.deepEqual(await logits('from-json'), await logits('day'))
      const described = await service.app.inject('/v1/models/traffic-signs/domains/from-json')
      assert.equal(described.json().description, 'a copy')
    })

    it('registers from npz, by its type or by its bytes, the same bank as from safetensors', async () => {
      const arrays = Object.fromEntries([...statisticsOf(shipped)].map(([name, { bytes }]) => [name, npyOf({ data: bytes })]))
      const file = npzOf({ ...arrays, 'bn1.num_batches_tracked': npyOf({ descr: "'<i8'", shape: '()' }) }, true)
      for (const [version, type] of ['application/zip', 'application/octet-stream'].entries()) {
        const response = await call('PUT', '/domains/from-npz', file, { 'content-type': type })
        assert.equal(response.statusCode, 201, response.payload)
        const { digest, ignored, ...rest } = response.json()
        assert.deepEqual([ignored, rest.version], [['bn1.num_batches_tracked'], version + 1])
        assert.equal(digest, (await call('GET', '/domains/day/versions')).json().versions[0].digest)
      }
      const { versions } = (await call('GET', '/domains/from-npz/versions')).json()
      assert.deepEqual(versions.map(({ source }: { source: string }) => source), ['npz', 'npz'])
      const wrong = await call('PUT', '/domains/from-npz', file.subarray(0, 500), { 'content-type': 'application/zip' })
      assert.deepEqual([wrong.statusCode, wrong.json().code], [400, 'NPZ_MALFORMED'])
    })

    it('registers from safetensors, and lists what it ignored', async () => {
      const tensors = statisticsOf(shipped)
      const more: TensorToWrite[] = [...tensors].map(([name, { shape, bytes }]) => ({ name, dtype: 'F32', shape, bytes }))
      more.push({ name: 'conv1.weight', dtype: 'F32', shape: [1], bytes: new Uint8Array(4) })
      more.push({ name: 'bn1.num_batches_tracked', dtype: 'I64', shape: [], bytes: new Uint8Array(8) })
      const response = await putFile('from-file', serializeSafetensors(more, new Map()))
      assert.equal(response.statusCode, 201, response.payload)
      assert.deepEqual(response.json().ignored.toSorted(), ['bn1.num_batches_tracked', 'conv1.weight'])
      assert.deepEqual(await logits('from-file'), await logits('day'))
    })

    it('warns of a state_dict whose convolutions are not the model\'s', async () => {
      const { graph } = parseModel(await readFile(join(ROOT, 'models', SIGNS, 'model.onnx')))
      const weights = graph.initializer.filter(({ dims }) => dims.length === 4).map((tensor, at): TensorToWrite => {
        return { name: `conv${at}.weight`, dtype: 'F32', shape: dimsOf(tensor), bytes: bytesOf(Float32Array.from(readFloat64(tensor))) }
      })
      assert.ok(weights.length > 5)
      const statistics: TensorToWrite[] = [...statisticsOf(shipped)].map(([name, { shape, bytes }]) => ({ name, dtype: 'F32', shape, bytes }))
      const register = async (convolutions: TensorToWrite[]) => {
        const response = await putFile('from-state', serializeSafetensors([...statistics, ...convolutions], new Map()))
        assert.equal(response.statusCode, 201, response.payload)
        return response.json<{ warnings?: Array<{ code: string, message: string }> }>().warnings
      }
      assert.equal(await register(weights), undefined)
      const trained = weights.map((tensor, at) => at > 1 ? tensor : { ...tensor, bytes: tensor.bytes.map((byte) => byte ^ 1) })
      const [warning, ...others] = await register(trained) ?? []
      assert.deepEqual(others, [])
      assert.equal(warning!.code, 'CONVOLUTIONS_DIFFER')
      assert.match(warning!.message, new RegExp(`^2 of ${weights.length} .*"conv0.weight", "conv1.weight"\\)`))
    })

    it('takes missing gamma and beta from the model', async () => {
      const bare = changed((copy) => { for (const layer of Object.values(copy)) { delete layer.gamma; delete layer.beta } })
      assert.equal((await putJson('bare', bare)).statusCode, 201)
      assert.deepEqual(await logits('bare'), await logits('day'))
    })

    it('adds versions; activate=false only stores', async () => {
      const doubled = changed((copy) => { copy.bn1!.gamma = copy.bn1!.gamma!.map((value) => value * 2) })
      await putJson('steps', { layers })
      const response = await putJson('steps', doubled, '?activate=false')
      assert.equal(response.json().version, 2)
      assert.equal(response.json().active, false)
      assert.deepEqual(await logits('steps'), await logits('steps:1'))
      assert.notDeepEqual(await logits('steps:2'), await logits('steps:1'))
      const activated = await call('POST', '/domains/steps/activate', { version: 2 })
      assert.equal(activated.statusCode, 200)
      assert.equal(activated.json().active, 2)
      assert.deepEqual(await logits('steps'), await logits('steps:2'))
      const back = await call('POST', '/domains/steps/rollback')
      assert.equal(back.json().active, 1)
      assert.deepEqual(await logits('steps'), await logits('steps:1'))
      assert.equal((await call('POST', '/domains/steps/rollback')).json().code, 'ROLLBACK_IMPOSSIBLE')
    })

    it('guards against lost updates', async () => {
      const put = (headers: Record<string, string>) => call('PUT', '/domains/guarded', { layers }, { ...JSON_TYPE, ...headers })
      assert.equal((await put({ 'if-match': '"1"' })).statusCode, 412)
      assert.equal((await put({ 'if-match': '*' })).json().code, 'PRECONDITION_FAILED')
      const created = await put({ 'if-none-match': '*' })
      assert.equal(created.statusCode, 201)
      assert.equal((await put({ 'if-none-match': '*' })).json().code, 'PRECONDITION_FAILED')
      assert.equal((await put({ 'if-match': '"7"' })).statusCode, 412)
      assert.equal((await put({ 'if-match': String(created.headers.etag) })).statusCode, 201)
      assert.equal((await put({ 'if-match': 'nonsense' })).json().code, 'PRECONDITION_INVALID')
    })

    describe('refuses and leaves no file', () => {
      const cases: Array<[name: string, code: string, details: object, body: () => object | string | Uint8Array]> = [
        ['a bank of another network', 'BANK_LAYER_UNKNOWN', { layer: 'stem.bn' }, () => ({ layers: { 'stem.bn': layers.bn1 } })],
        ['a file of another fingerprint', 'BANK_FINGERPRINT_MISMATCH', { received: 'f'.repeat(64) }, () => {
          const tensors = [...statisticsOf(shipped)].map(([name, tensor]) => ({ ...tensor, name, dtype: 'F32' as const }))
          return serializeSafetensors(tensors, new Map([['bankswitch.fingerprint', 'f'.repeat(64)]]))
        }],
        ['a missing layer', 'BANK_LAYER_MISSING', { layer: 'layer2.0.bn1' }, () => changed((copy) => { delete copy['layer2.0.bn1'] })],
        ['a missing statistic', 'BANK_STATISTIC_MISSING', { layer: 'bn1' }, () => changed((copy) => {
          delete (copy.bn1 as Partial<Layer>).variance
        })],
        ['a wrong length', 'BANK_LENGTH_MISMATCH', { layer: 'bn1', expected: 24, received: 23 }, () => changed((copy) => { copy.bn1!.mean.pop() })],
        ['a negative variance', 'BANK_VALUE_INVALID', { layer: 'bn1', channel: 3, received: '-1' }, () => changed((copy) => {
          copy.bn1!.variance[3] = -1
        })],
        ['an infinite mean', 'BANK_VALUE_INVALID', { layer: 'bn1', channel: 0 }, () => {
          return JSON.stringify(changed((copy) => { copy.bn1!.mean[0] = 777 })).replace('777', '1e999')
        }],
        ['NaN as Python writes it', 'BANK_VALUE_INVALID', { layer: 'bn1', channel: 2 }, () => {
          return JSON.stringify(changed((copy) => { copy.bn1!.mean[2] = 777 })).replace('777', 'NaN')
        }],
        ['NaN in a file', 'BANK_VALUE_INVALID', { layer: 'bn1', channel: 5, received: 'NaN' }, () => {
          const copy = Buffer.from(shipped)
          const { bytes } = parseSafetensors(copy).tensors.get('bn1.running_mean')!
          new DataView(bytes.buffer, bytes.byteOffset).setFloat32(5 * 4, NaN, true)
          return copy
        }],
        ['statistics whose folded pair overflows', 'BANK_VALUE_INVALID', { layer: 'bn1' }, () => changed((copy) => {
          copy.bn1!.gamma![0] = 3e38
          copy.bn1!.variance[0] = 0
        })],
        ['a duplicate key', 'JSON_DUPLICATE_KEY', { key: 'bn1' }, () => '{"layers":{"bn1":{},"bn1":{}}}'],
        ['an unknown field', 'BANK_FORM_INVALID', {}, () => ({ layers, extra: 1 })],
        ['an unknown statistic', 'BANK_FORM_INVALID', { layer: 'bn1' }, () => ({ layers: { bn1: { ...layers.bn1, median: [] } } })],
        ['an empty bank', 'BANK_EMPTY', {}, () => ({ layers: {} })],
        ['no JSON', 'JSON_INVALID', {}, () => '{"layers":'],
        ['JSON that nests too deep', 'JSON_TOO_DEEP', {}, () => `{"layers":${'['.repeat(5000)}${']'.repeat(5000)}}`],
        ['a truncated file', 'SAFETENSORS_MALFORMED', {}, () => shipped.subarray(0, shipped.length - 4)],
        ['a header longer than the file', 'SAFETENSORS_MALFORMED', {}, () => Buffer.from('ffffffffffffff7f7b7d', 'hex')]
      ]
      for (const [name, code, details, body] of cases) {
        it(name, async () => {
          const given = body()
          const response = given instanceof Uint8Array ? await putFile('doomed', given) : await putJson('doomed', given)
          assert.equal(response.statusCode, 400, response.payload.slice(0, 300))
          assert.equal(response.json().code, code, response.payload.slice(0, 300))
          for (const [key, value] of Object.entries(details)) assert.deepEqual(response.json().details[key], value)
          assert.deepEqual(await files('doomed'), [])
          assert.equal((await service.app.inject('/v1/models/traffic-signs/domains/doomed')).statusCode, 404)
        })
      }

      it('a body over the limit', async () => {
        const small = await startService({ BANKSWITCH_BODY_BYTES: '4096' })
        try {
          const response = await small.app.inject({
            method: 'PUT', url: `${ADMIN_MODEL}/domains/doomed`, headers: { ...ADMIN, ...BINARY_TYPE }, payload: shipped
          })
          assert.equal(response.statusCode, 413)
          assert.equal(response.json().code, 'REQUEST_TOO_LARGE')
        } finally {
          await small.close()
        }
      })

      it('another content type, an empty body, a name that is none', async () => {
        assert.equal((await call('PUT', '/domains/doomed', 'x', { 'content-type': 'text/plain' })).statusCode, 415)
        assert.equal((await call('PUT', '/domains/doomed', '', JSON_TYPE)).json().code, 'REQUEST_INVALID')
        for (const name of ['..', '.hidden', 'a%2Fb', 'a@b', 'a:1', 'x'.repeat(65)]) {
          const response = await call('PUT', `/domains/${name}`, { layers }, JSON_TYPE)
          assert.ok([400, 404].includes(response.statusCode), `${name}: ${response.statusCode}`)
        }
        assert.deepEqual(await files('doomed'), [])
      })
    })
  })

  describe('versions', () => {
    it('are listed and come back byte for byte', async () => {
      await putFile('kept', shipped)
      const { versions } = (await call('GET', '/domains/kept/versions')).json()
      assert.equal(versions.length, 1)
      assert.equal(versions[0].source, 'safetensors')
      const download = await call('GET', '/domains/kept/versions/1')
      const [ours, theirs] = [parseSafetensors(download.rawPayload), parseSafetensors(shipped)]
      assert.equal(ours.metadata.get('bankswitch.fingerprint'), theirs.metadata.get('bankswitch.fingerprint'))
      for (const [name, { bytes }] of theirs.tensors) assert.deepEqual(ours.tensors.get(name)!.bytes, bytes)
      assert.equal((await putFile('again', download.rawPayload)).json().digest, versions[0].digest)
    })

    it('are removed unless active; numbers do not come back', async () => {
      for (let at = 0; at < 3; at++) await putJson('trimmed', { layers })
      assert.equal((await call('DELETE', '/domains/trimmed/versions/3')).json().code, 'VERSION_ACTIVE')
      await call('POST', '/domains/trimmed/activate', { version: 1 })
      assert.equal((await call('DELETE', '/domains/trimmed/versions/3')).statusCode, 200)
      assert.equal((await call('GET', '/domains/trimmed/versions/3')).json().code, 'VERSION_NOT_FOUND')
      assert.equal((await putJson('trimmed', { layers })).json().version, 4)
    })

    it('refuse what is not there and what is no number', async () => {
      assert.equal((await call('POST', '/domains/day/activate', { version: 99 })).json().code, 'VERSION_NOT_FOUND')
      assert.equal((await call('POST', '/domains/day/activate', { version: '1' })).statusCode, 400)
      assert.equal((await call('POST', '/domains/day/activate', { version: 1, extra: 1 })).statusCode, 400)
      assert.equal((await call('POST', '/domains/nothing/activate', { version: 1 })).json().code, 'DOMAIN_NOT_FOUND')
      assert.equal((await call('GET', '/domains/day/versions/x')).statusCode, 400)
    })
  })

  describe('DELETE /domains/{domain}', () => {
    it('removes a domain and its files', async () => {
      await putJson('gone', { layers })
      assert.equal((await call('DELETE', '/domains/gone')).statusCode, 204)
      assert.equal((await infer('gone')).json().code, 'DOMAIN_NOT_FOUND')
      assert.deepEqual(await files('gone'), [])
      assert.equal((await call('DELETE', '/domains/gone')).statusCode, 404)
    })

    it('leaves nothing of it in memory, nor in the statistics of a later domain of that name', async () => {
      const gauges = async () => {
        const { payload } = await service.app.inject({ method: 'GET', url: '/metrics', headers: ADMIN })
        return ['cached_banks', 'cached_bank_bytes', 'worker_banks', 'worker_bank_bytes'].map((name) => {
          return Number(new RegExp(`^bankswitch_${name} (\\d+)$`, 'm').exec(payload)![1])
        })
      }
      const answered = async () => {
        const url = '/v2/models/traffic-signs@passing/stats'
        const [{ inference_count: rows }] = (await service.app.inject({ method: 'GET', url })).json().model_stats
        return rows
      }
      await infer('day')
      const before = await gauges()
      const bank = changed((copy) => { copy.bn1!.mean[0]! += 0.125 })
      await putJson('passing', bank)
      await infer('passing')
      assert.equal(await answered(), 1)
      assert.ok((await gauges()).every((value, at) => value > before[at]!))
      await call('DELETE', '/domains/passing')
      assert.deepEqual(await gauges(), before)
      await putJson('passing', bank)
      assert.equal(await answered(), 0)
    })

    it('keeps the default domain', async () => {
      assert.equal((await call('DELETE', '/domains/day')).json().code, 'DOMAIN_IS_DEFAULT')
      assert.equal((await infer('day')).statusCode, 200)
    })
  })
})
