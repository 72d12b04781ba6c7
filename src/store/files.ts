/** Files of a store, read and checked. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../base/digest.js'
import { hasErrno, type ErrorDetails } from '../base/errors.js'
import { storeErrors } from './errors.js'
import { parsePointer, POINTER_FILE, type Pointer } from './pointer-file.js'

/** The pointer in a domain's folder; undefined when there is none. Throws STORE_CORRUPT. */
export async function readPointer (folder: string, domain: string): Promise<Pointer | undefined> {
  try {
    return parsePointer(await readFile(join(folder, POINTER_FILE), 'utf8'), domain)
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The bytes of a file that has this SHA-256; `what` names it in errors. Throws STORE_CORRUPT. */
export async function readVerified (
  path: string, digest: string, what: string, details: ErrorDetails
): Promise<Uint8Array> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw storeErrors.STORE_CORRUPT(`${what} cannot be read`, details, cause)
  }
  if (sha256(bytes) === digest) return bytes
  throw storeErrors.STORE_CORRUPT(`${what} was changed on disk`, details)
}

/** A failure of the file system as STORE_UNWRITABLE; anything else thrown is no such thing and stays what it is. */
export function unwritable (thrown: unknown): unknown {
  if (!(thrown instanceof Error && 'syscall' in thrown)) return thrown
  return storeErrors.STORE_UNWRITABLE(`the domains folder cannot be written: ${thrown.message}`, {}, thrown)
}
