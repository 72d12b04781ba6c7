import { defineErrors } from '../base/errors.js'

export const httpErrors = defineErrors({
  ROUTE_NOT_FOUND: 'not-found',
  METHOD_NOT_ALLOWED: 'method',
  REQUEST_INVALID: 'invalid',
  REQUEST_TOO_LARGE: 'too-large',
  REQUEST_ABORTED: 'cancelled',
  REQUEST_UNREADABLE: 'invalid',
  REQUEST_TOO_SLOW: 'too-slow',
  HEADERS_TOO_LARGE: 'headers-too-large',
  BODIES_FULL: 'exhausted',
  ANSWER_TOO_LARGE: 'too-large',
  ANSWERS_FULL: 'exhausted',
  CONTENT_TYPE_UNSUPPORTED: 'media-type',
  CONTENT_ENCODING_UNSUPPORTED: 'media-type',
  CONTENT_ENCODING_INVALID: 'invalid',
  NOT_ACCEPTABLE: 'not-acceptable',
  AUTHENTICATION_REQUIRED: 'unauthenticated',
  KEY_UNKNOWN: 'unauthenticated',
  RATE_LIMITED: 'exhausted',
  PRECONDITION_INVALID: 'invalid',
  PROTOCOL_INVALID: 'invalid',
  PROTOCOL_UNSUPPORTED: 'unsupported',
  SERVER_NOT_READY: 'unavailable'
})
