import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isServed, kindOf, scopesOf } from '#src/http/access/route-access.js'

const OPEN = { inferenceKeyed: false, metricsKeyed: false }
const KEYED = { inferenceKeyed: true, metricsKeyed: true }

/** Route, its kind, and the scopes that it asks for when everything is open and when everything is keyed. */
const rows: Array<[method: string, pattern: string, kind: string, open: string, keyed: string]> = [
  ['GET', '/livez', 'health', '', ''],
  ['HEAD', '/readyz', 'health', '', ''],
  ['GET', '/v2/health/live', 'health', '', ''],
  ['GET', '/v2/health/ready', 'health', '', ''],
  ['GET', '/docs', 'documents', '', ''],
  ['GET', '/docs/static/*', 'documents', '', ''],
  ['GET', '/openapi.json', 'documents', '', ''],
  ['GET', '/v2/', 'documents', '', ''],
  ['GET', '/metrics', 'metrics', '', 'read'],
  ['GET', '/v1/models', 'listing', '', 'infer,read'],
  ['GET', '/v1/models/:model/domains/:domain', 'listing', '', 'infer,read'],
  ['GET', '/v2/models/:model/config', 'listing', '', 'infer,read'],
  ['POST', '/v2/repository/index', 'listing', '', 'infer,read'],
  ['POST', '/v2/models/:model/infer', 'inference', '', 'infer'],
  ['POST', '/v1/models/:model/predict', 'inference', '', 'infer'],
  ['GET', '/v1/progress/:key', 'inference', '', 'infer'],
  ['GET', '/admin/jobs', 'administration', 'read', 'read'],
  ['HEAD', '/admin/jobs/:id', 'administration', 'read', 'read'],
  ['DELETE', '/admin/jobs/:id', 'administration', 'admin', 'admin'],
  ['PUT', '/admin/models/:model/domains/:domain', 'administration', 'admin', 'admin'],
  ['POST', '/v2/repository/models/:model/load', 'administration', 'admin', 'admin'],
  // What nobody has named is denied rather than open.
  ['GET', '/admin', 'administration', 'read', 'read'],
  ['OPTIONS', '/admin/anything/new', 'administration', 'admin', 'admin'],
  ['GET', '/v2/repository/anything', 'administration', 'read', 'read'],
  ['GET', '/anything/new', 'inference', '', 'infer'],
  ['GET', '/docsecrets', 'inference', '', 'infer'],
  ['POST', '/v1/models', 'inference', '', 'infer']
]

describe('routes', () => {
  for (const [method, pattern, kind, open, keyed] of rows) {
    it(`${method} ${pattern} is ${kind}`, () => {
      const found = kindOf(method, pattern)
      assert.equal(found, kind)
      assert.equal(scopesOf(found, method, OPEN).join(), open)
      assert.equal(scopesOf(found, method, KEYED).join(), keyed)
    })
  }

  it('are served by one part or the other, health and documents by both', () => {
    for (const kind of ['health', 'documents', 'metrics', 'administration', 'listing', 'inference'] as const) {
      const parts = (['all', 'public', 'admin'] as const).filter((part) => isServed(part, kind)).join()
      const expected = { health: 'all,public,admin', documents: 'all,public,admin', metrics: 'all,admin', administration: 'all,admin' }
      assert.equal(parts, (expected as Record<string, string>)[kind] ?? 'all,public', kind)
    }
  })
})
