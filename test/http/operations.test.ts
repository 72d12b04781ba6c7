import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { BodyBudget } from '#src/http/limits/body-budget.js'
import { bareApp } from '../support/bare-app.js'
import { startService, type Service } from '../support/service.js'

it('a server whose every thread is stuck is not alive, by either name of that question', async () => {
  const engine = { isLost: false }
  const { app, close } = await bareApp({}, { engine })
  try {
    for (const url of ['/livez', '/v2/health/live']) {
      engine.isLost = false
      const alive = await app.inject(url)
      assert.deepEqual([alive.statusCode, alive.json()], [200, { live: true }])
    }
    engine.isLost = true
    for (const url of ['/livez', '/v2/health/live']) {
      const lost = await app.inject(url)
      assert.deepEqual([lost.statusCode, lost.json().code], [503, 'WORKERS_STUCK'], url)
    }
  } finally {
    await close()
  }
})

it('a server that has had no room for bodies for a while is not ready, by either name of that question', async () => {
  const bodies = Object.defineProperty(new BodyBudget(100), 'isUsable', { value: true, writable: true })
  const { app, close } = await bareApp({}, { engine: { isReady: true }, bodies })
  try {
    for (const url of ['/readyz', '/v2/health/ready']) {
      Object.assign(bodies, { isUsable: true })
      assert.equal((await app.inject(url)).json().ready, true, url)
      Object.assign(bodies, { isUsable: false })
      const full = await app.inject(url)
      assert.deepEqual([full.statusCode, full.json().code], [503, 'SERVER_NOT_READY'], url)
    }
  } finally {
    await close()
  }
})

it('a server that is not ready names its models where inference is open, not where it is keyed', async () => {
  const engine = { isReady: false, workers: { ready: 1 }, models: () => [{ entry: { manifest: { name: 'secret' } }, state: 'loading' }] }
  for (const keyed of ['false', 'true']) {
    const { app, close } = await bareApp({ BANKSWITCH_INFERENCE_KEYED: keyed }, { engine })
    try {
      for (const url of ['/readyz', '/v2/health/ready']) {
        const response = await app.inject(url)
        assert.deepEqual([response.statusCode, response.json().code], [503, 'SERVER_NOT_READY'])
        assert.equal(response.payload.includes('secret'), keyed === 'false')
      }
    } finally {
      await close()
    }
  }
})

describe('operations', () => {
  let service: Service
  const get = (url: string) => service.app.inject(url)
  before(async () => { service = await startService() })
  after(() => service.close())

  it('is alive and ready', async () => {
    assert.deepEqual((await get('/livez')).json(), { live: true })
    assert.deepEqual((await get('/readyz')).json(), { ready: true })
  })

  it('lists models and domains', async () => {
    const { models } = (await get('/v1/models')).json()
    const signs = models.find(({ name }: { name: string }) => name === 'traffic-signs')
    assert.equal(signs.state, 'ready')
    assert.equal(signs.defaultDomain, 'day')
    assert.deepEqual(signs.domains, ['day', 'fog', 'lowlight', 'lowres'])
    assert.equal(signs.compiled.batchNorms, 15)
    assert.deepEqual(signs.hot, [])
    assert.ok(signs.compiled.bytesPerDomain <= 0.05 * signs.compiled.weightBytes)
    assert.ok(signs.compiled.runBytes > 4 * 3 * 32 * 32 && signs.compiled.rowElementsMax.input > 3 * 32 * 32)
    assert.deepEqual((await get('/v1/models/traffic-signs')).json(), signs)
    const { domains } = (await get('/v1/models/traffic-signs/domains')).json()
    assert.deepEqual(domains.map(({ domain }: { domain: string }) => domain), signs.domains)
    const fog = (await get('/v1/models/traffic-signs/domains/fog')).json()
    assert.equal(fog.active, 1)
    assert.equal(fog.versions[0].fingerprint, signs.compiled.fingerprint)
    assert.equal((await get('/v1/models/nothing')).json().code, 'MODEL_NOT_FOUND')
    assert.equal((await get('/v1/models/traffic-signs/domains/dusk')).json().code, 'DOMAIN_NOT_FOUND')
  })

  it('tells a wrong path from a wrong method', async () => {
    const nowhere = await get('/nowhere')
    assert.equal(nowhere.statusCode, 404)
    assert.equal(nowhere.json().code, 'ROUTE_NOT_FOUND')
    const wrong = await service.app.inject({ method: 'DELETE', url: '/v2/models/traffic-signs/infer' })
    assert.equal(wrong.statusCode, 405)
    assert.equal(wrong.json().code, 'METHOD_NOT_ALLOWED')
    assert.deepEqual(wrong.json().details.expected, ['POST'])
  })

  it('exposes its metrics', async () => {
    const response = await get('/metrics')
    assert.match(String(response.headers['content-type']), /^text\/plain/)
    for (const name of [
      'bankswitch_http_requests_total', 'bankswitch_stage_seconds', 'bankswitch_queue_rows', 'bankswitch_run_rows',
      'bankswitch_inference_rows_total', 'bankswitch_workers 1', 'bankswitch_workers_ready 1', 'bankswitch_bank_lookups_total'
    ]) assert.ok(response.payload.includes(name), name)
  })

  it('documents every route', async () => {
    const document = (await get('/openapi.json')).json()
    assert.equal(document.openapi, '3.1.0')
    const paths = Object.keys(document.paths)
    for (const path of [
      '/v2/models/{model}/infer', '/v1/models/{model}/predict', '/v1/models', '/livez', '/readyz', '/metrics',
      '/admin/models/{model}/domains/{domain}', '/admin/models/{model}/domains/{domain}/versions/{version}'
    ]) assert.ok(paths.includes(path), path)
    for (const [path, methods] of Object.entries(document.paths) as Array<[string, Record<string, { summary?: string }>]>) {
      for (const [method, { summary }] of Object.entries(methods)) assert.ok(summary, `${method} ${path} has no summary`)
    }
    assert.equal((await get('/docs/')).statusCode, 200)
  })

  it('logs a request with its id, status and bank, and no body', async () => {
    service.log.length = 0
    await service.app.inject({ method: 'POST', url: '/v2/models/traffic-signs/infer', payload: { inputs: ['secret-text'] } })
    const line = service.log.find(({ msg }) => msg === 'request')!
    assert.equal(line.status, 400)
    assert.match(String(line.reqId), /^[0-9a-f-]{36}$/)
    assert.ok(!JSON.stringify(service.log).includes('secret-text'))
  })
})
