/** Files of a store, read and checked. */
import { deepEqual } from 'node:assert'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../../base/digest.js'
import { DiskLost, type Disk, type Step } from '../../base/durable-change.js'
import { writeDurably } from '../../base/durable-file.js'
import { hasErrno, type ErrorDetails } from '../../base/errors.js'
import { storeErrors } from '../errors.js'
import { parsePointer, POINTER_FILE, serializePointer } from './pointer-file.js'
import type { Pointer, VersionRecord } from '../bank-store.js'

/** Of the file that a pointer was read from or written to. */
const fileDigests = new WeakMap<Pointer, string>()

/** Versions that were read from a pointer file or written to one. */
const readable = new WeakSet<VersionRecord>()

/**
 * The pointer in a domain's folder; undefined when there is none. It is `known` itself, not parsed again, when the file
 * is still the one that `known` was read from or written to. Throws STORE_CORRUPT.
 */
export async function readPointer (folder: string, domain: string, known?: Pointer): Promise<Pointer | undefined> {
  let bytes: Buffer
  try {
    bytes = await readFile(join(folder, POINTER_FILE))
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
  const digest = sha256(bytes)
  if (known !== undefined && fileDigests.get(known) === digest) return known
  const pointer = parsePointer(bytes.toString(), domain)
  remember(pointer, digest)
  return pointer
}

/**
 * Replaces the pointer file of a domain's folder. Rejects with the errno error of whatever went wrong; and, before
 * anything is written, for a pointer that JSON cannot hold or the format forbids, as with an infinite number.
 */
export async function writePointer (folder: string, pointer: Pointer): Promise<void> {
  await replacing(folder, pointer, (path, bytes) => writeDurably(path, bytes))
}

/** Is the digest of no file: a pointer that a start has recovered is not known to be what its file holds. */
const UNKNOWN = ''

/**
 * As `writePointer`, after `before`, if the file is still the one that `current` was read from or written to. Rejects
 * with FileChanged if it is not, or if nothing of that is known.
 */
export async function changePointer (
  disk: Disk, folder: string, pointer: Pointer, current: Pointer | undefined, before: readonly Step[]
): Promise<void> {
  const digest = current === undefined ? undefined : fileDigests.get(current) ?? UNKNOWN
  await replacing(folder, pointer, (path, bytes) => {
    const expect: Step = { kind: 'expect', path, digest }
    const guarded = before.length === 0 ? [] : [expect, ...before]
    return disk.change([...guarded, expect, { kind: 'write', path, bytes }])
  })
}

async function replacing (
  folder: string, pointer: Pointer, write: (path: string, bytes: Uint8Array) => Promise<void>
): Promise<void> {
  const bytes = serializePointer(pointer)
  requireReadable(pointer)
  await write(join(folder, POINTER_FILE), bytes)
  remember(pointer, sha256(bytes))
}

function remember (pointer: Pointer, digest: string): void {
  fileDigests.set(pointer, digest)
  for (const version of pointer.versions) readable.add(version)
}

/**
 * What could not be read again would send the domain to quarantine at the next start. Versions that stood in a file
 * before can be: they are left out, but for those that the pointer names, since there may be thousands.
 */
function requireReadable (pointer: Pointer): void {
  const { active, labels = {}, canary, shadow } = pointer
  const named = new Set([active, canary?.version, shadow?.version, ...Object.values(labels)])
  const versions = pointer.versions.filter((record) => !readable.has(record) || named.has(record.version))
  const shortened = { ...pointer, versions }
  // Not strictly: JSON has no -0.
  deepEqual(parsePointer(Buffer.from(serializePointer(shortened)).toString(), pointer.domain), shortened)
}

/** What the process lacks for a while, which says nothing of the file. */
const PASSING = ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN']

/** The bytes of a file that has this SHA-256; `what` names it in errors. Throws STORE_CORRUPT or STORE_UNREADABLE. */
export async function readVerified (
  path: string, digest: string, what: string, details: ErrorDetails
): Promise<Uint8Array> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    if (hasErrno(cause, ...PASSING)) {
      throw storeErrors.STORE_UNREADABLE('the store cannot be read now', details, cause)
    }
    throw storeErrors.STORE_CORRUPT(`${what} cannot be read`, details, cause)
  }
  if (sha256(bytes) === digest) return bytes
  throw storeErrors.STORE_CORRUPT(`${what} was changed on disk`, details)
}

/** A failure to write as STORE_UNWRITABLE; anything else thrown is no such thing and stays what it is. */
export function unwritable (thrown: unknown): unknown {
  if (!(thrown instanceof Error && ('syscall' in thrown || thrown instanceof DiskLost))) return thrown
  return storeErrors.STORE_UNWRITABLE(`the store cannot be written: ${thrown.message}`, {}, thrown)
}
