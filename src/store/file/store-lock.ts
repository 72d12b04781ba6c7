/** A store's folder belongs to one process that may change it: that recovers it, writes into it or imports. */
import { join } from 'node:path'
import { makeFolderDurably } from '../../base/durable-file.js'
import { hasErrno } from '../../base/errors.js'
import { tryFileLock, type LockAttempt } from '../../base/file-lock.js'
import { storeErrors } from '../errors.js'
import { unwritable } from './files.js'

/** Left by a crash it is no lock, and of no meaning to a copy of the folder. */
export const LOCK_FILE = '.lock'

/**
 * Makes the folder when it is missing and takes it; what comes back gives it free, as the end of the process does.
 * Throws STORE_IN_USE naming who has it, and STORE_UNWRITABLE, also for a file system that knows no locks.
 */
export async function lockStore (folder: string): Promise<() => Promise<void>> {
  let attempt: LockAttempt
  try {
    await makeFolderDurably(folder)
    attempt = await tryFileLock(join(folder, LOCK_FILE))
  } catch (error) {
    if (!hasErrno(error, 'ENOLCK', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL')) throw unwritable(error)
    const why = 'the file system of the store has no locks: two servers could destroy it'
    throw storeErrors.STORE_UNWRITABLE(why, {}, error)
  }
  if (attempt.isTaken) return attempt.release
  const { owner } = attempt
  const who = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host} since ${owner.since}`
  const instead = 'a running server takes changes over its admin API, which calibrate uses with --url'
  throw storeErrors.STORE_IN_USE(`the store "${folder}" is in use by ${who}; ${instead}`, {
    expected: 'a store that no other process has open to change', received: owner ?? null
  })
}
