/**
 * One process at a time, by a file that its holder keeps touching: for work that is only dear, never wrong, when it is
 * done twice. Unlike `file-lock.ts` it works where the file system has no locks. A holder that died is recognised by a
 * file that was not touched for a while; between that and the theft two may both believe that they hold it.
 */
import { open, rm, stat, utimes } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { hasErrno } from './errors.js'

const HEARTBEAT_MS = 1000
const STALE_AFTER_MS = 10_000
const POLL_MS = 100

export interface LeaseOptions {
  signal?: AbortSignal
  /** Told once, when another process holds the file. */
  onWaiting? (): void
}

/** Runs `work` while the file at `path` is held, and removes it afterwards. Rejects with the signal's reason. */
export async function withFileLease<T> (path: string, options: LeaseOptions, work: () => Promise<T>): Promise<T> {
  await take(path, options)
  const heartbeat = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, HEARTBEAT_MS)
  try {
    return await work()
  } finally {
    clearInterval(heartbeat)
    await rm(path, { force: true })
  }
}

async function take (path: string, { signal, onWaiting }: LeaseOptions): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    signal?.throwIfAborted()
    try {
      await (await open(path, 'wx')).close()
      return
    } catch (error) {
      if (!hasErrno(error, 'EEXIST')) throw error
    }
    const held = await stat(path).catch(() => undefined)
    if (held !== undefined && Date.now() - held.mtimeMs > STALE_AFTER_MS) {
      await rm(path, { force: true })
      continue
    }
    if (attempt === 0) onWaiting?.()
    await delay(POLL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted())
  }
}
