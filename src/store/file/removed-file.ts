/** `.removed/<model>/<domain>.json`: the numbers that a domain had when it was removed, which do not come again. */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Type } from '#typebox'
import { makeFolderDurably, writeDurably } from '../../base/durable-file.js'
import { hasErrno } from '../../base/errors.js'
import { NAME_PATTERN } from '../../base/names.js'
import { checkedFile, serializeChecked } from './checked-file.js'
import { storeErrors } from '../errors.js'
import type { LastNumbers } from '../bank-store.js'

export const REMOVED_FOLDER = '.removed'

const FORMAT = 1

const Name = Type.String({ pattern: NAME_PATTERN })

const removedFile = checkedFile(Type.Object({
  format: Type.Literal(FORMAT),
  model: Name,
  domain: Name,
  lastVersion: Type.Integer({ minimum: 1 }),
  revision: Type.Integer({ minimum: 1 }),
  checksum: Type.String({ pattern: '^[0-9a-f]{64}$' })
}, { additionalProperties: false }), FORMAT)

export function serializeRemoved (model: string, domain: string, { lastVersion, revision }: LastNumbers): Uint8Array {
  return serializeChecked({ format: FORMAT, model, domain, lastVersion, revision })
}

/** Throws STORE_CORRUPT and STORE_FORMAT_UNKNOWN. */
export function parseRemoved (text: string, model: string, domain: string): LastNumbers {
  const what = `the last numbers of the removed domain "${domain}"`
  const parsed = removedFile(text, what, { model, domain })
  const { lastVersion, revision } = parsed
  if (parsed.model === model && parsed.domain === domain) return { lastVersion, revision }
  throw storeErrors.STORE_CORRUPT(`${what} are those of "${parsed.domain}" of model "${parsed.model}"`, { domain })
}

/** Undefined for a domain that was never removed. Throws what `parseRemoved` throws, or the errno error. */
export async function readRemoved (folder: string, model: string, domain: string): Promise<LastNumbers | undefined> {
  let text: string
  try {
    text = await readFile(removedPath(folder, model, domain), 'utf8')
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
  return parseRemoved(text, model, domain)
}

/** Rejects with the errno error of whatever went wrong. */
export async function writeRemoved (
  folder: string, model: string, domain: string, numbers: LastNumbers
): Promise<void> {
  const path = removedPath(folder, model, domain)
  await makeFolderDurably(dirname(path))
  await writeDurably(path, serializeRemoved(model, domain, numbers))
}

function removedPath (folder: string, model: string, domain: string): string {
  return join(folder, REMOVED_FOLDER, model, `${domain}.json`)
}
