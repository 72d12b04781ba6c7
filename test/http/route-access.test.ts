import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import Fastify from 'fastify'
import { accessOf, isServed, requireDeclarations, scopesOf, type RouteAccess } from '#src/http/access/route-access.js'
import { bareApp, type BareApp } from '../support/bare-app.js'
import { registeredRoutes } from '../support/registered-routes.js'
import type { App } from '#src/http/app-type.js'
import type { Caller } from '#src/access/caller.js'

const OPEN = { inferenceKeyed: false, metricsKeyed: false }
const KEYED = { inferenceKeyed: true, metricsKeyed: true }

const ALL: readonly RouteAccess[] = ['health', 'documents', 'metrics', 'administration', 'listing', 'inference']

describe('the access of a route', () => {
  const rows: Array<[access: RouteAccess, method: string, open: string, keyed: string]> = [
    ['health', 'GET', '', ''],
    ['documents', 'GET', '', ''],
    ['metrics', 'GET', '', 'read'],
    ['listing', 'GET', '', 'infer,read'],
    ['listing', 'POST', '', 'infer,read'],
    ['inference', 'POST', '', 'infer'],
    ['inference', 'GET', '', 'infer'],
    ['administration', 'GET', 'read', 'read'],
    ['administration', 'HEAD', 'read', 'read'],
    ['administration', 'POST', 'admin', 'admin'],
    ['administration', 'OPTIONS', 'admin', 'admin']
  ]
  for (const [access, method, open, keyed] of rows) {
    it(`${access} by ${method} asks for its scopes, whatever else is open`, () => {
      assert.equal(scopesOf(access, method, OPEN).join(), open)
      assert.equal(scopesOf(access, method, KEYED).join(), keyed)
    })
  }

  it('is served to one audience or the other; health, documents and lists to both', () => {
    for (const access of ALL) {
      const audiences = (['all', 'public', 'admin'] as const).filter((audience) => isServed(audience, access)).join()
      const expected = { health: 'all,public,admin', documents: 'all,public,admin', listing: 'all,public,admin', metrics: 'all,admin', administration: 'all,admin' }
      assert.equal(audiences, (expected as Record<string, string>)[access] ?? 'all,public', access)
    }
  })
})

describe('a route that does not declare its access', () => {
  const start = () => {
    const app = Fastify() as unknown as App
    requireDeclarations(app)
    const seen: string[] = []
    app.addHook('onRoute', (route) => { seen.push(`${String(route.method)} ${route.url} ${accessOf(route)}`) })
    return { app, seen }
  }
  const answer = async () => 'x'
  const isRefused = /the route GET \/new does not declare its access/

  it('is refused where it is defined', () => {
    const { app, seen } = start()
    for (const options of [{}, { config: {} }]) assert.throws(() => app.get('/new', options, answer), isRefused)
    assert.deepEqual(seen, [])
  })

  it('makes the start fail when a plugin defines it, at any depth', async () => {
    const { app } = start()
    app.register(async (scope) => {
      await scope.register(async (inner) => { inner.get('/new', answer) })
    })
    await assert.rejects(async () => await app.ready(), isRefused)
  })

  it('takes what is declared for the plugins of its scope, or its own, and lends it to nobody else', async () => {
    const { app, seen } = start()
    await app.register(async (scope) => {
      scope.decorate('accessOfPlugins', 'documents')
      await scope.register(async (inner) => {
        inner.get('/page', answer)
        inner.get('/own', { config: { access: 'metrics' } }, answer)
      })
    })
    assert.deepEqual(seen, ['GET /page documents', 'HEAD /page documents', 'GET /own metrics', 'HEAD /own metrics'])
    assert.throws(() => app.get('/new', answer), isRefused)
    await app.close()
  })

  it('cannot be added to the service', async () => {
    const { app, close } = await bareApp()
    try {
      for (const url of ['/new', '/admin/new', '/v1/models/:model/new', '/docs/new']) {
        assert.throws(() => app.get(url, answer), /does not declare its access/)
        assert.throws(() => app.post(url, answer), /does not declare its access/)
      }
    } finally {
      await close()
    }
  })
})

describe('the routes of the service', () => {
  const nobody: Caller = { id: 'nobody', scopes: new Set() }
  const apps: Record<string, BareApp> = {}
  before(async () => {
    apps.open = await bareApp({}, { caller: nobody })
    apps.keyed = await bareApp({ BANKSWITCH_INFERENCE_KEYED: 'true', BANKSWITCH_METRICS_KEYED: 'true' }, { caller: nobody })
    for (const audience of ['public', 'admin'] as const) apps[audience] = await bareApp({}, { audience })
  })
  after(async () => { for (const { close } of Object.values(apps)) await close() })

  const ask = async (which: string, method: string, pattern: string) => {
    const url = pattern.replace(':id', '00000000-0000-4000-8000-000000000000').replaceAll(/:\w+|\*/g, '1')
    return await apps[which]!.app.inject({ method: method as 'GET', url, headers: { authorization: 'Bearer of-nobody' } })
  }
  /** The scopes that a route asks for, told to a key that has none. */
  const scopes = async (which: string, method: string, pattern: string) => {
    const response = await ask(which, method, pattern)
    return response.statusCode === 403 ? (response.json().details.expected as string[]).join() : ''
  }

  const rows: Array<[route: string, open: string, keyed: string]> = [
    ['GET /livez', '', ''],
    ['HEAD /readyz', '', ''],
    ['GET /v2/health/live', '', ''],
    ['GET /v2/health/ready', '', ''],
    ['GET /docs', '', ''],
    ['GET /docs/static/*', '', ''],
    ['GET /openapi.json', '', ''],
    ['GET /v2/', '', ''],
    ['GET /metrics', '', 'read'],
    ['GET /v1/caller', '', ''],
    ['GET /ui/app.js', '', ''],
    ['GET /metrics/history', '', 'read'],
    ['GET /v1/models', '', 'infer,read'],
    ['GET /v1/models/:model/samples/:sample', '', 'infer,read'],
    ['GET /v1/models/:model/domains/:domain/traffic', '', 'infer,read'],
    ['GET /admin/calls', 'read', 'read'],
    ['GET /v1/models/:model/domains/:domain', '', 'infer,read'],
    ['GET /v2/models/:model/config', '', 'infer,read'],
    ['POST /v2/repository/index', '', 'infer,read'],
    ['POST /v2/models/:model/infer', '', 'infer'],
    ['POST /v1/models/:model/predict', '', 'infer'],
    ['GET /v1/progress/:key', '', 'infer'],
    ['GET /admin/jobs', 'read', 'read'],
    ['HEAD /admin/jobs/:id', 'read', 'read'],
    ['DELETE /admin/jobs/:id', 'admin', 'admin'],
    ['PUT /admin/models/:model/domains/:domain', 'admin', 'admin'],
    ['POST /v2/repository/models/:model/load', 'admin', 'admin']
  ]
  for (const [route, open, keyed] of rows) {
    it(`${route} asks for its scopes`, async () => {
      const [method, pattern] = route.split(' ') as [string, string]
      if (method === 'HEAD') {
        assert.equal((await ask('open', method, pattern)).statusCode === 403, open !== '')
        return
      }
      assert.equal(await scopes('open', method, pattern), open)
      assert.equal(await scopes('keyed', method, pattern), keyed)
    })
  }

  it('below /admin, or that load and unload, all ask for a key, and no other does while inference is open', async () => {
    const routes = registeredRoutes(apps.open!.app)
    assert.ok(routes.length > 45, String(routes.length))
    for (const route of routes) {
      const [method, pattern] = route.split(' ') as [string, string]
      const isAdministration = pattern.startsWith('/admin') || pattern.startsWith('/v2/repository/models')
      assert.equal(await scopes('open', method, pattern), isAdministration ? method === 'GET' ? 'read' : 'admin' : '', route)
    }
  })

  it('are there for those whom an address is for, and for others as if they were not', async () => {
    const isThere = async (which: string, method: string, pattern: string) => {
      const response = await ask(which, method, pattern)
      return response.statusCode !== 404 || response.json().code !== 'ROUTE_NOT_FOUND'
    }
    for (const [route, only] of [
      ['GET /livez', undefined], ['GET /openapi.json', undefined], ['GET /docs/', undefined], ['GET /metrics', 'admin'],
      ['GET /admin/jobs', 'admin'], ['POST /v2/repository/models/:model/load', 'admin'], ['GET /v1/models', undefined], ['GET /v2/models', undefined],
      ['GET /ui/', undefined], ['GET /v1/caller', undefined], ['GET /metrics/history', 'admin'], ['GET /admin/calls', 'admin'],
      ['POST /v1/models/:model/predict', 'public'], ['POST /v2/models/:model/infer', 'public']
    ] as const) {
      const [method, pattern] = route.split(' ') as [string, string]
      for (const audience of ['public', 'admin']) assert.equal(await isThere(audience, method, pattern), only === undefined || only === audience, `${route} ${audience}`)
    }
  })
})
