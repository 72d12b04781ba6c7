/** The files of the page, and what it asks: who one is, the last hour, samples. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { bareApp } from '../support/bare-app.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import type { Caller } from '#src/access/caller.js'
import type { Audience } from '#src/http/access/route-access.js'

const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/** Compressed, of all files together. */
const BYTES_MAX = 150_000

const KEYED = { BANKSWITCH_INFERENCE_KEYED: 'true', BANKSWITCH_METRICS_KEYED: 'true' }

const FILES = ['/ui/', '/ui/app.js', '/ui/app.css', '/ui/icon.svg']

describe('the page at /ui', () => {
  it('comes with a strict policy, in every encoding, and is asked for again only when it has changed', async () => {
    const { app, close } = await bareApp()
    try {
      let total = 0
      for (const url of FILES) {
        const plain = await app.inject({ url, headers: { 'accept-encoding': 'identity' } })
        assert.deepEqual([plain.statusCode, plain.headers['content-security-policy']], [200, POLICY], url)
        assert.equal(plain.headers['x-content-type-options'], 'nosniff')
        const brotli = await app.inject({ url, headers: { 'accept-encoding': 'gzip, deflate, br' } })
        assert.deepEqual(brotliDecompressSync(brotli.rawPayload), plain.rawPayload)
        const gzip = await app.inject({ url, headers: { 'accept-encoding': 'gzip' } })
        assert.deepEqual(gunzipSync(gzip.rawPayload), plain.rawPayload)
        total += gzip.rawPayload.length
        const again = await app.inject({ url, headers: { 'accept-encoding': 'gzip', 'if-none-match': String(gzip.headers.etag) } })
        assert.deepEqual([again.statusCode, again.payload], [304, ''])
      }
      assert.ok(total > 5_000 && total < BYTES_MAX, `${total} bytes`)
    } finally {
      await close()
    }
  })

  it('has no script and no style in its HTML, and asks no other host', async () => {
    const { app, close } = await bareApp()
    try {
      const { payload } = await app.inject('/ui/')
      assert.doesNotMatch(payload, /<style|style=|\son\w+=|<script(?![^>]* src=)|https?:\/\//)
      const { statusCode, headers } = await app.inject('/ui')
      assert.deepEqual([statusCode, headers.location], [308, 'ui/'])
    } finally {
      await close()
    }
  })

  it('can be turned off; then browsers get the plain page at /', async () => {
    const { app, close } = await bareApp({ BANKSWITCH_UI: 'false' })
    try {
      for (const url of ['/ui', ...FILES]) assert.equal((await app.inject(url)).statusCode, 404, url)
      const front = await app.inject({ url: '/', headers: { accept: 'text/html' } })
      assert.equal(front.statusCode, 200)
      assert.doesNotMatch(front.payload, /href="\/ui/)
    } finally {
      await close()
    }
  })
})

describe('GET /v1/caller', () => {
  const nothing = { infer: false, list: false, observe: false, read: false, change: false }
  type Row = [what: string, environment: Record<string, string>, scopes: string[] | undefined, audience: Audience, may: Partial<typeof nothing>]
  const rows: Row[] = [
    ['nobody, where inference is open', {}, undefined, 'all', { infer: true, list: true, observe: true }],
    ['nobody, where all is keyed', KEYED, undefined, 'all', {}],
    ['infer, where all is keyed', KEYED, ['infer'], 'all', { infer: true, list: true }],
    ['read', { BANKSWITCH_INFERENCE_KEYED: 'true' }, ['read'], 'all', { list: true, observe: true, read: true }],
    ['admin', {}, ['admin'], 'all', { infer: true, list: true, observe: true, read: true, change: true }],
    ['admin, at the public port', {}, ['admin'], 'public', { infer: true, list: true }],
    ['admin, at the admin port', {}, ['admin'], 'admin', { list: true, observe: true, read: true, change: true }]
  ]
  for (const [what, environment, scopes, audience, may] of rows) {
    it(`tells ${what} what it may`, async () => {
      const caller = scopes === undefined ? undefined : { id: 'someone', scopes: new Set(scopes) } as Caller
      const { app, close } = await bareApp(environment, { audience, ...caller === undefined ? {} : { caller } })
      try {
        const headers = caller === undefined ? {} : { authorization: 'Bearer of-someone' }
        const body = (await app.inject({ url: '/v1/caller', headers })).json()
        assert.deepEqual(body.may, { ...nothing, ...may })
        assert.deepEqual(body.key, scopes === undefined ? undefined : { id: 'someone', scopes })
      } finally {
        await close()
      }
    })
  }

  it('refuses keys that are unknown or have expired', async () => {
    const unknown = await bareApp()
    const expired = await bareApp({}, { caller: { id: 'old', scopes: new Set(['infer']), expiresAt: 1 } })
    try {
      for (const [{ app }, code] of [[unknown, 'KEY_UNKNOWN'], [expired, 'KEY_EXPIRED']] as const) {
        const response = await app.inject({ url: '/v1/caller', headers: { authorization: 'Bearer x' } })
        assert.deepEqual([response.statusCode, response.json().code], [401, code])
      }
    } finally {
      await unknown.close()
      await expired.close()
    }
  })
})

describe('the last hour', () => {
  let service: Service
  before(async () => { service = await startService() })
  after(() => service.close())
  const get = async (url: string) => (await service.app.inject({ url, headers: ADMIN })).json()

  it('has the traffic of domains and versions, and what is in memory', async () => {
    const { bytes } = await sample()
    assert.deepEqual((await get('/v1/models/traffic-signs/traffic')).domains.map(({ recent }: { recent?: object }) => recent).filter(Boolean), [])
    for (const domain of ['fog', 'fog', 'day']) {
      const { statusCode } = await service.app.inject({
        method: 'POST', url: '/v1/models/traffic-signs/predict', payload: bytes, headers: { 'content-type': 'image/png', 'x-domain': domain }
      })
      assert.equal(statusCode, 200)
    }
    const { domains, slotSeconds } = await get('/v1/models/traffic-signs/traffic')
    const fog = domains.find(({ domain }: { domain: string }) => domain === 'fog')
    assert.deepEqual([fog.recent.requests, fog.recent.failures, slotSeconds], [2, 0, 15])
    assert.equal(fog.recent.series.reduce((sum: number, count: number) => sum + count, 0), 2)
    assert.ok(fog.recent.p50Ms > 0 && fog.recent.perSecond > 0 && fog.residentBytes > 1000, JSON.stringify(fog))
    const one = await get('/v1/models/traffic-signs/domains/fog/traffic')
    assert.deepEqual(one.versions.map(({ version, requests }: { version: number, requests: number }) => [version, requests]), [[1, 2]])
    assert.deepEqual((await get('/v1/models/traffic-signs/domains/lowres/traffic')), { slotSeconds: 15, watchesDrift: false, versions: [] })
    assert.equal((await get('/v1/models/gone/traffic')).code, 'MODEL_NOT_FOUND')
    assert.equal((await get('/v1/models/traffic-signs/domains/gone/traffic')).code, 'DOMAIN_NOT_FOUND')
  })

  it('has latencies by stage and the gauges of the service', async () => {
    const { present, limits, requests, stages, gauges } = await get('/metrics/history')
    assert.equal(requests.reduce((sum: number, count: number) => sum + count, 0), 3)
    assert.ok(stages.infer.p50Ms.some((ms: number | null) => ms !== null && ms > 0))
    assert.deepEqual(Object.keys(present).toSorted(), Object.keys(gauges).toSorted())
    assert.ok(present.memoryBytes > 2 ** 20 && gauges.memoryBytes.length === requests.length)
    assert.equal(limits.queueRows, 1024)
  })

  it('has the admin calls that changed something or were refused, with whoever called', async () => {
    const json = { ...ADMIN, 'content-type': 'application/json' }
    await service.app.inject({ method: 'PUT', url: '/admin/models/traffic-signs/domains/day/labels/a', headers: json, payload: '{"version":1}' })
    await service.app.inject({ method: 'DELETE', url: '/admin/models/traffic-signs/domains/gone', headers: ADMIN })
    await service.app.inject({ method: 'DELETE', url: '/admin/models/traffic-signs/domains/day' })
    await get('/admin/models/traffic-signs/domains/day/versions')
    const { calls } = await get('/admin/calls')
    assert.deepEqual(calls.map(({ method, status, outcome, keyId, domain }: Record<string, unknown>) => [method, status, outcome, keyId, domain]), [
      ['DELETE', 404, 'DOMAIN_NOT_FOUND', 'admin', 'gone'], ['PUT', 200, 'ok', 'admin', 'day']
    ])
  })

  it('gives the samples of a model', async () => {
    const { samples } = await get('/v1/models/traffic-signs/samples')
    assert.ok(samples.includes('lowlight-speed-limit-100.png'))
    const { headers, rawPayload } = await service.app.inject(`/v1/models/traffic-signs/samples/${samples[0]}`)
    assert.equal(headers['content-type'], 'image/png')
    assert.deepEqual(rawPayload, (await sample()).bytes)
    for (const name of ['..%2fmodel.onnx', 'gone.png', '%2e%2e']) assert.ok((await service.app.inject(`/v1/models/traffic-signs/samples/${name}`)).statusCode >= 400, name)
  })

  async function sample () {
    const { samples } = await get('/v1/models/traffic-signs/samples')
    return { bytes: (await service.app.inject(`/v1/models/traffic-signs/samples/${samples[0]}`)).rawPayload }
  }
})
