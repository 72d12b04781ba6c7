/** Who sends a request, for what is counted against one of many. */
import { isIP } from 'node:net'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'

/**
 * The address of the client: of the connection, or as the trusted proxy at its other end tells it. Where a proxy passes
 * on what is no address, it is the proxy's own, so that nobody gets a new one by inventing it.
 */
export function addressOf ({ ip, raw }: Pick<FastifyRequest, 'ip' | 'raw'>): string {
  return isIP(ip) === 0 ? raw.socket.remoteAddress ?? '' : ip
}

/** The key, or the address of who has none: of IPv6 the network, of which one client has all addresses. */
export function senderOf (request: Pick<FastifyRequest, 'caller' | 'ip' | 'raw'>): string {
  const { caller } = request
  return caller === undefined ? `address ${normalizeIP(addressOf(request))}` : `key ${caller.id}`
}
