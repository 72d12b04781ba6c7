/** What a request says of the version it wants: header, body parameter, `model@domain` and version in the path. */
import { senderOf } from './access/sender.js'
import { recordOf, type Subject } from './request-record.js'
import type { Engine } from '../engine.js'
import type { DomainReference } from '../serving/domain-reference.js'
import type { VersionWish } from '../serving/version-wish.js'
import type { RowEstimates } from './limits/row-estimates.js'
import type { FastifyRequest } from 'fastify'

export const DOMAIN_HEADER = 'x-domain'
const STREAM_HEADER = 'x-stream'

export interface RequestedModel {
  model: string
  wish: VersionWish
  /** What the wish names; undefined where it leaves the choice to the model. */
  named: DomainReference | undefined
}

/** The model of a path segment `model` or `model@domain`. */
export function modelOf (path: string): string {
  return path.split('@')[0] ?? ''
}

/** What the parameters of a route's path say that a request is about. */
export function subjectInPath (params: unknown): Subject {
  const { model: path, domain, version } = params as { model?: string, domain?: string, version?: string }
  if (path === undefined) return {}
  const [inPath, pinned] = path.split('@')[1]?.split(':') ?? []
  const named = { domain: domain ?? inPath, version: version ?? pinned }
  return {
    model: modelOf(path),
    ...(named.domain === undefined ? {} : { domain: named.domain }),
    ...(named.version === undefined ? {} : { version: named.version })
  }
}

/** What stands in the path itself: `path` is the model segment, `pathVersion` the version segment if there is one. */
export function wishInPath (path: string, pathVersion?: string): VersionWish {
  const at = path.indexOf('@')
  return { path: at < 0 ? undefined : path.slice(at + 1), pathVersion }
}

/**
 * The model that a request asks for, and what it says of the version. Throws MODEL_NOT_FOUND, and
 * DOMAIN_REFERENCE_INVALID, also when two places pin different versions.
 */
export function requestedModel (
  engine: Engine, request: FastifyRequest, path: string, pathVersion?: string, parameter?: string | number | boolean
): RequestedModel {
  const model = modelOf(path)
  const header = request.headers[DOMAIN_HEADER]
  const wish = {
    header: typeof header === 'string' ? header : undefined,
    parameter: parameter === undefined ? undefined : String(parameter),
    sender: senderIn(request),
    canaryKey: request.id,
    ...wishInPath(path, pathVersion)
  }
  // For the log, should the request fail before anyone answers.
  const record = recordOf(request)
  record.model = model
  const named = engine.answering.named(model, wish)
  if (named !== undefined) record.domain = named.domain
  return { model, wish, named }
}

/** Whose picture it is, under a name that nobody else's can be, and of which stream. */
function senderIn (request: FastifyRequest): VersionWish['sender'] {
  const stream = request.headers[STREAM_HEADER]
  return { caller: senderOf(request), ...(typeof stream === 'string' ? { stream } : {}) }
}

/**
 * Before the body is read: refuses what the queue would refuse after it.
 * Throws QUEUE_FULL, MODEL_NOT_FOUND, MODEL_NOT_READY, MODEL_FAILED and DOMAIN_REFERENCE_INVALID.
 */
export function refuseEarly (engine: Engine, request: FastifyRequest, path: string, estimates?: RowEstimates): void {
  const { model, named } = requestedModel(engine, request, path)
  const rows = estimates?.rowsOf(model, Number(request.headers['content-length'])) ?? 1
  engine.answering.requireRoom(model, named, rows)
}
