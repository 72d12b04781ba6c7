/** The OpenAPI document is valid, and has every route. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { registeredRoutes } from '../support/registered-routes.js'
import { ADMIN, startService, type Service } from '../support/service.js'

/** The document's own pages, the page for browsers, and a spelling of /v2 that some clients use. */
const UNTOLD = /^(\/ui|\/ui\/.*|\/docs|\/docs\/.*|\/openapi\.json|\/v2\/)$/

interface Operation {
  security?: unknown[]
  parameters?: Array<{ name: string, in: string, required?: boolean, schema?: object }>
  requestBody?: unknown
  responses: Record<string, { description: string, content?: object }>
}

describe('the OpenAPI document', () => {
  let service: Service
  let document: { paths: Record<string, Record<string, Operation>> }
  let operations: Array<[name: string, operation: Operation]>
  before(async () => {
    service = await startService()
    document = (await service.app.inject('/openapi.json')).json()
    operations = Object.entries(document.paths).flatMap(([path, methods]) => {
      return Object.entries(methods).map(([method, operation]): [string, Operation] => [`${method.toUpperCase()} ${path}`, operation])
    })
  })
  after(() => service.close())

  it('is valid', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document))
    assert.ok(valid, JSON.stringify(errors))
    const broken = structuredClone(document)
    delete (broken as { paths?: unknown }).paths
    Object.assign(broken, { info: {} })
    assert.equal((await new Validator().validate(broken)).valid, false)
  })

  it('has every route, and no other', () => {
    const registered = registeredRoutes(service.app)
      .filter((route) => !UNTOLD.test(route.split(' ')[1]!))
      .map((route) => route.replaceAll(/:(\w+)/g, '{$1}'))
    assert.ok(registered.length > 30)
    assert.deepEqual(operations.map(([name]) => name).toSorted(), registered.toSorted())
  })

  it('says of every route how it succeeds, and how it refuses what a client can get wrong', () => {
    for (const [name, { security, parameters = [], requestBody, responses }] of operations) {
      const has = (status: number) => assert.ok(responses[status] !== undefined, `${name} does not tell ${status}`)
      assert.ok(Object.keys(responses).some((status) => status.startsWith('2')), `${name} never succeeds`)
      if (parameters.length > 0 || requestBody !== undefined) has(400)
      if (parameters.some((parameter) => parameter.in === 'path')) has(404)
      if (security !== undefined) for (const status of [401, 403]) has(status)
      if (requestBody !== undefined) has(413)
      assert.equal(security !== undefined, name.includes('/admin/') || /repository\/models/.test(name), `${name}: who may`)
    }
  })

  it('tells pictures from JSON where a route answers either', () => {
    for (const [name, json, pictures] of [
      ['predict', 'Predictions', ['image/png', 'image/jpeg', 'image/webp']], ['compare', 'Comparison', ['image/png']]
    ] as const) {
      const { responses } = document.paths[`/v1/models/{model}/${name}`]!.post!
      const content = (status: number) => responses[status]!.content as Record<string, { schema: { title?: string, format?: string } }>
      assert.deepEqual(Object.keys(content(200)), ['application/json', ...pictures])
      assert.equal(content(200)['application/json']!.schema.title, json)
      for (const type of pictures) assert.equal(content(200)[type]!.schema.format, 'binary')
      assert.deepEqual(Object.keys(content(406)), ['application/json'])
    }
  })

  it('requires nothing of a query that has a default', () => {
    const query = operations.flatMap(([name, { parameters = [] }]) => parameters
      .filter((parameter) => parameter.in === 'query')
      .map((parameter) => ({ ...parameter, name: `${name} ${parameter.name}` })))
    const withDefault = query.filter(({ schema }) => schema !== undefined && 'default' in schema)
    assert.ok(withDefault.length > 3)
    assert.deepEqual(withDefault.filter(({ required }) => required === true).map(({ name }) => name), [])
  })

  it('tells the status of what is really answered', async () => {
    const asked: Array<[method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, url: string, headers?: Record<string, string>]> = [
      ['GET', '/livez', '/livez'],
      ['GET', '/metrics', '/metrics'],
      ['GET', '/v1/models/{model}', '/v1/models/nothing'],
      ['GET', '/admin/models/{model}/domains/{domain}/versions/{version}', '/admin/models/traffic-signs/domains/fog/versions/1', ADMIN],
      ['GET', '/admin/models/{model}/domains/{domain}/versions/{version}', '/admin/models/traffic-signs/domains/fog/versions/1'],
      ['PUT', '/admin/models/{model}/domains/{domain}', '/admin/models/traffic-signs/domains/fog', { ...ADMIN, 'content-type': 'text/csv' }],
      ['POST', '/v2/models/{model}/infer', '/v2/models/traffic-signs/infer'],
      ['POST', '/v1/models/{model}/predict', '/v1/models/traffic-signs/predict', { accept: 'image/gif', 'content-type': 'image/png' }],
      ['DELETE', '/admin/jobs/{id}', '/admin/jobs/00000000-0000-4000-8000-000000000000', ADMIN]
    ]
    const statuses = []
    for (const [method, path, url, headers = {}] of asked) {
      const { statusCode } = await service.app.inject({ method, url, headers, ...(method === 'PUT' ? { payload: 'a,b' } : {}) })
      statuses.push(statusCode)
      assert.ok(document.paths[path]![method.toLowerCase()]!.responses[statusCode] !== undefined, `${method} ${path}: ${statusCode}`)
    }
    assert.deepEqual(statuses, [200, 200, 404, 200, 401, 415, 400, 406, 404])
  })
})
