import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseSafetensors, serializeSafetensors, type TensorToWrite } from '#src/bank/formats/safetensors.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { ROOT } from '../support/folders.js'
import { writeModels } from '../support/models-folder.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest } from '../support/wire.js'
import type { ClassificationManifest } from '#src/models/manifest.js'

const SIGNS = join(ROOT, 'models/traffic-signs')

describe('preprocessing registered with a domain, and domains told by size', () => {
  let service: Service
  let folder: string
  let bank: Buffer
  const admin = (path: string) => `/admin/models/switch/domains/${path}`
  const put = (path: string, payload: Buffer | object, type = 'application/octet-stream') => service.app.inject({
    method: 'PUT', url: admin(path), headers: { ...ADMIN, 'content-type': type }, payload: payload as Buffer
  })
  const withPreprocessing = (preprocessing: unknown) => `?preprocessing=${encodeURIComponent(JSON.stringify(preprocessing))}`
  const predict = async (side: number, headers: Record<string, string> = {}) => {
    const picture = await painted(side, side, 3, (x, y, channel) => (37 * x + 11 * y + 60 * channel) % 256).png().toBuffer()
    const response = await service.app.inject({
      method: 'POST', url: '/v1/models/switch/predict?top=43', payload: picture, headers: { 'content-type': 'image/png', ...headers }
    })
    assert.equal(response.statusCode, 200, response.payload)
    const body = response.json()
    return { domain: body.domain, version: body.version, scores: JSON.stringify(body.predictions) }
  }
  const size = (side: number) => ({ size: { width: side, height: side } })

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bankswitch-models-'))
    const shipped = JSON.parse(await readFile(join(SIGNS, 'manifest.json'), 'utf8')) as ClassificationManifest
    const manifest: ClassificationManifest = {
      ...shipped, name: 'switch', defaultDomain: 'px32', domainFrom: 'inputSize', domains: { px16: { input: size(16) } }
    }
    const labels = JSON.parse(await readFile(join(SIGNS, 'labels.json'), 'utf8')) as string[]
    await writeModels(folder, [{ manifest, graph: await readFile(join(SIGNS, 'model.onnx')), labels }])
    service = await startService({ BANKSWITCH_MODELS_DIR: folder })
    bank = (await service.app.inject({ url: admin('px32/versions/1'), headers: ADMIN })).rawPayload
    assert.equal((await put('px16', bank)).statusCode, 201)
  })
  after(async () => {
    await service.close()
    await rm(folder, { recursive: true })
  })

  it('pictures and tensors that name no domain get the one of the nearest size; a name goes before', async () => {
    assert.equal((await predict(32)).domain, 'px32')
    assert.equal((await predict(18)).domain, 'px16')
    assert.equal((await predict(18, { 'x-domain': 'px32' })).domain, 'px32')
    for (const [side, domain] of [[32, 'px32'], [16, 'px16'], [20, 'px16']] as const) {
      const { payload, headers } = binaryRequest({ shape: [1, 3, side, side], values: new Float32Array(3 * side ** 2) })
      const url = '/v2/models/switch/infer'
      assert.equal((await service.app.inject({ method: 'POST', url, payload, headers })).headers['x-domain'], domain)
      const named = await service.app.inject({ method: 'POST', url, payload, headers: { ...headers, 'x-domain': 'px32' } })
      assert.equal(named.headers['x-domain'], 'px32')
      const image = { name: 'input', shape: [2, 3, side, side], datatype: 'FP32', data: Array(6 * side ** 2).fill(0) }
      const domains = { name: '__domain__', shape: [2], datatype: 'BYTES', data: ['', domain] }
      const mixed = await service.app.inject({ method: 'POST', url, payload: { inputs: [image, domains] } })
      assert.equal(mixed.headers['x-domain'], domain, 'a row without a domain is told by size, too')
    }
    assert.equal((await service.app.inject('/v1/models/switch')).json().domainFrom, 'inputSize')
  })

  it('is in force with its version, shown with it, and goes with it', async () => {
    const inverted = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], colour: 'bgr' }
    await put('own', bank)
    const plain = await predict(32, { 'x-domain': 'own' })
    assert.equal((await put(`own${withPreprocessing(inverted)}`, bank)).statusCode, 201)
    const other = await predict(32, { 'x-domain': 'own' })
    assert.equal(other.version, 2)
    assert.notEqual(other.scores, plain.scores)
    assert.deepEqual(await predict(32, { 'x-domain': 'own:1' }), plain)
    const { versions } = (await service.app.inject('/v1/models/switch/domains/own')).json()
    assert.deepEqual(versions.map(({ preprocessing }: { preprocessing?: object }) => preprocessing), [undefined, inverted])
    const back = await service.app.inject({ method: 'POST', url: admin('own/rollback'), headers: ADMIN })
    assert.equal(back.statusCode, 200)
    assert.deepEqual(await predict(32, { 'x-domain': 'own' }), plain)
  })

  it('comes in a JSON bank, in a file\'s metadata, and back out of a download', async () => {
    const { tensors } = parseSafetensors(bank)
    const rules = { ...size(24), resize: { fit: 'cover', kernel: 'bilinear' } }
    const layers: Record<string, Record<string, number[]>> = {}
    for (const [name, { bytes }] of tensors) {
      const [, key, suffix] = /^(.*)\.(running_mean|running_var|weight|bias)$/.exec(name)!
      const statistic = { running_mean: 'mean', running_var: 'variance', weight: 'gamma', bias: 'beta' }[suffix!]!
      layers[key!] = { ...layers[key!], [statistic]: [...new Float32Array(new Uint8Array(bytes).buffer)] }
    }
    assert.equal((await put('from-json', { preprocessing: rules, layers }, 'application/json')).statusCode, 201)
    const file = (await service.app.inject({ url: admin('from-json/versions/1'), headers: ADMIN })).rawPayload
    assert.equal(parseSafetensors(file).metadata.get('bankswitch.preprocessing'), JSON.stringify(rules))
    assert.equal((await put('from-file', file)).statusCode, 201)
    const same = await predict(40, { 'x-domain': 'from-json' })
    assert.deepEqual(await predict(40, { 'x-domain': 'from-file' }), { ...same, domain: 'from-file' })
    assert.equal((await put(`from-query${withPreprocessing(size(16))}`, file)).statusCode, 201)
    const { versions: [version] } = (await service.app.inject('/v1/models/switch/domains/from-query')).json()
    assert.deepEqual(version.preprocessing, size(16), 'the query goes before the file')
    // Registered sizes are told by the picture too: 24 is nearer to 24 than to 16 and 32.
    assert.equal((await predict(24)).domain, 'from-file')
    const raw: TensorToWrite[] = [...tensors].map(([name, { shape, bytes }]) => ({ name, dtype: 'F32', shape, bytes }))
    const broken = await put('broken', Buffer.from(serializeSafetensors(raw, new Map([['bankswitch.preprocessing', '{"mean":']]))))
    assert.deepEqual([broken.statusCode, broken.json().code], [400, 'JSON_INVALID'])
  })

  it('is refused when it is wrong in itself or for the graph, and nothing is stored', async () => {
    const cases: Array<[string, unknown]> = [
      ['additional', { gamma: 2 }], ['3 values', { mean: [0] }], ['does not take', { colour: 'grey', mean: [0], std: [1] }],
      ['does not take', { layout: 'NHWC' }], ['must be', { size: 16 }], ['must be', []]
    ]
    for (const [message, preprocessing] of cases) {
      const response = await put(`refused${withPreprocessing(preprocessing)}`, bank)
      assert.deepEqual([response.statusCode, response.json().code], [400, 'PREPROCESSING_INVALID'], JSON.stringify(preprocessing))
      assert.ok(response.json().error.includes(message), response.payload)
    }
    assert.equal((await put('refused?preprocessing=%7B', bank)).json().code, 'JSON_INVALID')
    assert.equal((await service.app.inject('/v1/models/switch/domains/refused')).statusCode, 404)
  })

  it('is there after a restart', async () => {
    const { storeDir } = service
    const shown = (await service.app.inject('/v1/models/switch/domains/from-json')).json()
    assert.ok((await readFile(join(storeDir, 'switch/from-json/domain.json'), 'utf8')).includes('"preprocessing"'))
    const { openFileStore } = await import('#src/store/file/file-store.js')
    const { store, report } = await openFileStore(storeDir)
    assert.deepEqual(report.quarantined, [])
    assert.deepEqual(store.domain('switch', 'from-json')!.versions[0]!.preprocessing, shown.versions[0].preprocessing)
  })
})
