/** What all inference answers have in common. */
import Negotiator from 'negotiator'
import { httpErrors } from './errors.js'
import type { FastifyRequest } from 'fastify'

/**
 * The most wanted of the media types that can be answered, the first of them when all are welcome (RFC 9110, 12.5.1).
 * Throws NOT_ACCEPTABLE.
 */
export function acceptedType<MediaType extends string> (
  { headers: { accept } }: FastifyRequest, available: readonly MediaType[]
): MediaType {
  const chosen = new Negotiator({ headers: accept === undefined ? {} : { accept } }).mediaType(available)
  if (chosen !== undefined) return chosen as MediaType
  throw httpErrors.NOT_ACCEPTABLE('none of the accepted media types can be answered', {
    expected: available, received: accept?.slice(0, 200)
  })
}

/** Throws REQUEST_INVALID for a parameter that means nothing to the model's task. */
export function requireWithout<Query extends object> (query: Query, parameter: keyof Query & string): Query {
  if (query[parameter] === undefined) return query
  throw httpErrors.REQUEST_INVALID(`"${parameter}" means nothing to this model`, {
    expected: 'no such parameter', received: query[parameter]
  })
}
