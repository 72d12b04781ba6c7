/**
 * Where the networks of hot domains lie: a folder of this process alone, in the cache. It is touched again and again,
 * so that another process sees that somebody lives in it; what a killed process left goes when the next one begins to
 * heat. Should a living one's folder ever be taken away, its sessions keep what they have mapped.
 */
import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolderDurably, TEMPORARY_PREFIX } from '../../base/durable-file.js'

const PREFIX = `${TEMPORARY_PREFIX}hot-`

/** Of a folder that nobody touches any more; its owner does so every few seconds. */
const ABANDONED_AFTER_MS = 60_000

export class HotFolder {
  readonly #cacheDir: string
  #own: string | undefined

  constructor (cacheDir: string) {
    this.#cacheDir = cacheDir
  }

  /** A new empty folder in it. Rejects with the errno error. */
  async make (): Promise<string> {
    if (this.#own === undefined) {
      await makeFolderDurably(this.#cacheDir)
      await this.#removeAbandoned()
      this.#own = await mkdtemp(join(this.#cacheDir, PREFIX))
    }
    return await mkdtemp(join(this.#own, 'bank-'))
  }

  /** Tells others that it is in use; never rejects. */
  async touch (): Promise<void> {
    const now = new Date()
    if (this.#own !== undefined) await utimes(this.#own, now, now).catch(() => {})
  }

  /** Removes it and everything in it. */
  async close (): Promise<void> {
    if (this.#own !== undefined) await rm(this.#own, { recursive: true, force: true })
    this.#own = undefined
  }

  async #removeAbandoned (): Promise<void> {
    for (const name of await readdir(this.#cacheDir)) {
      if (!name.startsWith(PREFIX)) continue
      const folder = join(this.#cacheDir, name)
      // Another process may have removed it meanwhile.
      const found = await stat(folder).catch(() => undefined)
      if (found === undefined || Date.now() - found.mtimeMs <= ABANDONED_AFTER_MS) continue
      await rm(folder, { recursive: true, force: true })
    }
  }
}
