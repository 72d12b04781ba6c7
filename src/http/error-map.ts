/**
 * Errors -> answers. Below 500 the message and details go out; from 500 on only a general sentence does, and the log
 * has the rest under the request's id.
 */
import { BankswitchError, type ErrorKind } from '../base/errors.js'
import { httpErrors } from './errors.js'
import { endWith } from './limits/exchange-end.js'
import { recordOf } from './request-record.js'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'

export const STATUS_OF: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  method: 405,
  'not-acceptable': 406,
  'too-slow': 408,
  conflict: 409,
  precondition: 412,
  'too-large': 413,
  'media-type': 415,
  exhausted: 429,
  'headers-too-large': 431,
  cancelled: 499,
  internal: 500,
  corrupt: 500,
  unsupported: 501,
  unavailable: 503,
  timeout: 504
}

export interface ErrorBody {
  error: string
  code: string
  requestId: string
  details?: Record<string, unknown>
}

const HIDDEN: Readonly<Record<number, string>> = {
  501: 'the server does not support this',
  503: 'the server cannot do this now',
  504: 'the request took too long'
}

/** Kinds of 5xx whose message is meant for the client: they speak of the request or of a passing state. */
const OPEN_KINDS: readonly ErrorKind[] = ['unsupported', 'unavailable', 'timeout']

/** RFC 6750, 3: what the key lacked. */
const CHALLENGE_OF: Readonly<Record<string, string>> = {
  AUTHENTICATION_REQUIRED: 'Bearer',
  KEY_UNKNOWN: 'Bearer error="invalid_token"',
  KEY_EXPIRED: 'Bearer error="invalid_token"',
  SCOPE_MISSING: 'Bearer error="insufficient_scope"',
  MODEL_DENIED: 'Bearer error="insufficient_scope"'
}

const RETRY_AFTER_MIN_S = 1

/** True for errors that say: not now, too much is going on. */
export function isOverload (thrown: unknown): boolean {
  return thrown instanceof BankswitchError && thrown.kind === 'exhausted'
}

/** Answers a failed request; `drainMs` is how long a full queue needs. */
export function sendError (
  thrown: unknown, request: FastifyRequest, reply: FastifyReply, drainMs: () => number
): FastifyReply {
  const error = fromFastify(thrown)
  const status = STATUS_OF[error.kind]
  recordOf(request).code = error.code
  if (status >= 500) request.log.error({ err: thrown }, 'request failed')
  if ((error.kind === 'exhausted' || error.kind === 'unavailable') && !reply.hasHeader('retry-after')) {
    reply.header('retry-after', Math.max(RETRY_AFTER_MIN_S, Math.ceil(drainMs() / 1000)))
  }
  // What is left of the body is not worth reading only to throw it away.
  if (error.kind === 'too-large') endWith(request.raw, reply)
  if (error.code === 'CONTENT_ENCODING_UNSUPPORTED') reply.header('accept-encoding', 'gzip, deflate')
  const challenge = CHALLENGE_OF[error.code]
  if (challenge !== undefined) reply.header('www-authenticate', challenge)
  const body = JSON.stringify(errorBody(error, request.id))
  return reply.code(status).header('content-type', 'application/json').send(body)
}

/** What a client is told of an error. */
export function errorBody (error: BankswitchError, requestId: string): ErrorBody {
  const status = STATUS_OF[error.kind]
  const isOpen = status < 500 || OPEN_KINDS.includes(error.kind)
  return {
    error: isOpen ? error.message : HIDDEN[status] ?? 'the server failed; its log has the reason under this request id',
    code: error.code,
    requestId,
    ...(isOpen && Object.keys(error.details).length > 0 ? { details: { ...error.details } } : {})
  }
}

/** Fastify's own errors, in our words. */
function fromFastify (thrown: unknown): BankswitchError {
  if (thrown instanceof BankswitchError) return thrown
  const { code, message, statusCode, validation } = thrown as Partial<FastifyError>
  if (validation !== undefined) {
    const [first] = validation
    return httpErrors.REQUEST_INVALID(`the request is refused: ${message}`, {
      expected: first?.message, received: first?.instancePath, params: first?.params
    })
  }
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
    case 'FST_REQ_FILE_TOO_LARGE':
      return httpErrors.REQUEST_TOO_LARGE('the request body is too large')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return httpErrors.CONTENT_TYPE_UNSUPPORTED('the content type is not supported here')
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return httpErrors.REQUEST_INVALID(`the request is refused: ${message}`)
  }
  return new BankswitchError('INTERNAL', 'internal', message ?? String(thrown))
}
