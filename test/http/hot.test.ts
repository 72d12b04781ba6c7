import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RELATIVE_ERROR_MAX } from '#src/compiler/prove.js'
import { LOOK_MS } from '#src/serving/heating/hot-domains.js'
import { ASKED_MS_MIN, HOT_ROWS_MIN } from '#src/serving/heating/heat.js'
import { ADMIN, startService } from '../support/service.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'

const MODEL = '/v1/models/traffic-signs'
const DOMAINS = '/admin/models/traffic-signs/domains'
const ROW = 3072

/** More than the half-life takes from what was asked half a minute ago. */
const ROWS = HOT_ROWS_MIN * 0.7

test('a domain that gets the traffic runs on a network of its own, until it is removed', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const clock = performance.now.bind(performance)
  let passedMs = 0
  t.mock.method(performance, 'now', () => clock() + passedMs)
  const service = await startService({ BANKSWITCH_WORKERS: '2', BANKSWITCH_HOT_BYTES: String(2 ** 30) })
  const made = lineOf(service.log, /a hot domain/)
  try {
    const ask = async (domain: string, rows: number): Promise<Float32Array> => {
      const values = Float32Array.from({ length: rows * ROW }, (_, at) => Math.sin(at * 12.9898) * 2)
      const { payload, headers } = binaryRequest({ shape: [rows, 3, 32, 32], values })
      const response = await service.app.inject({
        method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: { ...headers, 'x-domain': domain }
      })
      assert.equal(response.statusCode, 200, response.payload)
      return firstOutput(parseAnswer(response))
    }
    const hot = async () => (await service.app.inject(MODEL)).json().hot as Array<Record<string, unknown>>
    const figure = async (name: string) => {
      const { payload } = await service.app.inject({ url: '/metrics', headers: ADMIN })
      return Number(new RegExp(`^bankswitch_${name}(?:{[^}]*})? (\\d+)$`, 'm').exec(payload)?.[1])
    }
    const file = (await service.app.inject({ url: `${DOMAINS}/fog/versions/1`, headers: ADMIN })).rawPayload
    const headers = { ...ADMIN, 'content-type': 'application/octet-stream' }
    assert.equal((await service.app.inject({ method: 'PUT', url: `${DOMAINS}/mist`, payload: file, headers })).statusCode, 201)
    const shared = await ask('mist', ROWS)
    const other = await ask('day', 3)
    passedMs += ASKED_MS_MIN
    await ask('mist', ROWS)
    assert.deepEqual(await hot(), [])
    t.mock.timers.tick(LOOK_MS)
    assert.equal((await made).msg, 'a hot domain has a network of its own')
    const [fog, mist] = await hot()
    assert.deepEqual([fog!.domain, mist!.domain, fog!.digest, fog!.bytes], ['fog', 'mist', mist!.digest, mist!.bytes])
    assert.deepEqual([await figure('hot_banks'), await figure('hot_bytes')], [1, fog!.bytes])

    const own = await ask('mist', ROWS)
    assert.equal(await figure('hot_rows_total'), ROWS)
    const largest = Math.max(...shared.map(Math.abs))
    assert.ok(own.every((value, at) => Math.abs(value - shared[at]!) <= RELATIVE_ERROR_MAX * largest))
    assert.notDeepEqual(own, shared, 'two networks, two orders of summation')
    assert.deepEqual(await ask('day', 3), other)
    assert.deepEqual(await ask('mist', 3), own.subarray(0, 3 * own.length / ROWS), 'rows are the same bit for bit, alone and among others')

    assert.equal((await service.app.inject({ method: 'DELETE', url: `${DOMAINS}/mist`, headers: ADMIN })).statusCode, 204)
    assert.deepEqual(await hot(), [])
    assert.deepEqual(await ask('fog', ROWS), shared)
  } finally {
    await service.close()
  }
})

/** The next line whose message matches. */
function lineOf (log: Array<Record<string, unknown>>, message: RegExp): Promise<Record<string, unknown>> {
  return new Promise((resolve) => {
    const push = log.push.bind(log)
    log.push = (...lines) => {
      for (const line of lines) if (message.test(String(line.msg))) resolve(line)
      return push(...lines)
    }
  })
}
