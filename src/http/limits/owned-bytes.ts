/** Bytes that are held, by whom and of all together, and whether there is room for more of somebody's. */
import { isWithinShare } from '../../base/dynamic-threshold.js'

export class OwnedBytes {
  readonly bytesMax: number
  readonly #bytesOf = new Map<string, number>()
  #total = 0

  constructor (bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get total (): number {
    return this.#total
  }

  /** `bytes` may be negative, for what is given back. */
  count (owners: readonly string[], bytes: number): void {
    this.#total += bytes
    for (const owner of owners) {
      const held = this.#held(owner) + bytes
      if (held === 0) this.#bytesOf.delete(owner)
      else this.#bytesOf.set(owner, held)
    }
  }

  /**
   * Whether there are so many bytes more for one who holds `own` now. An owner of several may hold only a share of what
   * is still free; one that holds nothing else may have all of it.
   */
  hasRoom (owners: readonly string[], bytes: number, own: number): boolean {
    const free = this.bytesMax - this.#total
    return bytes <= free && owners.every((owner) => {
      const held = this.#held(owner)
      return held === own || isWithinShare(held + bytes, free)
    })
  }

  #held (owner: string): number {
    return this.#bytesOf.get(owner) ?? 0
  }
}
