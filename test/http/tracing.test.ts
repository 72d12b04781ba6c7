/** Traces, as a collector receives them over HTTP. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { AddressInfo } from 'node:net'
import { startService, type Service } from '../support/service.js'
import { binaryRequest } from '../support/wire.js'

const URL_INFER = '/v2/models/traffic-signs/infer'
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const PARENT_ID = 'b7ad6b7169203331'
const PAYLOAD_MARK = 'wallet-passphrase'

interface Span {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: Array<{ key: string, value: { stringValue?: string, intValue?: number } }>
  status: { code: number, message?: string }
}

/** The exporter is CommonJS: once imported, it is here. Metrics bring in the bare API, which does nothing by itself. */
const tracingFiles = () => Object.keys(createRequire(import.meta.url).cache).filter((path) => /@opentelemetry\/(?!api\/)/.test(path))

const attributesOf = (span: Span) => Object.fromEntries(span.attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]))

const post = (service: Service, headers: Record<string, string> = {}, rows = 5) => {
  const request = binaryRequest({ shape: [rows, 3, 32, 32], values: new Float32Array(rows * 3072) }, { id: PAYLOAD_MARK })
  return service.app.inject({ method: 'POST', url: URL_INFER, payload: request.payload, headers: { ...request.headers, ...headers } })
}

describe('without an address of a collector', () => {
  it('the packages of tracing are not even imported', async () => {
    const service = await startService()
    try {
      assert.equal((await post(service, { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` })).statusCode, 200)
      assert.ok(!('traceId' in service.log.find(({ msg }) => msg === 'request')!))
      assert.deepEqual(tracingFiles(), [])
    } finally {
      await service.close()
    }
  })
})

describe('with a collector', () => {
  let collector: Server
  let url: string
  let bodies: string[]
  let keys: unknown[]
  let status = 200
  before(async () => {
    collector = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
        assert.equal(request.url, '/v1/traces')
        keys.push(request.headers['x-collector-key'])
        bodies.push(Buffer.concat(chunks).toString())
        response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
      })
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`
  })
  beforeEach(() => {
    bodies = []
    keys = []
    status = 200
  })
  after(() => collector.close())

  /** The spans of all requests that `work` makes: closing the service sends them. */
  const spansOf = async (work: (service: Service) => Promise<void>, settings: Record<string, string> = {}) => {
    const service = await startService({ BANKSWITCH_TRACE_URL: url, ...settings })
    try {
      await work(service)
    } finally {
      await service.close()
    }
    type Resource = { resource: Pick<Span, 'attributes'>, scopeSpans: Array<{ spans: Span[] }> }
    const resources = bodies.flatMap((body) => (JSON.parse(body) as { resourceSpans: Resource[] }).resourceSpans)
    return { service, resources, spans: resources.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)) }
  }

  it('a request and its stages arrive as spans of the caller\'s trace', async () => {
    const { service, resources, spans } = await spansOf(async (service) => {
      const answer = await post(service, { 'x-domain': 'fog', 'x-request-id': 'order-66', traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` })
      assert.equal(answer.statusCode, 200)
    })
    assert.ok(tracingFiles().length > 0, 'the check of the packages sees them')
    const [request, ...others] = spans.filter(({ name }) => name === 'POST /v2/models/:model/infer') as [Span, ...Span[]]
    assert.deepEqual(others, [])
    const stages = spans.filter((span) => span !== request)
    // Five rows, four in a run.
    assert.deepEqual(stages.map(({ name }) => name).toSorted(), ['decode', 'encode', 'infer', 'infer', 'queue', 'queue', 'read'])
    assert.deepEqual([request.traceId, request.parentSpanId, request.kind], [TRACE_ID, PARENT_ID, 2])
    const { 'http.response.status_code': answered, 'bankswitch.rows': rows, ...texts } = attributesOf(request)
    assert.deepEqual([Number(answered), Number(rows)], [200, 5])
    assert.deepEqual(texts, {
      'http.request.method': 'POST',
      'http.route': '/v2/models/:model/infer',
      'url.path': URL_INFER,
      'bankswitch.request_id': 'order-66',
      'bankswitch.model': 'traffic-signs',
      'bankswitch.domain': 'fog',
      'bankswitch.version': '1'
    })
    for (const { name, traceId, parentSpanId, startTimeUnixNano, endTimeUnixNano } of stages) {
      assert.deepEqual([traceId, parentSpanId], [TRACE_ID, request.spanId], name)
      assert.ok(BigInt(startTimeUnixNano) <= BigInt(endTimeUnixNano), name)
      // Times are fractions of milliseconds since 1970 before they become nanoseconds.
      assert.ok(BigInt(startTimeUnixNano) >= BigInt(request.startTimeUnixNano) - 10_000n, name)
      assert.ok(BigInt(endTimeUnixNano) <= BigInt(request.endTimeUnixNano) + 10_000n, name)
    }
    const runs = stages.filter(({ name }) => name === 'infer').map((span) => Number(attributesOf(span)['bankswitch.rows']))
    assert.deepEqual(runs.toSorted(), [1, 4])
    const { 'service.name': serviceName, 'service.version': version } = attributesOf(resources[0]!.resource as Span)
    assert.deepEqual([serviceName, version], ['bankswitch', '0.0.0-test'])
    assert.equal(service.log.find(({ msg }) => msg === 'request')!.traceId, TRACE_ID)
    assert.ok(!bodies.join('').includes(PAYLOAD_MARK))
  })

  it('a caller that does not trace is believed, and what it says wrong begins a trace of its own', async () => {
    const { spans } = await spansOf(async (service) => {
      await post(service, { traceparent: `00-${TRACE_ID}-${PARENT_ID}-00` })
      await post(service, { traceparent: `00-${'0'.repeat(32)}-${PARENT_ID}-01`, 'x-request-id': 'wrong' })
      await service.app.inject('/livez')
    })
    const requests = spans.filter(({ kind }) => kind === 2)
    assert.deepEqual(requests.map((span) => attributesOf(span)['bankswitch.request_id']), ['wrong'])
    assert.equal(requests[0]!.parentSpanId ?? '', '')
    assert.match(requests[0]!.traceId, /^(?!0+$)[0-9a-f]{32}$/)
  })

  it('a share of none traces only what callers trace', async () => {
    const { spans } = await spansOf(async (service) => {
      await post(service)
      await post(service, { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` })
    }, { BANKSWITCH_TRACE_RATIO: '0' })
    assert.deepEqual([...new Set(spans.map(({ traceId }) => traceId))], [TRACE_ID])
  })

  it('a request that fails says how; only the server\'s own failures are errors', async () => {
    const { spans } = await spansOf(async (service) => {
      assert.equal((await post(service, { 'x-domain': 'dusk' })).statusCode, 404)
      const folder = join(service.storeDir, 'traffic-signs/fog')
      for (const name of await readdir(folder)) if (name.endsWith('.safetensors')) await rm(join(folder, name))
      assert.equal((await post(service, { 'x-domain': 'fog' })).statusCode, 500)
    })
    const requests = spans.filter(({ kind }) => kind === 2)
    assert.deepEqual(requests.map((span) => [attributesOf(span)['error.type'], span.status.code]), [
      ['DOMAIN_NOT_FOUND', 0], ['STORE_CORRUPT', 2]
    ])
  })

  it('a collector gets its key from the variable that OpenTelemetry has for it', async () => {
    process.env.OTEL_EXPORTER_OTLP_HEADERS = 'x-collector-key=open'
    try {
      await spansOf(async (service) => { await post(service) })
    } finally {
      delete process.env.OTEL_EXPORTER_OTLP_HEADERS
    }
    assert.deepEqual(keys, ['open'])
  })

  it('a collector that refuses costs its traces, a line in the log, and no answer', async () => {
    status = 400
    const { service } = await spansOf(async (service) => {
      assert.equal((await post(service)).statusCode, 200)
    })
    assert.ok(bodies.length > 0)
    const [warning] = service.log.filter(({ msg }) => msg === 'traces could not be sent')
    assert.equal(warning?.level, 40)
  })
})
