import assert from 'node:assert/strict'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ADMIN, ADMIN_KEY, startService, type Service } from '../support/service.js'

const MODEL = '/admin/models/traffic-signs'

describe('audit log', () => {
  let service: Service
  let path: string
  const call = (method: 'GET' | 'PUT' | 'POST' | 'DELETE', url: string, payload?: object | Buffer, headers = {}) => {
    return service.app.inject({ method, url, headers: { ...ADMIN, ...headers }, ...(payload === undefined ? {} : { payload: payload as object }) })
  }
  const lines = async () => {
    return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  before(async () => {
    service = await startService()
    path = join(service.domainsDir, '..', 'audit.jsonl')
  })
  after(() => service.close())

  it('has a line for each admin call, with what it was about and how it ended', async () => {
    const bank = (await call('GET', `${MODEL}/domains/day/versions/1`)).rawPayload
    const put = await call('PUT', `${MODEL}/domains/told?activate=true`, bank, { 'content-type': 'application/octet-stream' })
    await call('POST', `${MODEL}/domains/told/activate`, { version: 1 })
    await call('POST', `${MODEL}/domains/told/activate`, { version: 7 })
    await call('POST', '/v2/repository/models/traffic-signs@told:1/load')
    await call('DELETE', `${MODEL}/domains/told`)
    const told = (await lines()).map(({ time, requestId, ...rest }) => {
      assert.match(String(time), /^\d{4}-.*Z$/)
      assert.match(String(requestId), /^[0-9a-f-]{36}$/)
      return rest
    })
    const about = { keyId: 'admin', model: 'traffic-signs', domain: 'told' }
    assert.deepEqual(told, [
      { method: 'GET', path: `${MODEL}/domains/day/versions/1`, ...about, domain: 'day', version: 1, status: 200, outcome: 'ok' },
      { method: 'PUT', path: `${MODEL}/domains/told`, ...about, version: 1, status: 201, outcome: 'ok' },
      { method: 'POST', path: `${MODEL}/domains/told/activate`, ...about, version: 1, status: 200, outcome: 'ok' },
      { method: 'POST', path: `${MODEL}/domains/told/activate`, ...about, version: 7, status: 404, outcome: 'VERSION_NOT_FOUND' },
      { method: 'POST', path: '/v2/repository/models/traffic-signs@told:1/load', ...about, version: '1', status: 200, outcome: 'ok' },
      { method: 'DELETE', path: `${MODEL}/domains/told`, ...about, status: 204, outcome: 'ok' }
    ])
    const ids = (await lines()).map(({ requestId }) => requestId)
    assert.ok(ids.includes(put.headers['x-request-id']))
    assert.ok(!(await readFile(path, 'utf8')).includes(ADMIN_KEY))
  })

  it('has none for what needs no key, or comes without one', async () => {
    const before = (await lines()).length
    await service.app.inject('/v1/models')
    await call('DELETE', `${MODEL}/domains/day`, undefined, { authorization: 'Bearer wrong' })
    await call('GET', '/admin/nothing')
    assert.equal((await lines()).length, before)
  })

  it('that cannot be written fails the call, once, and takes the next one when it can', async () => {
    await rm(path)
    await mkdir(path)
    const failed = await call('POST', `${MODEL}/domains/day/activate`, { version: 1 })
    assert.equal(failed.statusCode, 503)
    assert.equal(failed.json().code, 'AUDIT_UNWRITABLE')
    assert.equal((await service.app.inject('/v1/models')).statusCode, 200)
    await rm(path, { recursive: true })
    assert.equal((await call('POST', `${MODEL}/domains/day/activate`, { version: 1 })).statusCode, 200)
    assert.equal((await lines()).length, 1)
  })
})
