/** Who uses which version right now, so that none is removed under a request. */
import assert from 'node:assert/strict'
import { servingErrors } from './errors.js'

/** Names a version of a domain; with '' for the version, the domain and all its versions. */
export function leaseKey (model: string, domain: string, version: number | ''): string {
  return `${model}/${domain}/${version}`
}

export class Leases {
  readonly #counts = new Map<string, number>()
  readonly #closing = new Set<string>()
  readonly #awaited: Array<{ key: string, then: () => void }> = []

  /**
   * Holds the version until what is returned is called, which must happen exactly once. Throws VERSION_LEAVING when the
   * version is being removed.
   */
  take (key: string): () => void {
    for (const closing of this.#closing) {
      if (!covers(closing, key)) continue
      throw servingErrors.VERSION_LEAVING('the version is being removed', { received: key })
    }
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    let isHeld = true
    return () => {
      assert.ok(isHeld, 'a lease is given back once')
      isHeld = false
      const left = this.#counts.get(key)! - 1
      if (left > 0) {
        this.#counts.set(key, left)
      } else {
        this.#counts.delete(key)
        this.#settleAwaited()
      }
    }
  }

  /** Runs `work` while the version is held. Rejects like `take`. */
  async hold<T> (key: string, work: () => Promise<T>): Promise<T> {
    const release = this.take(key)
    try {
      return await work()
    } finally {
      release()
    }
  }

  /** Runs `work`, which removes what the key names, while nobody can take hold of it. Rejects with VERSION_LEASED. */
  async remove<T> (key: string, work: () => Promise<T>): Promise<T> {
    const requests = this.count(key)
    if (requests > 0) {
      throw servingErrors.VERSION_LEASED('requests are being answered with it right now; try again', {
        received: requests
      })
    }
    if (this.#closing.has(key)) throw servingErrors.VERSION_LEAVING('it is being removed already', { received: key })
    this.#closing.add(key)
    try {
      return await work()
    } finally {
      this.#closing.delete(key)
    }
  }

  /** Calls `then` when nobody holds the key any more, at once where that is so. */
  whenFree (key: string, then: () => void): void {
    this.#awaited.push({ key, then })
    this.#settleAwaited()
  }

  #settleAwaited (): void {
    for (const one of this.#awaited.filter(({ key }) => this.count(key) === 0)) {
      this.#awaited.splice(this.#awaited.indexOf(one), 1)
      one.then()
    }
  }

  /** Requests that hold the key, or any key below it when it ends with a slash. */
  count (key: string): number {
    let sum = 0
    for (const [held, count] of this.#counts) if (covers(key, held)) sum += count
    return sum
  }
}

function covers (key: string, held: string): boolean {
  return key.endsWith('/') ? held.startsWith(key) : held === key
}
