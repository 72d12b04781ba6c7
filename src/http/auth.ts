/** Bearer authentication: denied unless the key matches, compared in constant time whatever its length. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { httpErrors } from './errors.js'
import type { FastifyRequest } from 'fastify'

/** A hook that lets only requests with the key pass. Throws AUTHENTICATION_REQUIRED, the same for every reason. */
export function requireKey (key: string): (request: FastifyRequest) => Promise<void> {
  const expected = digest(key)
  return async ({ headers: { authorization = '' } }) => {
    const [, given] = /^Bearer +(\S+) *$/i.exec(authorization) ?? []
    const isEqual = timingSafeEqual(digest(given ?? ''), expected)
    if (given === undefined || !isEqual) {
      throw httpErrors.AUTHENTICATION_REQUIRED('this needs the admin key', { expected: 'Authorization: Bearer <key>' })
    }
  }
}

function digest (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
