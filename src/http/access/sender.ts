/** Who sends a request, for what is counted against one of many. */
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'

/** The key, or the address of who has none: of IPv6 the network, of which one client has all addresses. */
export function senderOf ({ caller, ip }: Pick<FastifyRequest, 'caller' | 'ip'>): string {
  return caller === undefined ? `address ${normalizeIP(ip ?? '')}` : `key ${caller.id}`
}
