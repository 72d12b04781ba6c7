/** The file of keys: read whole, replaced whole, by one writer at a time. */
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolderDurably, writeDurably } from '../base/durable-file.js'
import { hasErrno } from '../base/errors.js'
import { withFileLock } from '../base/file-lock.js'
import { accessErrors } from './errors.js'
import { parseKeys, serializeKeys, type KeyRecord } from './key-record.js'

const FILE_BYTES_MAX = 16 * 2 ** 20
const OWNER_ONLY = 0o600

/** Undefined when there is no file. Throws KEYS_INVALID, and errno errors that may pass. */
export async function readKeyFile (path: string): Promise<KeyRecord[] | undefined> {
  let bytes: Uint8Array
  try {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      if (size > FILE_BYTES_MAX) {
        throw accessErrors.KEYS_INVALID(`${path} is too large`, { expected: `at most ${FILE_BYTES_MAX}`, received: size })
      }
      bytes = await file.readFile()
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (hasErrno(cause, 'ENOENT')) return undefined
    if (!hasErrno(cause, 'EACCES', 'EISDIR', 'ENOTDIR')) throw cause
    throw accessErrors.KEYS_INVALID(`${path} cannot be read: ${(cause as Error).message}`, {}, cause)
  }
  return parseKeys(bytes, path)
}

/**
 * Replaces the file by what `change` makes of it, mode 0600; a reader sees all old keys or all new ones. Throws
 * KEYS_INVALID for a file that it would destroy, and what `change` throws; then the file stays as it was.
 */
export async function changeKeyFile (
  path: string, change: (keys: readonly KeyRecord[]) => readonly KeyRecord[]
): Promise<void> {
  await makeFolderDurably(dirname(path))
  await withFileLock(`${path}.lock`, async () => {
    const bytes = serializeKeys(change(await readKeyFile(path) ?? []))
    // What we write we must be able to read.
    parseKeys(bytes, path)
    await writeDurably(path, bytes, OWNER_ONLY)
  })
}
