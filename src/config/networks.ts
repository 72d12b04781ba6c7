/** Networks as they are written in settings: addresses and CIDRs (RFC 4632, RFC 4291) with commas between. */
import { isIP } from 'node:net'

/** The name of the format in schemas, worded as what an error says was expected. */
export const NETWORKS_FORMAT = 'addresses or CIDRs, with commas between'

const PREFIX_BITS_MAX: Readonly<Record<number, number>> = { 4: 32, 6: 128 }

/** A prefix of 0 bits, everybody, is none: whoever reaches the server could then say what its address is. */
export function areNetworks (text: string): boolean {
  return text.split(',').every((network) => isNetwork(network.trim()))
}

function isNetwork (text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/')
  const bitsMax = PREFIX_BITS_MAX[isIP(address)]
  if (bitsMax === undefined || address.includes('%') || rest.length > 0) return false
  return prefix === undefined || (/^[1-9]\d{0,2}$/.test(prefix) && Number(prefix) <= bitsMax)
}
