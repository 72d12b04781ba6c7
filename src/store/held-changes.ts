/**
 * What follows when memory holds something else of a domain: another list of the model's domains, and that whoever
 * keeps something for a version or a domain is told when it is gone, whichever process removed it.
 */
import type { BankswitchError } from '../base/errors.js'
import type { Gone, Pointer } from './bank-store.js'

/** A pointer, or why there is none to be had; undefined for a domain that was removed. */
export type Found = Pointer | BankswitchError | undefined

export class HeldChanges {
  /** By model, in the order of the domains' names. */
  readonly #lists = new Map<string, readonly Pointer[]>()
  readonly #listeners: Array<(gone: Gone) => void> = []

  /** One list until something of the model changes; `found` is asked only then. */
  listOf (model: string, found: () => Iterable<Found>): readonly Pointer[] {
    let list = this.#lists.get(model)
    if (list === undefined) {
      const all = [...found()].flatMap((one) => one === undefined || one instanceof Error ? [] : [one])
      this.#lists.set(model, list = all.sort((a, b) => a.domain < b.domain ? -1 : 1))
    }
    return list
  }

  /** As `BankStore.onGone`. */
  onGone (listener: (gone: Gone) => void): void {
    this.#listeners.push(listener)
  }

  /** To be called once memory holds `now` in the place of `before`. */
  changed (model: string, domain: string, before: Found, now: Found): void {
    this.#lists.delete(model)
    // What cannot be read now is there, for all that is known.
    if (before === undefined || now instanceof Error) return
    const kept = new Map(now?.versions.map(({ version, sha256 }) => [version, sha256]))
    const versions = before instanceof Error
      ? []
      : before.versions.filter(({ version, sha256 }) => kept.get(version) !== sha256)
    if (versions.length === 0 && now !== undefined) return
    for (const listener of this.#listeners) listener({ model, domain, versions, isWhole: now === undefined })
  }
}
