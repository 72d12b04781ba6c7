/** Which domain a request asks for: header, else body parameter, else `model@domain` in the path. */
import { parseDomainReference, type DomainReference } from '../serving/domain-reference.js'
import { servingErrors } from '../serving/errors.js'
import { recordOf, type Subject } from './request-record.js'
import type { Engine } from '../engine.js'
import type { RowEstimates } from './limits/row-estimates.js'
import type { FastifyRequest } from 'fastify'

export const DOMAIN_HEADER = 'x-domain'

export interface RequestedModel {
  model: string
  /** Undefined for the model's default domain. */
  reference?: DomainReference
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

/**
 * The domain that stands in the path itself: `path` is the model segment, `pathVersion` the version segment where there
 * is one, which pins the version, of `defaultDomain` if no domain is named. Throws DOMAIN_REFERENCE_INVALID.
 */
export function referenceInPath (
  path: string, pathVersion?: string, defaultDomain?: string
): DomainReference | undefined {
  const at = path.indexOf('@')
  const named = at < 0 ? undefined : parseDomainReference(path.slice(at + 1))
  if (pathVersion === undefined) return named
  return pin(named ?? { domain: defaultDomain ?? '' }, pathVersion)
}

/**
 * The domain of a request, header before body parameter before path; a version segment of the path pins its version.
 * Throws MODEL_NOT_FOUND, and DOMAIN_REFERENCE_INVALID, also when two places pin different versions.
 */
export function requestedModel (
  engine: Engine, request: FastifyRequest, path: string, pathVersion?: string, parameter?: string | number | boolean
): RequestedModel {
  const model = modelOf(path)
  const header = request.headers[DOMAIN_HEADER]
  const text = typeof header === 'string' ? header : parameter === undefined ? undefined : String(parameter)
  const reference = text === undefined ? referenceInPath(path) : parseDomainReference(text)
  noteRequested(request, model, reference)
  if (pathVersion === undefined) return reference === undefined ? { model } : { model, reference }
  const { entry: { manifest: { defaultDomain } } } = engine.model(model)
  return { model, reference: pin(reference ?? { domain: defaultDomain }, pathVersion) }
}

/** For the log, should the request fail before anyone answers. */
function noteRequested (request: FastifyRequest, model: string, reference: DomainReference | undefined): void {
  const record = recordOf(request)
  record.model = model
  if (reference !== undefined) record.domain = reference.domain
}

function pin (reference: DomainReference, version: string): DomainReference {
  const pinned = parseDomainReference(`${reference.domain}:${version}`)
  const pinOf = (one: DomainReference) => one.version ?? one.label
  if (pinOf(reference) === undefined || pinOf(reference) === pinOf(pinned)) return pinned
  throw servingErrors.DOMAIN_REFERENCE_INVALID('path and domain pin different versions', {
    expected: pinOf(pinned), received: pinOf(reference)
  })
}

/**
 * Before the body is read: refuses what the queue would refuse after it.
 * Throws QUEUE_FULL, MODEL_NOT_FOUND, MODEL_NOT_READY, MODEL_FAILED and DOMAIN_REFERENCE_INVALID.
 */
export function refuseEarly (engine: Engine, request: FastifyRequest, path: string, estimates?: RowEstimates): void {
  const { model, reference } = requestedModel(engine, request, path)
  const rows = estimates?.rowsOf(model, Number(request.headers['content-length'])) ?? 1
  engine.answering.requireRoom(model, reference, rows)
}
