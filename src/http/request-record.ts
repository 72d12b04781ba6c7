/**
 * What a request turned out to be, gathered on its way; once it is over, its line in the log, its metrics and its trace
 * are made of this. There is nothing in it of a request's or an answer's content.
 */
import { addressOf } from './access/sender.js'
import { STAGES, type Stage } from '../observability/stages.js'
import type { App } from './app-type.js'
import type { Metrics } from '../observability/metrics.js'
import type { TracedStage, Tracing } from '../observability/tracing.js'
import type { Recognised, Run } from '../serving/answering/answering.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** What a request is about; what is not known, or not one, is left out. */
export interface Subject {
  model?: string
  /** Several, where rows have domains of their own, separated by commas; so are their versions. */
  domain?: string
  version?: number | string
}

export interface RequestRecord extends Subject {
  /** By performance.now(). */
  readonly beganAt: number
  /** Of the client; a connection that is gone would not tell it any more. */
  readonly address: string
  /** Of the caller, allowed or not; never the key itself. */
  keyId?: string
  rows?: number
  /** Of the error that was answered. */
  code?: string
  ms: Partial<Record<Stage, number>>
  stages: TracedStage[]
}

/** Who answered, and how long each stage took. */
export interface AnswerFacts {
  domain: string
  version: number | string
  decodeMs?: number
  /** When the request had become tensors, by performance.now(). */
  decodedAt?: number
  queueMs: number
  inferMs: number
  /** Ended just now. */
  encodeMs: number
  runs: readonly Run[]
  /** Runs that the picture was cut into. */
  tiles?: number
  /** Of a picture or by row, where domains were recognised. */
  recognised?: Recognised | ReadonlyArray<Recognised | undefined>
}

/** A picture may be cut into thousands of tiles, a request into hundreds of runs. */
const TRACED_RUNS_MAX = 32

const URL_LENGTH_MAX = 200

/** What a request is counted by that reached no route, or has not even a method. */
export const NONE = '(none)'

declare module 'fastify' {
  interface FastifyRequest {
    /** What `recordOf` gives; in a WeakMap it would cost the collector more than it takes to make. */
    record: RequestRecord | undefined
  }
}

/** The record of a request, begun when first asked for. */
export function recordOf (request: FastifyRequest): RequestRecord {
  request.record ??= { beganAt: performance.now(), address: addressOf(request), ms: {}, stages: [] }
  return request.record
}

/** Adds to what is known of what a request is about: for the log, the audit log and the trace. */
export function noteSubject (request: FastifyRequest, subject: Subject): void {
  Object.assign(recordOf(request), subject)
}

/** To be called when the body is there. */
export function noteRead (request: FastifyRequest): void {
  const now = performance.now()
  noteStage(request, 'read', now - recordOf(request).beganAt, now)
}

/** A stage that took `ms` and ended just now, or at `endMs` by performance.now(). */
export function noteStage (request: FastifyRequest, stage: Stage, ms: number, endMs = performance.now()): void {
  const record = recordOf(request)
  record.ms[stage] = ms
  record.stages.push({ name: stage, beginMs: endMs - ms, endMs })
}

/** Writes who answered and how long it took into the headers and the record. */
export function noteAnswer (request: FastifyRequest, reply: FastifyReply, facts: AnswerFacts): void {
  const { domain, version, queueMs, inferMs, runs, tiles } = facts
  if (facts.decodeMs !== undefined) noteStage(request, 'decode', facts.decodeMs, facts.decodedAt)
  noteRuns(request, runs)
  noteStage(request, 'encode', facts.encodeMs)
  const record = recordOf(request)
  Object.assign(record.ms, { queue: queueMs, infer: inferMs })
  Object.assign(record, { domain, version: String(version), rows: runs.reduce((sum, { rows }) => sum + rows, 0) })
  reply.header('x-domain', domain)
  reply.header('x-domain-version', version)
  if (facts.recognised !== undefined) reply.headers(recognisedHeaders([facts.recognised].flat()))
  const { ms } = record
  const timings = STAGES.flatMap((stage) => ms[stage] === undefined ? [] : [`${stage};dur=${ms[stage].toFixed(3)}`])
  if (tiles !== undefined) timings.push(`tiles;desc="${tiles}"`)
  reply.header('server-timing', timings.join(', '))
}

/** Of one row all that is known; of several whether all of them fit. */
function recognisedHeaders (rows: ReadonlyArray<Recognised | undefined>): Record<string, string> {
  const [first] = rows
  if (rows.length > 1 || first === undefined) {
    return { 'x-domain-fit': rows.some((row) => row?.fit === 'none') ? 'none' : 'good' }
  }
  const { fit, nearest, runnerUp, margin, p } = first
  return {
    'x-domain-fit': fit,
    'x-domain-nearest': nearest,
    ...(runnerUp === undefined ? {} : { 'x-domain-runner-up': runnerUp }),
    ...(margin === undefined ? {} : { 'x-domain-margin': margin.toFixed(3) }),
    ...(p === undefined ? {} : { 'x-domain-p': p.toPrecision(3) })
  }
}

function noteRuns (request: FastifyRequest, runs: readonly Run[]): void {
  const { stages } = recordOf(request)
  for (const { rows, runRows, queueMs, inferMs, startedAt } of runs.slice(0, TRACED_RUNS_MAX)) {
    const attributes = { 'bankswitch.rows': rows, 'bankswitch.run_rows': runRows }
    stages.push({ name: 'queue', beginMs: startedAt - queueMs, endMs: startedAt })
    stages.push({ name: 'infer', beginMs: startedAt, endMs: startedAt + inferMs, attributes })
  }
}

/** Once a request is over: its line in the log, its metrics, its trace. To be called before other hooks are added. */
export function addRecords (app: App, metrics: Metrics, tracing: Tracing | undefined): void {
  app.decorateRequest('record', undefined)
  // Lines have nothing to be struck out, and looking for it takes as long as writing them.
  const lines = app.log.child({}, { redact: [] })
  app.addHook('onRequest', (request, _reply, done) => {
    recordOf(request)
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    const record = recordOf(request)
    const totalMs = performance.now() - record.beganAt
    const route = request.routeOptions.url ?? NONE
    metrics.countRequest(route, request.method, reply.statusCode, totalMs / 1000)
    const { model, ms } = record
    if (model !== undefined && ms.infer !== undefined) {
      metrics.observeStage(model, 'read', (ms.read ?? 0) / 1000)
      metrics.observeStage(model, 'total', totalMs / 1000)
    }
    ms.total = totalMs
    // Probes and scrapes, which have no line in the log either.
    const isQuiet = request.routeOptions.logLevel === 'silent'
    const traceId = isQuiet ? undefined : tracing?.record(traced(request, reply, record, route))
    if (!isQuiet) lines.info(lineOf(request, reply, record, traceId), 'request')
    done()
  })
}

function lineOf (request: FastifyRequest, reply: FastifyReply, record: RequestRecord, traceId: string | undefined) {
  const { address, keyId, model, domain, version, rows, code } = record
  const ms: RequestRecord['ms'] = {}
  for (const stage of STAGES) {
    if (record.ms[stage] !== undefined) ms[stage] = Math.round(record.ms[stage] * 1000) / 1000
  }
  return {
    reqId: request.id,
    address,
    keyId,
    traceId,
    method: request.method,
    url: pathOf(request),
    status: reply.statusCode,
    code,
    model,
    domain,
    version,
    rows,
    ms
  }
}

function traced (request: FastifyRequest, reply: FastifyReply, record: RequestRecord, route: string) {
  const { beganAt, model, domain, version, rows, code, ms: { total = 0 }, stages } = record
  const { traceparent, tracestate } = request.headers
  const attributes = {
    'http.request.method': request.method,
    'http.route': route,
    'url.path': pathOf(request),
    'http.response.status_code': reply.statusCode,
    'bankswitch.request_id': request.id,
    'bankswitch.model': model,
    'bankswitch.domain': domain,
    'bankswitch.version': version,
    'bankswitch.rows': rows,
    'error.type': code
  }
  return {
    name: `${request.method} ${route}`,
    context: {
      ...(typeof traceparent === 'string' ? { traceparent } : {}),
      ...(typeof tracestate === 'string' ? { tracestate } : {})
    },
    beginMs: beganAt,
    endMs: beganAt + total,
    attributes: Object.fromEntries(Object.entries(attributes).filter((entry) => entry[1] !== undefined)) as
      Record<string, string | number>,
    ...(reply.statusCode >= 500 ? { failure: code ?? 'INTERNAL' } : {}),
    stages
  }
}

/** Without its query, where a client may have put anything. */
function pathOf ({ url }: FastifyRequest): string {
  return (url.split('?')[0] ?? '').slice(0, URL_LENGTH_MAX)
}
