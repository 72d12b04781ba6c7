/** Who sends a request, for what is counted against one of many. */
import { isIP } from 'node:net'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** What `senderOf` gives. */
    sender: string | undefined
  }
}

/**
 * The address of the client: of the connection, or as the trusted proxy at its other end tells it. Where a proxy passes
 * on what is no address, it is the proxy's own, so that nobody gets a new one by inventing it.
 */
export function addressOf ({ ip, raw }: Pick<FastifyRequest, 'ip' | 'raw'>): string {
  return isIP(ip) === 0 ? raw.socket.remoteAddress ?? '' : ip
}

/**
 * The key, or the address of who has none: of IPv6 the network, of which one client has all addresses. It is made out
 * once, when the caller is known.
 */
export function senderOf (
  request: Pick<FastifyRequest, 'caller' | 'ip' | 'raw'> & Partial<Pick<FastifyRequest, 'sender'>>
): string {
  const { caller } = request
  request.sender ??= caller === undefined ? `address ${normalizeIP(addressOf(request))}` : `key ${caller.id}`
  return request.sender
}
