/** Which domain a request asks for: header, else body parameter, else `model@domain` in the path. */
import { parseDomainReference, type DomainReference } from '../serving/domain-reference.js'
import { servingErrors } from '../serving/errors.js'
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

/**
 * `path` is the model segment of the path, `pathVersion` the version segment where there is one (it pins the bank's
 * version). Throws DOMAIN_REFERENCE_INVALID, also when two places pin different versions.
 */
export function requestedModel (
  request: FastifyRequest, path: string, pathVersion?: string, parameter?: string | number | boolean
): RequestedModel {
  const model = modelOf(path)
  const at = path.indexOf('@')
  const header = request.headers[DOMAIN_HEADER]
  const text = typeof header === 'string'
    ? header
    : parameter !== undefined ? String(parameter) : at < 0 ? undefined : path.slice(at + 1)
  const reference = text === undefined ? undefined : parseDomainReference(text)
  if (pathVersion === undefined) return reference === undefined ? { model } : { model, reference }
  if (reference === undefined) {
    throw servingErrors.DOMAIN_REFERENCE_INVALID('a version in the path needs a domain', {
      expected: 'model@domain in the path, or the header X-Domain', received: path
    })
  }
  const pinned = parseDomainReference(`${reference.domain}:${pathVersion}`)
  if (reference.version !== undefined && reference.version !== pinned.version) {
    throw servingErrors.DOMAIN_REFERENCE_INVALID('path and domain pin different versions', {
      expected: pinned.version, received: reference.version
    })
  }
  return { model, reference: pinned }
}

/**
 * Before the body is read: refuses what the queue would refuse after it.
 * Throws QUEUE_FULL, MODEL_NOT_FOUND, MODEL_NOT_READY, MODEL_FAILED and DOMAIN_REFERENCE_INVALID.
 */
export function refuseEarly (engine: Engine, request: FastifyRequest, path: string, estimates?: RowEstimates): void {
  const { model, reference } = requestedModel(request, path)
  engine.requireRoom(model, reference, estimates?.rowsOf(model, Number(request.headers['content-length'])) ?? 1)
}
