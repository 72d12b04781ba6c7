/** Bytes that are held, by whom and of all together, and whether there is room for more of somebody's. */
import { isWithinShare } from '../../base/dynamic-threshold.js'

export interface Owner {
  name: string
  /** How many times what is free it may hold; as everybody if not given. */
  share?: number
}

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
  count (owners: readonly Owner[], bytes: number): void {
    this.#total += bytes
    for (const { name } of owners) {
      const held = this.#held(name) + bytes
      if (held === 0) this.#bytesOf.delete(name)
      else this.#bytesOf.set(name, held)
    }
  }

  /**
   * Whether there are so many bytes more for one who holds `own` now. An owner of several may hold only a share of what
   * is still free; one that holds nothing else may have all of it.
   */
  hasRoom (owners: readonly Owner[], bytes: number, own: number): boolean {
    const free = this.bytesMax - this.#total
    return bytes <= free && owners.every(({ name, share }) => {
      const held = this.#held(name)
      return held === own || isWithinShare(held + bytes, free, share)
    })
  }

  #held (name: string): number {
    return this.#bytesOf.get(name) ?? 0
  }
}
