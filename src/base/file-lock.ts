/**
 * A file that one owner at a time has, by a lock of the operating system on the open file: fcntl with F_OFD_SETLK on
 * Linux, flock on macOS, LockFileEx on Windows. Nobody has to clean up after a crash: the lock ends with its process,
 * and neither process numbers nor clocks have a say, so that it holds between containers that share a volume.
 *
 * The file is removed when the lock is given back. What a crash leaves of it is no lock, and is taken over.
 */
import * as fs from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { tryLock } from 'fs-native-extensions'
import { hasErrno } from './errors.js'

// Descriptors, not FileHandles: those are closed, and the lock lost, when nobody holds the object any more.
const [open, close, fstat, read, write, truncate] = [
  promisify(fs.open), promisify(fs.close), promisify(fs.fstat), promisify(fs.read), promisify(fs.write),
  promisify(fs.ftruncate)
]

/** Behind what the file holds, which Windows would not let others read while it is locked. */
const LOCKED_BYTE = 2 ** 30
const OWNER_BYTES_MAX = 4096
const POLL_MS = 50

/** Who has a lock, as it was written into the file; undefined for what cannot be told. */
export type LockOwner = Readonly<{ pid: number, host: string, since: string }> | undefined

export type LockAttempt =
  | { isTaken: true, /** Gives the lock back; more than once is no error. */ release (): Promise<void> }
  | { isTaken: false, owner: LockOwner }

/** Takes the lock, or tells who has it. Throws the errno error of a file that cannot be made or locked. */
export async function tryFileLock (path: string): Promise<LockAttempt> {
  for (;;) {
    const fd = await open(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644)
    try {
      if (!tryLock(fd, LOCKED_BYTE, 1)) {
        const owner = await readOwner(fd)
        await close(fd)
        return { isTaken: false, owner }
      }
      // The owner before may have removed the file between the two calls: then the next one would lock another.
      if (await isStill(fd, path)) {
        await writeOwner(fd)
        return { isTaken: true, release: once(() => release(fd, path)) }
      }
    } catch (error) {
      await close(fd).catch(() => {})
      throw error
    }
    await close(fd)
  }
}

/** Runs `work` with the lock, which it waits for. Throws what `tryFileLock` and `work` throw. */
export async function withFileLock<T> (path: string, work: () => Promise<T>): Promise<T> {
  for (;;) {
    const attempt = await tryFileLock(path)
    if (!attempt.isTaken) {
      await delay(POLL_MS)
      continue
    }
    try {
      return await work()
    } finally {
      await attempt.release()
    }
  }
}

async function isStill (fd: number, path: string): Promise<boolean> {
  try {
    const [held, named] = await Promise.all([fstat(fd), stat(path)])
    return held.ino === named.ino && held.dev === named.dev
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false
    throw error
  }
}

/** Removed while it is locked: whoever opens the file after that makes a new one. */
async function release (fd: number, path: string): Promise<void> {
  try {
    await rm(path, { force: true })
  } finally {
    await close(fd)
  }
}

function once (act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => {
    done ??= act()
    return done
  }
}

async function writeOwner (fd: number): Promise<void> {
  const owner: LockOwner = { pid: process.pid, host: hostname(), since: new Date().toISOString() }
  await truncate(fd, 0)
  const bytes = Buffer.from(`${JSON.stringify(owner)}\n`)
  await write(fd, bytes, 0, bytes.length, 0)
}

/** The file is for people and may hold anything, what an owner before has written among it. */
async function readOwner (fd: number): Promise<LockOwner> {
  const { buffer, bytesRead } = await read(fd, Buffer.alloc(OWNER_BYTES_MAX), 0, OWNER_BYTES_MAX, 0)
  try {
    const { pid, host, since } = Object(JSON.parse(buffer.toString('utf8', 0, bytesRead))) as Record<string, unknown>
    const isOwner = Number.isSafeInteger(pid) && typeof host === 'string' && typeof since === 'string'
    return isOwner ? { pid: pid as number, host: host.slice(0, 255), since: since.slice(0, 40) } : undefined
  } catch {
    return undefined
  }
}
