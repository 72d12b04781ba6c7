import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ADMIN, startService, type Service } from '../support/service.js'
import { testKey, writeKeys } from '../support/keys.js'
import { binaryRequest } from '../support/wire.js'

const PAST = '2001-01-01T00:00:00Z'
const FUTURE = '2999-01-01T00:00:00Z'

const MODEL = '/v2/models/traffic-signs'
const DOMAIN = '/admin/models/traffic-signs/domains/day'

const inference = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) })

const keys = {
  infer: testKey(['infer']),
  read: testKey(['read']),
  admin: testKey(['admin']),
  expired: testKey(['infer', 'read', 'admin'], { expiresAt: PAST }),
  current: testKey(['infer'], { expiresAt: FUTURE }),
  limited: testKey(['infer', 'admin'], { models: ['traffic-signs'] }),
  elsewhere: testKey(['infer', 'admin'], { models: ['other'] })
}
type Name = keyof typeof keys

interface Call { method: 'GET' | 'POST' | 'DELETE' | 'PUT', url: string, headers?: Record<string, string>, payload?: Buffer | object }

const calls = {
  infer: { method: 'POST', url: `${MODEL}/infer`, ...inference },
  predict: { method: 'POST', url: '/v1/models/traffic-signs/predict', headers: { 'content-type': 'image/png' }, payload: Buffer.from('x') },
  progress: { method: 'GET', url: '/v1/progress/nobody' },
  describe: { method: 'GET', url: '/v1/models/traffic-signs' },
  list: { method: 'GET', url: '/v1/models' },
  index: { method: 'POST', url: '/v2/repository/index' },
  metrics: { method: 'GET', url: '/metrics' },
  versions: { method: 'GET', url: `${DOMAIN}/versions` },
  activate: { method: 'POST', url: `${DOMAIN}/activate`, payload: { version: 1 } },
  load: { method: 'POST', url: '/v2/repository/models/traffic-signs@day:1/load', payload: {} },
  jobs: { method: 'GET', url: '/admin/jobs' }
} satisfies Record<string, Call>
type What = keyof typeof calls

const refusal = async (service: Service, what: What, name?: Name) => {
  const call: Call = calls[what]
  const headers = { ...call.headers, ...(name === undefined ? {} : keys[name].headers) }
  const response = await service.app.inject({ ...call, headers } as never)
  const { statusCode } = response
  if (![401, 403].includes(statusCode)) return undefined
  const { code, requestId } = response.json()
  assert.equal(requestId, response.headers['x-request-id'])
  return { code, status: statusCode, challenge: response.headers['www-authenticate'] }
}

const start = async (environment: Record<string, string> = {}) => {
  const service = await startService(environment)
  await writeKeys(join(service.storeDir, '../keys.json'), ...Object.values(keys))
  await service.keys.refresh()
  return service
}

describe('a server whose inference and metrics are keyed', () => {
  let service: Service
  before(async () => { service = await start({ BANKSWITCH_INFERENCE_KEYED: 'true', BANKSWITCH_METRICS_KEYED: 'true' }) })
  after(() => service.close())

  const allowed: Record<Name, What[]> = {
    infer: ['infer', 'predict', 'progress', 'describe', 'list', 'index'],
    read: ['describe', 'list', 'index', 'metrics', 'versions', 'jobs'],
    admin: ['describe', 'list', 'index', 'metrics', 'versions', 'jobs', 'activate', 'load'],
    expired: [],
    current: ['infer', 'predict', 'progress', 'describe', 'list', 'index'],
    limited: ['infer', 'predict', 'progress', 'describe', 'versions', 'activate', 'load'],
    elsewhere: ['progress']
  }
  for (const name of Object.keys(keys) as Name[]) {
    it(`lets the key "${name}" do what it may and nothing else`, async () => {
      const done: What[] = []
      for (const what of Object.keys(calls) as What[]) {
        const refused = await refusal(service, what, name)
        if (refused === undefined) done.push(what)
        else if (name === 'expired') {
          assert.deepEqual(refused, { code: 'KEY_EXPIRED', status: 401, challenge: 'Bearer error="invalid_token"' })
        } else {
          assert.equal(refused.status, 403)
          assert.equal(refused.challenge, 'Bearer error="insufficient_scope"')
          assert.match(refused.code, name === 'limited' || name === 'elsewhere' ? /^(MODEL_DENIED|SCOPE_MISSING)$/ : /^SCOPE_MISSING$/)
        }
      }
      assert.deepEqual(done.toSorted(), allowed[name].toSorted())
    })
  }

  it('asks whoever has no key for one, and tells one who has a wrong one', async () => {
    for (const what of Object.keys(calls) as What[]) {
      assert.deepEqual(await refusal(service, what), { code: 'AUTHENTICATION_REQUIRED', status: 401, challenge: 'Bearer' }, what)
    }
    const wrong = await service.app.inject({ url: '/v1/models', headers: testKey(['infer']).headers })
    assert.equal(wrong.statusCode, 401)
    assert.equal(wrong.json().code, 'KEY_UNKNOWN')
  })

  it('answers with the key: the inference itself, and a scope that is missing by name', async () => {
    const answer = await service.app.inject({ ...calls.infer, headers: { ...inference.headers, ...keys.infer.headers } })
    assert.equal(answer.statusCode, 200)
    const refused = (await service.app.inject({ ...calls.activate, headers: keys.read.headers })).json()
    assert.deepEqual(refused.details, { expected: ['admin'], received: ['read'] })
  })

  it('lets the admin key of the settings do everything', async () => {
    for (const what of Object.keys(calls) as What[]) {
      const call: Call = calls[what]
      const { statusCode } = await service.app.inject({ ...call, headers: { ...call.headers, ...ADMIN } } as never)
      assert.ok(statusCode !== 401 && statusCode !== 403, `${what}: ${statusCode}`)
    }
  })

  it('answers health and documents to everybody', async () => {
    for (const url of ['/livez', '/readyz', '/v2/health/live', '/v2/health/ready', '/v2', '/openapi.json', '/docs/']) {
      assert.equal((await service.app.inject(url)).statusCode, 200, url)
    }
    assert.equal((await service.app.inject('/nowhere')).statusCode, 404)
  })

  it('does not tell an unknown model from a known one without a key', async () => {
    const response = await service.app.inject({ method: 'POST', url: '/v2/models/nothing/infer' })
    assert.equal(response.json().code, 'AUTHENTICATION_REQUIRED')
    const limited = await service.app.inject({ method: 'POST', url: '/v2/models/nothing/infer', headers: keys.limited.headers })
    assert.equal(limited.json().code, 'MODEL_DENIED')
  })

  it('takes model@domain as the model, in both directions', async () => {
    const infer = async (path: string, name: Name) => (await service.app.inject({
      method: 'POST', url: `/v2/models/${path}/infer`, payload: inference.payload, headers: { ...inference.headers, ...keys[name].headers }
    })).statusCode
    assert.equal(await infer('traffic-signs@fog', 'limited'), 200)
    assert.equal(await infer('traffic-signs%40fog', 'limited'), 200)
    assert.equal(await infer('other@traffic-signs', 'limited'), 403)
    assert.equal(await infer('traffic-signs@other', 'elsewhere'), 403)
    assert.equal(await infer('@traffic-signs', 'limited'), 403)
  })

  it('logs the id of the key with every request, allowed or not, and never a key', async () => {
    service.log.length = 0
    for (const name of ['infer', 'expired', 'elsewhere'] as const) await refusal(service, 'infer', name)
    await service.app.inject({ ...calls.jobs, headers: ADMIN })
    await refusal(service, 'infer')
    const lines = service.log.filter(({ msg }) => msg === 'request')
    assert.deepEqual(lines.map(({ keyId }) => keyId), [keys.infer.id, keys.expired.id, keys.elsewhere.id, 'admin', undefined])
    const text = JSON.stringify(service.log)
    for (const secret of [ADMIN.authorization.slice(7), ...Object.values(keys).map((key) => key.text.slice(-43))]) assert.ok(!text.includes(secret))
  })

  it('takes keys from the header only', async () => {
    for (const url of [`/v1/models?key=${keys.infer.text}`, `/v1/models?access_token=${keys.infer.text}`]) {
      assert.equal((await service.app.inject(url)).statusCode, 401)
    }
    for (const authorization of [keys.infer.text, `Basic ${keys.infer.text}`, `Bearer ${keys.infer.text} x`]) {
      assert.equal((await service.app.inject({ url: '/v1/models', headers: { authorization } })).statusCode, 401, authorization)
    }
    const lower = { authorization: `bearer  ${keys.infer.text} ` }
    assert.equal((await service.app.inject({ url: '/v1/models', headers: lower })).statusCode, 200)
  })

  it('documents which routes need a key', async () => {
    const { paths, components } = (await service.app.inject('/openapi.json')).json()
    assert.deepEqual(components.securitySchemes, { key: { type: 'http', scheme: 'bearer' } })
    const isKeyed = (path: string, method: string) => paths[path][method].security !== undefined
    assert.ok(isKeyed('/v2/models/{model}/infer', 'post') && isKeyed('/admin/jobs', 'get') && isKeyed('/metrics', 'get'))
    assert.ok(!isKeyed('/livez', 'get'))
  })
})

describe('a server with keys whose inference is open', () => {
  let service: Service
  before(async () => { service = await start() })
  after(() => service.close())

  it('infers without a key, with a wrong one, and logs the id of a right one', async () => {
    service.log.length = 0
    const infer = async (headers: Record<string, string>) => {
      return (await service.app.inject({ ...calls.infer, headers: { ...inference.headers, ...headers } })).statusCode
    }
    assert.equal(await infer({}), 200)
    assert.equal(await infer({ authorization: 'Bearer of-another-service' }), 200)
    assert.equal(await infer(keys.infer.headers), 200)
    const ids = service.log.filter(({ msg }) => msg === 'request').map(({ keyId }) => keyId)
    assert.deepEqual(ids, [undefined, undefined, keys.infer.id])
  })

  it('still guards the admin API by scope', async () => {
    assert.equal((await refusal(service, 'versions'))?.status, 401)
    assert.equal((await refusal(service, 'versions', 'infer'))?.status, 403)
    assert.equal(await refusal(service, 'versions', 'read'), undefined)
    assert.equal((await refusal(service, 'activate', 'read'))?.status, 403)
    assert.equal(await refusal(service, 'activate', 'admin'), undefined)
  })

  it('lets a key that is limited to a model see the jobs of that model only', async () => {
    const form = new FormData()
    form.append('images', new Blob(['no picture']), 'x.png')
    const request = new Request('http://x', { method: 'POST', body: form })
    const started = await service.app.inject({
      method: 'POST',
      url: `${DOMAIN}/calibrations`,
      headers: { ...keys.limited.headers, 'content-type': request.headers.get('content-type')! },
      payload: Buffer.from(await request.arrayBuffer())
    })
    assert.equal(started.statusCode, 202, started.payload)
    const url = `/admin/jobs/${started.json().id}`
    const status = async (name: Name, method: 'GET' | 'DELETE') => (await service.app.inject({ method, url, headers: keys[name].headers })).statusCode
    assert.equal(await status('limited', 'GET'), 200)
    assert.equal(await status('elsewhere', 'GET'), 403)
    assert.equal(await status('elsewhere', 'DELETE'), 403)
    assert.equal(await status('read', 'DELETE'), 403)
    assert.equal(await status('limited', 'DELETE'), 200)
    const unknown = await service.app.inject({ url: '/admin/jobs/00000000-0000-0000-0000-000000000000', headers: keys.limited.headers })
    assert.equal(unknown.json().code, 'JOB_NOT_FOUND')
  })

  it('follows a rotation between two requests', async () => {
    const [first, second] = [testKey(['read']), testKey(['read'])]
    const path = join(service.storeDir, '../keys.json')
    const status = async ({ headers }: typeof first) => (await service.app.inject({ ...calls.versions, headers })).statusCode
    for (const [file, expected] of [[[first], [200, 401]], [[first, second], [200, 200]], [[second], [401, 200]]] as const) {
      await writeKeys(path, ...file)
      await service.keys.refresh()
      assert.deepEqual([await status(first), await status(second)], expected)
    }
  })

  it('sends headers that keep browsers from harm', async () => {
    for (const url of ['/livez', '/nowhere', '/admin/jobs']) {
      const { headers } = await service.app.inject(url)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['x-frame-options'], 'DENY')
      assert.equal(headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'")
    }
    const policy = String((await service.app.inject('/docs/')).headers['content-security-policy'])
    assert.match(policy, /script-src 'self'/)
    assert.doesNotMatch(policy, /upgrade-insecure-requests|unsafe-inline/)
  })
})
