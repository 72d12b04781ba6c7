/** How far large pictures have got, under keys that their senders choose; kept only while the request lasts. */
import { servingErrors } from '../errors.js'

export interface Progress {
  tilesDone: number
  tilesTotal: number
}

export class ProgressBoard {
  readonly #entries = new Map<string, Progress>()

  /** Shows `progress`, which `work` moves on, under a key. Rejects with PROGRESS_KEY_IN_USE. */
  async show<T> (key: string | undefined, progress: Progress, work: () => Promise<T>): Promise<T> {
    if (key === undefined) return await work()
    if (this.#entries.has(key)) {
      throw servingErrors.PROGRESS_KEY_IN_USE('another request is under way with this progress key', { received: key })
    }
    this.#entries.set(key, progress)
    try {
      return await work()
    } finally {
      this.#entries.delete(key)
    }
  }

  /** Throws PROGRESS_NOT_FOUND: not begun yet, or answered. */
  get (key: string): Progress {
    const progress = this.#entries.get(key)
    if (progress !== undefined) return progress
    throw servingErrors.PROGRESS_NOT_FOUND('no request is under way with this progress key', { received: key })
  }
}
