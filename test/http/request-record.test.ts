/** What is written down of a request, in the log and in the metrics, and what is not. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { ADMIN, ADMIN_KEY, startService, type Service } from '../support/service.js'
import { binaryRequest } from '../support/wire.js'

const URL_INFER = '/v2/models/traffic-signs/infer'
const MARK = 'wallet-passphrase'

describe('what is written down of a request', () => {
  let service: Service
  before(async () => { service = await startService() })
  after(() => service.close())
  beforeEach(() => { service.log.length = 0 })

  const lines = () => service.log.filter(({ msg }) => msg === 'request')
  const infer = (rows: number, headers: Record<string, string> = {}, extra: Record<string, unknown> = {}) => {
    const tensor = { shape: [rows, 3, 32, 32], values: new Float32Array(rows * 3 * 32 * 32) }
    const request = binaryRequest(tensor, extra)
    return service.app.inject({ method: 'POST', url: URL_INFER, payload: request.payload, headers: { ...request.headers, ...headers } })
  }
  const samples = async (name: string) => {
    const { payload } = await service.app.inject('/metrics')
    return Object.fromEntries(payload.split('\n').filter((line) => line.startsWith(name)).map((line) => {
      const space = line.lastIndexOf(' ')
      return [line.slice(name.length, space), Number(line.slice(space + 1))]
    }))
  }

  it('an inference has one line: who asked for what, who answered, how long each stage took', async () => {
    const { headers } = await infer(5, { 'x-domain': 'fog', 'x-request-id': 'order-66' })
    assert.equal(headers['x-request-id'], 'order-66')
    const [line, ...others] = lines()
    assert.deepEqual(others, [])
    const { time, ms, ...rest } = line as { time: number, ms: Record<string, number> }
    assert.equal(typeof time, 'number')
    assert.deepEqual(rest, {
      level: 30,
      reqId: 'order-66',
      address: '127.0.0.1',
      method: 'POST',
      url: URL_INFER,
      status: 200,
      model: 'traffic-signs',
      domain: 'fog',
      version: '1',
      rows: 5,
      msg: 'request'
    })
    assert.deepEqual(Object.keys(ms), ['read', 'decode', 'queue', 'infer', 'encode', 'total'])
    for (const [stage, time] of Object.entries(ms)) assert.ok(time >= 0 && time <= ms.total!, `${stage}: ${time}`)
    assert.ok(ms.infer! > 0)
  })

  it('Server-Timing tells the same times', async () => {
    const { headers } = await infer(1)
    const { ms } = lines()[0] as { ms: Record<string, number> }
    const told = String(headers['server-timing']).split(', ').map((part) => part.split(';dur='))
    assert.deepEqual(told.map(([stage]) => stage), ['read', 'decode', 'queue', 'infer', 'encode'])
    for (const [stage, time] of told) assert.ok(Math.abs(Number(time) - ms[stage!]!) <= 0.0011, `${stage}: ${time} and ${ms[stage!]}`)
  })

  it('a request that fails has its code, and what it asked for', async () => {
    await infer(1, { 'x-domain': 'dusk' })
    const [line] = lines()
    assert.deepEqual([line!.status, line!.code, line!.model, line!.domain], [404, 'DOMAIN_NOT_FOUND', 'traffic-signs', 'dusk'])
    assert.ok(!('rows' in line!))
  })

  it('an id that could forge a line is not taken', async () => {
    const { headers } = await infer(1, { 'x-request-id': 'a b' })
    assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/)
    assert.equal(lines()[0]!.reqId, headers['x-request-id'])
  })

  it('an error answer has the id too', async () => {
    const { body } = await service.app.inject({ url: '/nowhere', headers: { 'x-request-id': 'lost' } })
    assert.equal((JSON.parse(body) as { requestId: string }).requestId, 'lost')
  })

  it('nothing of a body, a query, a header or a key is in the log, whether it fails or not', async () => {
    const post = (url: string, payload: string | object, headers: Record<string, string> = {}, method: 'POST' | 'PUT' = 'POST') => {
      return service.app.inject({ method, url, payload: payload as object, headers: { cookie: MARK, 'x-api-key': MARK, ...headers } })
    }
    const tensor = { name: 'input', shape: [1, 3, 32, 32], datatype: 'FP32', data: Array(3072).fill(0.123456789) }
    const statuses = [
      await infer(1, { authorization: `Bearer ${MARK}` }, { id: MARK }),
      await post(`${URL_INFER}?token=${MARK}`, { inputs: [tensor] }),
      await post(URL_INFER, { inputs: [{ ...tensor, name: MARK }] }),
      await post(URL_INFER, `{"inputs": "${MARK}`),
      await post('/v1/models/traffic-signs/predict', MARK, { 'content-type': 'image/png' }),
      await post('/admin/models/traffic-signs/domains/fog', { layers: { [MARK]: {} } }, { authorization: `Bearer ${MARK}` }, 'PUT'),
      await post('/admin/models/traffic-signs/domains/fog', { layers: { [MARK]: {} } }, ADMIN, 'PUT'),
      await service.app.inject({ url: `/nowhere?key=${ADMIN_KEY}`, headers: ADMIN })
    ].map(({ statusCode }) => statusCode)
    assert.deepEqual(statuses, [200, 200, 400, 400, 400, 401, 400, 404])
    assert.equal(lines().length, statuses.length)
    const text = JSON.stringify(service.log)
    for (const secret of [MARK, ADMIN_KEY, '0.123456789']) assert.ok(!text.includes(secret), text)
  })

  it('probes and scrapes leave no line', async () => {
    for (const url of ['/livez', '/readyz', '/metrics', '/v2/health/live', '/v2/health/ready']) {
      assert.equal((await service.app.inject(url)).statusCode, 200)
    }
    assert.deepEqual(service.log, [])
  })

  it('every stage counts once for each answer, and none for a request that failed', async () => {
    const count = async () => {
      const all = await samples('bankswitch_stage_seconds_count')
      return ['read', 'decode', 'queue', 'infer', 'encode', 'total'].map((stage) => all[`{model="traffic-signs",stage="${stage}"}`]!)
    }
    const before = await count()
    await infer(2)
    await infer(2, { 'x-domain': 'dusk' })
    assert.deepEqual(await count(), before.map((value) => value + 1))
  })

  it('rows and requests count for their domain, in a request of several domains for each', async () => {
    const domains = Buffer.from(['fog', 'day', 'fog'].map((name) => `\x03\0\0\0${name}`).join(''))
    const of = async (what: string) => {
      const all = await samples(`bankswitch_inference_${what}_total`)
      return ['fog', 'day'].map((domain) => all[`{model="traffic-signs",domain="${domain}",outcome="ok"}`] ?? 0)
    }
    const [rows, requests] = [await of('rows'), await of('requests')]
    const values = new Float32Array(3 * 3 * 32 * 32)
    const { payload, headers } = binaryRequest({ shape: [3, 3, 32, 32], values }, {
      inputs: [
        { name: 'input', shape: [3, 3, 32, 32], datatype: 'FP32', parameters: { binary_data_size: values.byteLength } },
        { name: '__domain__', shape: [3], datatype: 'BYTES', parameters: { binary_data_size: domains.length } }
      ]
    })
    const answer = await service.app.inject({ method: 'POST', url: URL_INFER, payload: Buffer.concat([payload, domains]), headers })
    assert.equal(answer.statusCode, 200, answer.payload)
    assert.deepEqual(await of('rows'), [rows[0]! + 2, rows[1]! + 1])
    assert.deepEqual(await of('requests'), requests.map((value) => value + 1))
    assert.deepEqual([lines()[0]!.domain, lines()[0]!.version, lines()[0]!.rows], ['fog,day', '1,1', 3])
  })

  it('the workers, their banks, the models and the build are told', async () => {
    await infer(1)
    const { payload } = await service.app.inject('/metrics')
    for (const sample of [
      'bankswitch_workers 1', 'bankswitch_models{state="failed"} 0', 'bankswitch_queue_rows_max 1024',
      'bankswitch_build_info{version="0.0.0-test",'
    ]) assert.ok(payload.includes(`\n${sample}`), sample)
    assert.ok(Number(/^bankswitch_worker_banks (\d+)$/m.exec(payload)![1]) > 0)
    assert.ok(Number(/^bankswitch_worker_bank_bytes (\d+)$/m.exec(payload)![1]) > 0)
    assert.match(payload, /^nodejs_eventloop_lag_p99_seconds /m)
  })
})
