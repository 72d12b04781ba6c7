/** `.shipped/<model>/<domain>.json`: what a store remembers of the banks that a domain was shipped with. */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Type } from '#typebox'
import { makeFolderDurably, writeDurably } from '../../base/durable-file.js'
import { BankswitchError, hasErrno } from '../../base/errors.js'
import { NAME_PATTERN } from '../../base/names.js'
import { checkedFile, serializeChecked } from './checked-file.js'
import { storeErrors } from '../errors.js'
import type { ShippedMemory } from '../bank-store.js'

export const SHIPPED_FOLDER = '.shipped'

const FORMAT = 1

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Name = Type.String({ pattern: NAME_PATTERN })

const shippedFile = checkedFile(Type.Object({
  format: Type.Literal(FORMAT),
  model: Name,
  domain: Name,
  files: Type.Array(Digest),
  revision: Type.Integer({ minimum: 0 }),
  checksum: Digest
}, { additionalProperties: false }), FORMAT)

export function shippedPath (folder: string, model: string, domain: string): string {
  return join(folder, SHIPPED_FOLDER, model, `${domain}.json`)
}

export function serializeShipped (model: string, domain: string, { files, revision }: ShippedMemory): Uint8Array {
  return serializeChecked({ format: FORMAT, model, domain, files, revision })
}

/** Throws STORE_CORRUPT and STORE_FORMAT_UNKNOWN. */
export function parseShipped (text: string, model: string, domain: string): ShippedMemory {
  const what = `the memory of the shipped banks of domain "${domain}"`
  const parsed = shippedFile(text, what, { model, domain })
  if (parsed.model === model && parsed.domain === domain) return { files: parsed.files, revision: parsed.revision }
  throw storeErrors.STORE_CORRUPT(`${what} belongs to domain "${parsed.domain}" of model "${parsed.model}"`, { domain })
}

/** Undefined when there is none. Throws what `parseShipped` throws, and STORE_UNREADABLE. */
export async function readShipped (folder: string, model: string, domain: string): Promise<ShippedMemory | undefined> {
  try {
    return parseShipped(await readFile(shippedPath(folder, model, domain), 'utf8'), model, domain)
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    if (error instanceof BankswitchError) throw error
    throw storeErrors.STORE_UNREADABLE(`the store cannot be read: ${(error as Error).message}`, { model, domain }, error)
  }
}

/** Rejects with the errno error of whatever went wrong. */
export async function writeShipped (
  folder: string, model: string, domain: string, memory: ShippedMemory
): Promise<void> {
  const path = shippedPath(folder, model, domain)
  await makeFolderDurably(dirname(path))
  await writeDurably(path, serializeShipped(model, domain, memory))
}
