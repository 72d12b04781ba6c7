import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseSafetensors } from '#src/bank/formats/safetensors.js'
import { isSignatureTensor } from '#src/signature/file-parts.js'
import { ROOT } from '../support/folders.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { f32, safetensorsOf } from '../support/safetensors-file.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'

const MODEL = '/admin/models/traffic-signs'
const BINARY_TYPE = { 'content-type': 'application/octet-stream' }
const JSON_TYPE = { 'content-type': 'application/json' }
const ROW = 3072
const CLASSES = 43

const pixels = Float32Array.from({ length: 3 * ROW }, (_, at) => Math.sin(at * 12.9898) * 2)

describe('life of a domain', () => {
  let service: Service
  const banks: Record<string, Buffer> = {}

  const call = (
    method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, payload?: Buffer | object, headers: Record<string, string> = {}
  ) => service.app.inject({
    method, url: `${MODEL}/domains/${path}`, headers: { ...ADMIN, ...headers }, ...(payload === undefined ? {} : { payload: payload as Buffer })
  })
  const register = (domain: string, bank: string, query = '') => call('PUT', `${domain}${query}`, banks[bank]!, BINARY_TYPE)
  /** Registers these banks as versions 1, 2, …; the first is active. */
  const make = async (domain: string, ...names: string[]) => {
    for (const [at, name] of names.entries()) {
      const { statusCode, payload } = await register(domain, name, at === 0 ? '' : '?activate=false')
      assert.equal(statusCode, 201, payload)
    }
  }
  const ask = async (domain: string, rows = 1, headers: Record<string, string> = {}, url = '/v2/models/traffic-signs/infer') => {
    const { payload, headers: own } = binaryRequest({ shape: [rows, 3, 32, 32], values: pixels.subarray(0, rows * ROW) })
    const named: Record<string, string> = domain === '' ? {} : { 'x-domain': domain }
    return await service.app.inject({ method: 'POST', url, payload, headers: { ...own, ...named, ...headers } })
  }
  const versionOf = async (domain: string, headers: Record<string, string> = {}, url?: string) => {
    const response = await ask(domain, 1, headers, url)
    assert.equal(response.statusCode, 200, response.payload)
    return response.headers['x-domain-version']
  }
  const logits = async (domain: string, rows: number) => firstOutput(parseAnswer(await ask(domain, rows)))
  const describeDomain = async (domain: string) => (await service.app.inject(`/v1/models/traffic-signs/domains/${domain}`)).json()
  const goldensOf = (rows: number, expected: Float32Array) => ({
    inputs: [{ name: 'input', shape: [rows, 3, 32, 32], datatype: 'FP32', data: Array.from(pixels.subarray(0, rows * ROW)) }],
    expected: [{ name: 'logits', shape: [rows, CLASSES], datatype: 'FP32', data: Array.from(expected) }]
  })
  const putGate = (domain: string, goldens: object, query = '', headers = {}) => {
    return call('PUT', `${domain}/gate${query}`, Buffer.from(JSON.stringify(goldens)), { ...JSON_TYPE, ...headers })
  }

  before(async () => {
    service = await startService()
    for (const name of ['day', 'fog', 'lowlight']) banks[name] = (await call('GET', `${name}/versions/1`)).rawPayload
    const broken: Record<string, { dtype: string, shape: readonly number[], bytes: Uint8Array }> = {}
    for (const [name, { dtype, shape, bytes }] of parseSafetensors(banks.day!).tensors) {
      if (isSignatureTensor(name)) continue
      const huge = new Uint8Array(new Float32Array(bytes.length / 4).fill(3e38).buffer)
      broken[name] = { dtype, shape, bytes: name.endsWith('.bias') ? huge : bytes }
    }
    banks.broken = Buffer.from(safetensorsOf(broken))
  })
  after(() => service.close())

  describe('labels', () => {
    it('point to a version wherever a version is pinned', async () => {
      await make('labelled', 'day', 'fog')
      const response = await call('PUT', 'labelled/labels/canary', { version: 2 })
      assert.equal(response.statusCode, 200, response.payload)
      assert.deepEqual(response.json().labels, { canary: 2 })
      assert.equal(await versionOf('labelled:canary'), '2')
      assert.equal(await versionOf('labelled'), '1')
      assert.equal(await versionOf('labelled:active'), '1')
      assert.equal(await versionOf('', {}, '/v2/models/traffic-signs@labelled:canary/infer'), '2')
      assert.equal(await versionOf('', {}, '/v2/models/traffic-signs@labelled/versions/canary/infer'), '2')
      assert.equal(await versionOf('labelled:canary', {}, '/v2/models/traffic-signs/versions/canary/infer'), '2')
      const both = await ask('labelled:canary', 1, {}, '/v2/models/traffic-signs/versions/2/infer')
      assert.equal(both.json().code, 'DOMAIN_REFERENCE_INVALID')

      await call('PUT', 'labelled/labels/canary', { version: 1 })
      assert.equal(await versionOf('labelled:canary'), '1')
    })

    it('pin rows of one request', async () => {
      await make('rows', 'day', 'fog')
      await call('PUT', 'rows/labels/next', { version: 2 })
      const response = await service.app.inject({
        method: 'POST',
        url: '/v2/models/traffic-signs/infer',
        payload: {
          inputs: [
            { name: '__domain__', shape: [2], datatype: 'BYTES', data: ['rows', 'rows:next'] },
            { name: 'input', shape: [2, 3, 32, 32], datatype: 'FP32', data: Array.from(pixels.subarray(0, 2 * ROW)) }
          ]
        }
      })
      assert.equal(response.headers['x-domain-version'], '1,2', response.payload)
    })

    it('keep their version from being removed, until they are moved or removed', async () => {
      await make('kept', 'day', 'fog')
      await call('PUT', 'kept/labels/stable', { version: 2 })
      const refused = await call('DELETE', 'kept/versions/2')
      assert.equal(refused.statusCode, 409)
      assert.equal(refused.json().code, 'VERSION_MARKED')
      assert.equal((await call('DELETE', 'kept/labels/stable')).statusCode, 200)
      assert.equal((await call('DELETE', 'kept/labels/stable')).json().code, 'LABEL_NOT_FOUND')
      assert.equal((await ask('kept:stable')).json().code, 'LABEL_NOT_FOUND')
      assert.equal((await call('DELETE', 'kept/versions/2')).statusCode, 200)
    })

    it('are guarded by If-Match, and refuse bad names and versions', async () => {
      await make('guarded', 'day')
      const stale = await call('PUT', 'guarded/labels/x', { version: 1 }, { 'if-match': '"9"' })
      assert.equal(stale.json().code, 'PRECONDITION_FAILED')
      assert.equal(stale.statusCode, 412)
      const fresh = await call('PUT', 'guarded/labels/x', { version: 1 }, { 'if-match': '"1"' })
      assert.equal(fresh.headers.etag, '"2"')
      for (const label of ['active', 'Active', '7', '.x', 'a:b', 'x'.repeat(65)]) {
        const { statusCode } = await call('PUT', `guarded/labels/${label}`, { version: 1 })
        assert.ok([400, 404].includes(statusCode), `${label}: ${statusCode}`)
      }
      assert.equal((await call('PUT', 'guarded/labels/y', { version: 5 })).json().code, 'VERSION_NOT_FOUND')
      assert.equal((await call('PUT', 'guarded/labels/y', { version: 1, more: 1 })).statusCode, 400)
      assert.equal((await call('PUT', 'nowhere/labels/y', { version: 1 })).json().code, 'DOMAIN_NOT_FOUND')
      assert.equal((await ask('guarded:constructor')).json().code, 'LABEL_NOT_FOUND')
      assert.deepEqual((await describeDomain('guarded')).labels, { x: 1 })
    })
  })

  describe('a canary', () => {
    it('answers its share of requests without a pin, the same id always from the same version', async () => {
      await make('shared', 'day', 'fog')
      const response = await call('PUT', 'shared/canary', { version: 2, percent: 30 })
      assert.deepEqual(response.json().canary, { version: 2, percent: 30 })
      const ids = Array.from({ length: 60 }, (_, at) => `request-${at}`)
      const answers = new Map<string, unknown>()
      for (const id of ids) answers.set(id, await versionOf('shared', { 'x-request-id': id }))
      // Said again: the first 32 bits of the digest, as a share of all.
      const expected = ids.map((id) => {
        const bits = createHash('sha256').update(`shared/${id}`).digest().readUInt32BE()
        return [id, bits / 2 ** 32 < 0.3 ? '2' : '1']
      })
      assert.deepEqual([...answers], expected)
      const share = [...answers.values()].filter((version) => version === '2').length
      assert.ok(share > 8 && share < 30, `${share} of 60`)
      for (const id of ids.slice(0, 10)) assert.equal(await versionOf('shared', { 'x-request-id': id }), answers.get(id))
    })

    it('leaves pinned requests alone, and takes all at 100', async () => {
      await make('whole', 'day', 'fog')
      await call('PUT', 'whole/labels/stable', { version: 1 })
      await call('PUT', 'whole/canary', { version: 2, percent: 100 })
      for (const reference of ['whole:1', 'whole:active', 'whole:stable']) assert.equal(await versionOf(reference), '1')
      assert.equal(await versionOf('whole'), '2')
      const picture = await service.app.inject({
        method: 'POST',
        url: '/v1/models/traffic-signs/predict?top=1',
        payload: await readSample(),
        headers: { 'content-type': 'image/png', 'x-domain': 'whole' }
      })
      assert.equal(picture.json().version, 2, picture.payload)
      await call('PUT', 'whole/canary', { version: 2, percent: 0 })
      assert.equal(await versionOf('whole'), '1')
      assert.equal((await call('DELETE', 'whole/versions/2')).json().code, 'VERSION_MARKED')
      await call('DELETE', 'whole/canary')
      assert.equal((await describeDomain('whole')).canary, undefined)
    })

    it('ends when its version becomes the active one', async () => {
      await make('promoted', 'day', 'fog')
      await call('PUT', 'promoted/canary', { version: 2, percent: 50 })
      const { active, canary } = (await call('POST', 'promoted/activate', { version: 2 })).json()
      assert.deepEqual([active, canary], [2, undefined])
    })

    it('refuses shares that are none, and versions that are not there', async () => {
      await make('wrong', 'day')
      for (const percent of [-1, 101, '5', null]) {
        assert.equal((await call('PUT', 'wrong/canary', { version: 1, percent })).statusCode, 400, String(percent))
      }
      assert.equal((await call('PUT', 'wrong/canary', { version: 2, percent: 5 })).json().code, 'VERSION_NOT_FOUND')
    })
  })

  describe('a shadow', () => {
    it('is compared with the active version, which alone answers', async () => {
      await make('watched', 'day', 'fog')
      assert.equal((await call('GET', 'watched/shadow')).json().code, 'SHADOW_NOT_FOUND')
      await call('PUT', 'watched/shadow', { version: 2, percent: 100 })
      const [day, fog] = [await logits('day', 3), await logits('fog', 3)]
      const best = (values: Float32Array, row: number) => {
        const own = values.subarray(row * CLASSES, (row + 1) * CLASSES)
        return own.indexOf(Math.max(...own))
      }
      const disagreeing = [0, 1, 2].filter((row) => best(day, row) !== best(fog, row)).length
      assert.equal(await versionOf('watched:2'), '2')
      assert.deepEqual(await logits('watched', 3), day)
      let report
      // Each look gives the loop a turn; the runner's limit ends a shadow that never comes.
      do report = (await call('GET', 'watched/shadow')).json(); while (report.comparedRows < 3)
      const { version, active, percent, comparedRows, disagreeingRows, droppedRows, failedRows } = report
      assert.deepEqual(
        { version, active, percent, comparedRows, disagreeingRows, droppedRows, failedRows },
        { version: 2, active: 1, percent: 100, comparedRows: 3, disagreeingRows: disagreeing, droppedRows: 0, failedRows: 0 }
      )
      assert.ok(report.largestRelativeDifference > 0)
      const metrics = (await service.app.inject('/metrics')).payload
      assert.match(metrics, /bankswitch_shadow_rows_total{model="traffic-signs",domain="watched",outcome="compared"} 3/)
      await call('DELETE', 'watched/shadow')
      assert.equal((await call('GET', 'watched/shadow')).statusCode, 404)
    })
  })

  describe('a gate', () => {
    it('lets only versions in that give what is expected', async () => {
      await make('gated', 'day', 'fog')
      const response = await putGate('gated', goldensOf(3, await logits('day', 3)))
      assert.equal(response.statusCode, 200, response.payload)
      const { gate } = response.json()
      assert.deepEqual([gate.rows, gate.absolute, gate.relative], [3, 1e-4, 1e-3])
      const fog = await logits('fog', 3)
      const day = await logits('day', 3)
      const at = fog.findIndex((value, index) => Math.abs(value - day[index]!) > 1e-4 + 1e-3 * Math.abs(day[index]!))

      const refusals = [
        await call('POST', 'gated/activate', { version: 2 }),
        await call('PUT', 'gated/labels/next', { version: 2 }),
        await call('PUT', 'gated/canary', { version: 2, percent: 1 }),
        await service.app.inject({ method: 'POST', url: '/v2/repository/models/traffic-signs@gated:2/load', headers: ADMIN })
      ]
      for (const refused of refusals) {
        assert.equal(refused.statusCode, 409, refused.payload)
        const { code, details } = refused.json()
        assert.equal(code, 'GATE_FAILED')
        assert.deepEqual(
          [details.version, details.output, details.row, details.index, details.expected, details.received, details.values],
          [2, 'logits', Math.floor(at / CLASSES), at % CLASSES, day[at], fog[at], 3 * CLASSES]
        )
        assert.ok(details.wrong > 1)
      }
      const { active, labels, canary } = await describeDomain('gated')
      assert.deepEqual([active, labels, canary], [1, undefined, undefined])
      assert.equal((await call('PUT', 'gated/shadow', { version: 2, percent: 1 })).statusCode, 200)
    })

    it('stores a version that fails, without activating it', async () => {
      await make('kept-out', 'day')
      await putGate('kept-out', goldensOf(1, await logits('day', 1)))
      const refused = await register('kept-out', 'fog')
      assert.equal(refused.statusCode, 409)
      assert.equal(refused.json().details.version, 2)
      assert.equal(await versionOf('kept-out'), '1')
      assert.equal(await versionOf('kept-out:2'), '2')
      assert.equal((await register('kept-out', 'day')).json().active, true)
    })

    it('holds for a rollback, until it is removed', async () => {
      await make('back', 'fog', 'day')
      await call('POST', 'back/activate', { version: 2 })
      await putGate('back', goldensOf(1, await logits('day', 1)))
      assert.equal((await call('POST', 'back/rollback')).json().code, 'GATE_FAILED')
      assert.equal((await call('DELETE', 'back/gate', undefined, { 'if-match': '"1"' })).json().code, 'PRECONDITION_FAILED')
      assert.equal((await call('DELETE', 'back/gate')).json().gate, undefined)
      assert.equal((await call('DELETE', 'back/gate')).json().code, 'GATE_NOT_FOUND')
      assert.equal((await call('GET', 'back/gate')).json().code, 'GATE_NOT_FOUND')
      assert.equal((await call('POST', 'back/rollback')).json().active, 1)
      assert.deepEqual((await readdir(join(service.storeDir, 'traffic-signs', 'back'))).filter((name) => name.startsWith('gate')), [])
    })

    it('is as tolerant as it is told', async () => {
      await make('tolerant', 'day', 'fog')
      const goldens = goldensOf(1, await logits('day', 1))
      await putGate('tolerant', goldens, '?absolute=1000')
      assert.equal((await call('POST', 'tolerant/activate', { version: 2 })).statusCode, 200)
      await putGate('tolerant', goldens, '?absolute=0&relative=0')
      assert.equal((await call('POST', 'tolerant/activate', { version: 2 })).json().code, 'GATE_FAILED')
      assert.equal((await call('POST', 'tolerant/activate', { version: 1 })).statusCode, 200)
      const files = await readdir(join(service.storeDir, 'traffic-signs', 'tolerant'))
      assert.equal(files.filter((name) => name.startsWith('gate')).length, 1)
    })

    it('comes as safetensors too, and goes back as it came', async () => {
      await make('binary', 'day', 'fog')
      const day = await logits('day', 2)
      const input = { dtype: 'F32', shape: [2, 3, 32, 32], bytes: new Uint8Array(pixels.slice(0, 2 * ROW).buffer) }
      const expected = { dtype: 'F32', shape: [2, CLASSES], bytes: new Uint8Array(day.slice().buffer) }
      const file = Buffer.from(safetensorsOf({ 'inputs.input': input, 'expected.logits': expected }))
      const response = await call('PUT', 'binary/gate', file, BINARY_TYPE)
      assert.equal(response.statusCode, 200, response.payload)
      const { tensors } = parseSafetensors((await call('GET', 'binary/gate')).rawPayload)
      assert.deepEqual([...tensors.keys()].sort(), ['expected.logits', 'inputs.input'])
      assert.deepEqual(Buffer.from(tensors.get('inputs.input')!.bytes), Buffer.from(input.bytes))
      assert.equal((await call('POST', 'binary/activate', { version: 2 })).json().code, 'GATE_FAILED')

      const foreign = await call('PUT', 'binary/gate', Buffer.from(safetensorsOf({ 'inputs.input': input, other: f32(1) })), BINARY_TYPE)
      assert.equal(foreign.json().code, 'GATE_INVALID')
      assert.equal((await call('PUT', 'binary/gate', Buffer.from('no file'), BINARY_TYPE)).json().code, 'SAFETENSORS_MALFORMED')
    })

    it('refuses goldens that no version could give', async () => {
      await make('refusing', 'day')
      const good = goldensOf(1, await logits('day', 1))
      const withExpected = (change: object) => ({ ...good, expected: [{ ...good.expected[0], ...change }] })
      const cases: Array<[code: string, goldens: object]> = [
        ['PROTOCOL_INVALID', {}],
        ['PROTOCOL_INVALID', { ...good, expected: [] }],
        ['PROTOCOL_INVALID', { ...good, more: 1 }],
        ['PROTOCOL_INVALID', withExpected({ shape: [2, CLASSES] })],
        ['OUTPUT_UNKNOWN', withExpected({ name: 'scores' })],
        ['GATE_INVALID', withExpected({ shape: [1, CLASSES, 1] })],
        ['GATE_INVALID', withExpected({ datatype: 'FP64' })],
        ['PROTOCOL_INVALID', withExpected({ data: Array.from({ length: CLASSES }, () => 1e39) })],
        ['GATE_INVALID', withExpected({ shape: [1], datatype: 'BYTES', data: ['x'] })],
        ['INPUT_UNKNOWN', { ...good, inputs: [{ ...good.inputs[0], name: 'image' }] }],
        ['INPUT_SHAPE_MISMATCH', { ...good, inputs: [{ ...good.inputs[0], shape: [1, 1, 32, 96] }] }]
      ]
      for (const [code, goldens] of cases) {
        const response = await putGate('refusing', goldens)
        assert.equal(response.json().code, code, `${JSON.stringify(goldens).slice(0, 80)} ${response.payload}`)
        assert.ok(response.statusCode < 500)
      }
      const rows = 1025
      const many = safetensorsOf({
        'inputs.input': { dtype: 'F32', shape: [rows, 3, 8, 8], bytes: new Uint8Array(rows * 192 * 4) },
        'expected.logits': { dtype: 'F32', shape: [rows, CLASSES], bytes: new Uint8Array(rows * CLASSES * 4) }
      })
      assert.equal((await call('PUT', 'refusing/gate', Buffer.from(many), BINARY_TYPE)).json().code, 'GATE_TOO_LARGE')
      assert.equal((await putGate('nowhere', good)).json().code, 'DOMAIN_NOT_FOUND')
      for (const number of ['-1', '1e999', '-1e999', 'Infinity', 'NaN', '0x', '1e309']) {
        for (const name of ['absolute', 'relative']) {
          const { statusCode, payload } = await putGate('refusing', good, `?${name}=${number}`)
          assert.deepEqual([statusCode, JSON.parse(payload).code], [400, 'REQUEST_INVALID'], `${name}=${number}: ${payload}`)
        }
      }
      assert.equal((await putGate('refusing', good, '', { authorization: 'Bearer wrong' })).statusCode, 401)
      assert.equal((await describeDomain('refusing')).gate, undefined)
    })
  })

  it('a version without finite outputs is stored, but never activated, gate or not', async () => {
    const refused = await register('unbounded', 'broken')
    assert.equal(refused.statusCode, 409, refused.payload)
    const { code, details } = refused.json()
    assert.deepEqual([code, details.version, details.row, details.expected], ['GATE_FAILED', 1, 0, 'a finite number'])
    assert.equal(typeof details.received, 'string')
    assert.equal((await ask('unbounded')).json().code, 'DOMAIN_INACTIVE')
    assert.equal((await call('POST', 'unbounded/activate', { version: 1 })).json().code, 'GATE_FAILED')
    assert.equal((await call('PUT', 'unbounded/labels/x', { version: 1 })).json().code, 'GATE_FAILED')
  })
})

async function readSample (): Promise<Buffer> {
  return await readFile(join(ROOT, 'models/traffic-signs/samples/lowlight-speed-limit-100.png'))
}
