/** How a change of a domain gets into the database: in its turn, whole or not at all, and with an answer either way. */
import { setTimeout as wait } from 'node:timers/promises'
import { storeErrors } from '../errors.js'
import { CommitUnknown, DatabaseAway, type Database, type Statements } from './database.js'
import { readDomain, type StoredDomain } from './domain-rows.js'
import { hasHappened, lockOf } from './write-rows.js'
import type { HeldDomains } from './held-domains.js'

/** How long the database is asked whether a change has happened. */
export const ASKED_MS = 10_000
const ASKED_AGAIN_MS = 200

export class Changes {
  readonly #database: Database
  readonly #held: HeldDomains
  readonly #askedMs: number
  readonly #tails = new Map<string, Promise<unknown>>()

  constructor (database: Database, held: HeldDomains, askedMs: number) {
    this.#database = database
    this.#held = held
    this.#askedMs = askedMs
  }

  /**
   * Runs `work`, which writes the change under its id, on the domain as the database has it. Throws what `work` throws,
   * and STORE_UNWRITABLE; with `isUnknown` among the details when it cannot be told whether the change has happened.
   */
  make<T> (
    model: string, domain: string, change: string,
    work: (statements: Statements, stored: StoredDomain | undefined) => Promise<T>
  ): Promise<T> {
    const lock = lockOf(model, domain)
    return this.serially(model, domain, async () => {
      let result: T | undefined
      try {
        return await this.#database.transaction({ lock }, async (statements) => {
          const stored = await readDomain(statements, model, domain, this.#held.held(model, domain))
          result = await work(statements, stored)
          return result
        })
      } catch (error) {
        if (error instanceof CommitUnknown && await this.#hasHappened(model, domain, change, error)) return result as T
        throw error
      }
    })
  }

  /** Runs changes of one domain one after another, so that none of them only waits for another with a connection. */
  serially<T> (model: string, domain: string, change: () => Promise<T>): Promise<T> {
    const key = `${model}/${domain}`
    const before = this.#tails.get(key) ?? Promise.resolve()
    const result = before.then(change, change).catch((error: unknown) => { throw unwritable(error) })
    const tail = result.then(() => {}, () => {}).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    })
    this.#tails.set(key, tail)
    return result
  }

  /** Asks under the domain's lock, which whoever was still committing has until it is done. */
  async #hasHappened (model: string, domain: string, change: string, cause: CommitUnknown): Promise<boolean> {
    const lock = lockOf(model, domain)
    for (const until = performance.now() + this.#askedMs; performance.now() < until; await wait(ASKED_AGAIN_MS)) {
      try {
        return await this.#database.transaction({ lock }, (statements) => {
          return hasHappened(statements, model, domain, change)
        })
      } catch (error) {
        if (!(error instanceof DatabaseAway)) throw error
      }
    }
    throw storeErrors.STORE_UNWRITABLE(
      'the database went away while the change was being committed: it may have happened or not',
      { isUnknown: true },
      cause
    )
  }
}

/** A database that is away as STORE_UNWRITABLE; anything else thrown stays what it is. */
export function unwritable (thrown: unknown): unknown {
  if (!(thrown instanceof DatabaseAway)) return thrown
  return storeErrors.STORE_UNWRITABLE('the database of the store cannot be changed now', {}, thrown)
}
