/** What memory holds of the domains in a database, each with the revision of the store at which it changed last. */
import { storeErrors } from '../errors.js'
import { HeldChanges, type Found } from '../held-changes.js'
import type { Gone, Pointer } from '../bank-store.js'
import type { BankswitchError } from '../../base/errors.js'

export interface Held {
  readonly changed: number
  readonly found: Found
}

export class HeldDomains {
  #models = new Map<string, Map<string, Held>>()
  readonly #changes = new HeldChanges()

  onGone (listener: (gone: Gone) => void): void {
    this.#changes.onGone(listener)
  }

  /** In the order of their names. */
  domains (model: string): readonly Pointer[] {
    return this.#changes.listOf(model, () => Array.from(this.#models.get(model)?.values() ?? [], ({ found }) => found))
  }

  held (model: string, domain: string): Held | undefined {
    return this.#models.get(model)?.get(domain)
  }

  /** Throws the reason why it cannot be had. */
  get (model: string, domain: string): Pointer | undefined {
    return pointerOf(this.held(model, domain)?.found)
  }

  /** Throws DOMAIN_NOT_FOUND, and like `get`. */
  require (model: string, domain: string): Pointer {
    const pointer = this.get(model, domain)
    if (pointer === undefined) throw noDomain(model, domain)
    return pointer
  }

  /** Unless something later is held: what was read and what was written here come in either order. */
  put (model: string, domain: string, held: Held): void {
    const before = this.held(model, domain)
    if (this.#isPut(model, domain, held)) this.#changes.changed(model, domain, before?.found, held.found)
  }

  /** Begins from nothing with these; of one domain the later counts. */
  replace (all: ReadonlyArray<readonly [model: string, domain: string, held: Held]>): void {
    const before = this.#models
    this.#models = new Map()
    for (const [model, domain, held] of all) this.#isPut(model, domain, held)
    for (const [model, domain] of all) {
      this.#changes.changed(model, domain, before.get(model)?.get(domain)?.found, this.held(model, domain)!.found)
    }
    for (const [model, domains] of before) {
      for (const [domain, { found }] of domains) {
        if (this.held(model, domain) === undefined) this.#changes.changed(model, domain, found, undefined)
      }
    }
  }

  #isPut (model: string, domain: string, held: Held): boolean {
    let domains = this.#models.get(model)
    if (domains === undefined) this.#models.set(model, domains = new Map())
    if ((domains.get(domain)?.changed ?? -1) >= held.changed) return false
    domains.set(domain, held)
    return true
  }
}

/** Throws the reason why there is none to be had. */
export function pointerOf (found: Found): Pointer | undefined {
  if (found instanceof Error) throw found
  return found
}

/** DOMAIN_NOT_FOUND. */
export function noDomain (model: string, domain: string): BankswitchError {
  return storeErrors.DOMAIN_NOT_FOUND(`model "${model}" has no domain "${domain}"`)
}
