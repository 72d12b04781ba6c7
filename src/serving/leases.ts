/** Who uses which version right now, so that none is removed under a request. */
export class Leases {
  readonly #counts = new Map<string, number>()

  /** Runs `work` while the version is held. */
  async hold<T> (key: string, work: () => Promise<T>): Promise<T> {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    try {
      return await work()
    } finally {
      const left = this.#counts.get(key)! - 1
      if (left === 0) this.#counts.delete(key)
      else this.#counts.set(key, left)
    }
  }

  /** Requests that hold the key, or any key below it when it ends with a slash. */
  count (key: string): number {
    if (!key.endsWith('/')) return this.#counts.get(key) ?? 0
    let sum = 0
    for (const [held, count] of this.#counts) if (held.startsWith(key)) sum += count
    return sum
  }
}
