/**
 * Every route of the OpenAPI document, asked with valid and invalid parameters, queries, headers and bodies: no 5xx but
 * what says "not now" or "not supported", and no status that the document does not have.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { ROOT } from '../support/folders.js'
import { formOf } from '../support/form.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { shippedBank } from '../support/signs.js'
import { binaryRequest } from '../support/wire.js'
import { anyJson, fuzzing, mutated } from './fixtures/mutate.js'
import type { InjectOptions } from 'fastify'

interface Operation {
  parameters?: Array<{ name: string, in: string, schema: { type?: string } }>
  responses: Record<string, unknown>
}

interface Route {
  path: string
  method: string
  operation: Operation
}

const DOCUMENTED_ONLY = [501, 503, 504]

const word = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('day', 'mist', 'mist2', 'traffic-signs') },
  { weight: 1, arbitrary: fc.constantFrom('', '.', '..', '__proto__', 'constructor', 'a'.repeat(300), '%', '%00', '%2e%2e', 'é', 'x y', '@', ':') },
  { weight: 1, arbitrary: fc.string({ maxLength: 12 }) }
)
const number = fc.oneof(fc.constantFrom('1', '2', '0', '-1', '1e9', '999999999', '1.5', 'active', ''), fc.string({ maxLength: 4 }))
const modelReference = fc.oneof(
  { weight: 4, arbitrary: fc.constant('traffic-signs') },
  { weight: 2, arbitrary: fc.constantFrom('traffic-signs@mist', 'traffic-signs@fog:1', 'traffic-signs@fog:7', 'traffic-signs@', '@', 'traffic-signs@@day') },
  { weight: 1, arbitrary: word }
)

/** What may stand in a parameter of this name. */
function valueOf (name: string, type: string | undefined): fc.Arbitrary<string> {
  if (name === 'model') return modelReference
  if (name === 'id') return fc.oneof(fc.uuid(), word)
  if (name === 'x-domain') return fc.oneof(word, fc.tuple(word, number).map((parts) => parts.join(':')))
  if (name.startsWith('if-')) return fc.constantFrom('*', '"1"', '"2"', '1', '', '"x"', 'W/"1"', '"1", "2"')
  if (type === 'boolean') return fc.constantFrom('true', 'false', '1', '', 'maybe')
  if (type === 'integer' || name === 'version' || name.endsWith('-ms')) return number
  return word
}

const extraHeaders = fc.record({
  'content-type': fc.constantFrom('application/json', 'application/octet-stream', 'image/png', 'multipart/form-data; boundary=x', 'multipart/form-data', 'text/plain', '', 'a/b;;'),
  'content-encoding': fc.constantFrom('gzip', 'deflate', 'identity', 'br', 'gzip, gzip', ''),
  accept: fc.constantFrom('*/*', 'application/json', 'image/png', 'text/html', ';q=x', ''),
  'accept-encoding': fc.constantFrom('gzip', 'deflate;q=0.5', '*', 'x;q=2', ''),
  'x-timeout-ms': number,
  'x-progress-key': word,
  'inference-header-content-length': fc.oneof(number, fc.constantFrom('0', '130', '1e3'))
}, { requiredKeys: [] })

type Body = Pick<InjectOptions, 'payload' | 'headers'>

async function bodies (): Promise<fc.Arbitrary<Body>> {
  const png = await readFile(join(ROOT, 'models/traffic-signs/samples/lowlight-speed-limit-100.png'))
  const bank = Buffer.from(await shippedBank('fog'))
  const infer = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) })
  const form = formOf({ mode: 'fixed' }, [{ field: 'images', name: 'a.png', bytes: png }])
  const right: Body[] = [
    infer,
    form,
    formOf({}, [{ field: 'file', name: 'a.png', bytes: png }]),
    { payload: bank, headers: { 'content-type': 'application/octet-stream' } },
    { payload: png, headers: { 'content-type': 'image/png' } },
    { payload: '{"version":1}', headers: { 'content-type': 'application/json' } },
    { payload: '{"ready":true}', headers: {} },
    {}
  ]
  const damaged = fc.constantFrom(infer, form, right[3]!, right[4]!).chain(({ payload, headers }) => {
    return mutated(payload as Buffer).map((bytes): Body => ({ payload: bytes, headers: { ...headers } }))
  })
  const json = anyJson.map((value): Body => ({ payload: JSON.stringify(value), headers: { 'content-type': 'application/json' } }))
  return fc.oneof(fc.constantFrom(...right), damaged, json)
}

/** A request for a route: its parameters by the document, its body any. */
function requestFor ({ path, method, operation }: Route, body: fc.Arbitrary<Body>): fc.Arbitrary<InjectOptions> {
  const { parameters = [] } = operation
  const valuesIn = (place: string, requiredKeys: string[] = []) => fc.record(Object.fromEntries(
    parameters.filter((parameter) => parameter.in === place).map(({ name, schema }) => [name, valueOf(name, schema.type)])
  ), { requiredKeys })
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
  const query = fc.tuple(valuesIn('query'), fc.option(fc.constantFrom('x=1', '__proto__[a]=1', '&&=', '%')))
  return fc.tuple(valuesIn('path', inPath), query, valuesIn('header'), extraHeaders, body, fc.nat(9), fc.boolean()).map(
    ([params, [known, odd], headers, extra, { payload, headers: own }, key, isOverridden]) => {
      const url = path.replace(/\{(\w+)\}/g, (_, name: string) => segment(params[name]!))
      const search = [...Object.entries(known).map(([name, value]) => `${name}=${encodeURIComponent(value)}`), ...odd === null ? [] : [odd]]
      const request: InjectOptions = {
        method: method.toUpperCase() as 'GET',
        url: search.length === 0 ? url : `${url}?${search.join('&')}`,
        headers: sendable({ ...(isOverridden ? { ...own, ...extra } : { ...extra, ...own }), ...headers, ...(key > 0 ? ADMIN : {}) })
      }
      return method === 'get' || payload === undefined ? request : { ...request, payload }
    }
  )
}

/** Half of the odd characters go as they are. */
function segment (text: string): string {
  return /^[\w.%@:-]*$/.test(text) ? text : encodeURIComponent(text.replaceAll(/[\ud800-\udfff]/g, ''))
}

/** Without what no HTTP client can send. */
function sendable (headers: Record<string, unknown>): Record<string, string> {
  const entries = Object.entries(headers).map(([name, value]) => [name, String(value).replaceAll(/[^\x20-\x7e]/g, '')])
  return Object.fromEntries(entries) as Record<string, string>
}

describe('every route', () => {
  let service: Service
  let routes: Route[]
  before(async () => {
    service = await startService({ BANKSWITCH_LOG_LEVEL: 'error', BANKSWITCH_BODY_BYTES: '1000000' })
    const { paths } = (await service.app.inject('/openapi.json')).json<{ paths: Record<string, Record<string, Operation>> }>()
    routes = Object.entries(paths).flatMap(([path, methods]) => {
      return Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
    })
  })
  after(() => service.close())

  it('answers anything with a status of its document, and none with a failure', async () => {
    assert.ok(routes.length > 25, `${routes.length} routes`)
    const body = await bodies()
    const asked = fc.constantFrom(...routes).chain((route) => requestFor(route, body).map((request) => ({ route, request })))
    const seen = new Set<string>()
    const undocumented = new Set<string>()
    await fc.assert(fc.asyncProperty(asked, async ({ route, request }) => {
      const { statusCode, body: text } = await service.app.inject(request)
      seen.add(`${route.method} ${route.path}`)
      const isFailure = statusCode >= 500 && !DOCUMENTED_ONLY.includes(statusCode)
      assert.ok(!isFailure, `${statusCode}: ${text}\n${JSON.stringify(service.log.at(-1))}`)
      if (statusCode >= 400) {
        const { code } = JSON.parse(text) as { code: string }
        assert.match(code, /^[A-Z_]+$/)
        // An odd segment made another path of it.
        if (code === 'ROUTE_NOT_FOUND' || code === 'METHOD_NOT_ALLOWED') return
      }
      if (route.operation.responses[statusCode] !== undefined) return
      undocumented.add(`${statusCode} of ${route.method} ${route.path}`)
    }), { ...fuzzing, numRuns: fuzzing.numRuns * 3 })
    assert.deepEqual([...undocumented], [])
    assert.ok(seen.size > routes.length * 0.8, `only ${seen.size} of ${routes.length} routes were asked`)
  })

  it('still serves afterwards', async () => {
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) })
    const { statusCode } = await service.app.inject({
      method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: { ...headers, 'x-domain': 'lowlight' }
    })
    assert.equal(statusCode, 200)
  })
})
