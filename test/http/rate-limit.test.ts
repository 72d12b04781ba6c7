import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ADMIN, startService, type Service } from '../support/service.js'
import { testKey, writeKeys } from '../support/keys.js'

const PER_MINUTE = 3

describe('a limit of requests a minute', () => {
  let service: Service
  const [first, second] = [testKey(['read']), testKey(['read'])]
  const ask = (headers: Record<string, string> = {}, remoteAddress = '192.0.2.1', url = '/v1/models') => {
    return service.app.inject({ url, headers, remoteAddress })
  }
  const statuses = async (times: number, ...rest: Parameters<typeof ask>) => {
    const found: number[] = []
    for (let at = 0; at < times; at++) found.push((await ask(...rest)).statusCode)
    return found
  }
  before(async () => {
    service = await startService({ BANKSWITCH_REQUESTS_PER_MINUTE: String(PER_MINUTE) })
    await writeKeys(join(service.storeDir, '../keys.json'), first, second)
    await service.keys.refresh()
  })
  after(() => service.close())

  it('answers 429 beyond, with our body and the time to wait', async () => {
    assert.deepEqual(await statuses(PER_MINUTE), [200, 200, 200])
    const refused = await ask()
    assert.equal(refused.statusCode, 429)
    const { code, requestId, details } = refused.json()
    assert.equal(code, 'RATE_LIMITED')
    assert.equal(requestId, refused.headers['x-request-id'])
    assert.deepEqual(details, { expected: 'at most 3 a minute of one address' })
    const seconds = Number(refused.headers['retry-after'])
    assert.ok(seconds > 1 && seconds <= 60, String(refused.headers['retry-after']))
  })

  it('counts addresses apart, an IPv6 network as one', async () => {
    assert.deepEqual(await statuses(1, {}, '192.0.2.2'), [200])
    assert.deepEqual(await statuses(PER_MINUTE, {}, '2001:db8::1'), [200, 200, 200])
    assert.deepEqual(await statuses(1, {}, '2001:db8::ffff:1'), [429])
    assert.deepEqual(await statuses(1, {}, '2001:db8:0:1::1'), [200])
  })

  it('counts keys apart, wherever they call from', async () => {
    assert.deepEqual(await statuses(2, first.headers, '192.0.2.1'), [200, 200])
    assert.deepEqual(await statuses(2, first.headers, '192.0.2.3'), [200, 429])
    assert.deepEqual(await statuses(1, second.headers, '192.0.2.1'), [200])
    const { details } = (await ask(first.headers)).json()
    assert.deepEqual(details, { expected: 'at most 3 a minute of one key' })
  })

  it('counts refusals, so that keys cannot be guessed faster', async () => {
    const wrong = { authorization: 'Bearer guess' }
    assert.deepEqual(await statuses(PER_MINUTE + 1, wrong, '192.0.2.4', '/admin/jobs'), [401, 401, 401, 429])
  })

  it('counts paths that do not exist, and never health', async () => {
    assert.deepEqual(await statuses(PER_MINUTE + 1, {}, '192.0.2.5', '/nowhere'), [404, 404, 404, 429])
    assert.deepEqual(await statuses(PER_MINUTE + 1, {}, '192.0.2.5', '/livez'), [200, 200, 200, 200])
  })

  it('tells what is left', async () => {
    const { headers } = await ask(ADMIN, '192.0.2.6')
    assert.equal(headers['x-ratelimit-limit'], String(PER_MINUTE))
    assert.equal(headers['x-ratelimit-remaining'], String(PER_MINUTE - 1))
  })
})
