/** The domains of each model in the order of their names: one list until something of the model changes. */
import type { BankswitchError } from '../base/errors.js'
import type { Pointer } from './bank-store.js'

/** A pointer, or why there is none to be had; undefined for a domain that was removed. */
export type Found = Pointer | BankswitchError | undefined

export class DomainLists {
  readonly #lists = new Map<string, readonly Pointer[]>()

  /** `found` is asked only after a change. */
  of (model: string, found: () => Iterable<Found>): readonly Pointer[] {
    let list = this.#lists.get(model)
    if (list === undefined) {
      const all = [...found()].flatMap((one) => one === undefined || one instanceof Error ? [] : [one])
      this.#lists.set(model, list = all.sort((a, b) => a.domain < b.domain ? -1 : 1))
    }
    return list
  }

  changed (model: string): void {
    this.#lists.delete(model)
  }

  clear (): void {
    this.#lists.clear()
  }
}
