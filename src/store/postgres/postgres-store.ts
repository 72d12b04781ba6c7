/**
 * Banks in a PostgreSQL database that any number of processes share.
 *
 * Always true:
 *  - a change is one transaction: the domain's row, its versions' rows and files, and the revision of the store
 *  - changes of one domain come one after another, by a lock of the database that ends with the transaction; each looks
 *    at the domain as the database has it, not as memory does
 *  - records are answered from memory, which follows the database (follower.ts); files are read when they are needed,
 *    and verified
 *  - a change is acknowledged when its commit is; where the connection is lost meanwhile, the database is asked
 */
import { randomUUID } from 'node:crypto'
import { sha256 } from '../../base/digest.js'
import {
  beyond, checkRevision, gateRecord, nextRecord, NO_NUMBERS, withActive, withoutActive, withoutVersion, withRollback,
  withVersion
} from '../changes.js'
import { storeErrors } from '../errors.js'
import { checkGate, requireGate, requireVersion, withGate, withMark } from '../marks.js'
import { readWholeGate, readWholeVersion } from '../whole-domain.js'
import { DatabaseAway, type Database, type Statements } from './database.js'
import { readFile, readGateFile, readShipped } from './domain-rows.js'
import { noDomain, pointerOf, type HeldDomains } from './held-domains.js'
import { Changes, unwritable } from './changes.js'
import { deleteVersions, insertVersion, putDomain, putGate, putShipped, requireReadable } from './write-rows.js'
import type {
  BankStore, DomainRecord, ExpectedRevision, Gone, LastNumbers, Mark, NewGate, NewVersion, PassedGate, Pointer,
  ShippedMemory, VersionRecord, WholeDomain
} from '../bank-store.js'
import type { Follower } from './follower.js'

export interface PostgresStoreNeeds {
  database: Database
  held: HeldDomains
  follower: Pick<Follower, 'put' | 'catchUp' | 'ageMs' | 'isAway'>
  /** Gives the time of a version, as milliseconds since 1970. */
  now: () => number
  /** How long the database is asked what became of a change whose commit was cut off. */
  askedMs: number
}

/** What a change makes of a domain. */
interface Step {
  next: Pointer
  /** Versions that the domain has not had. */
  added?: readonly VersionRecord[]
  /** Writes files, before the next revision is taken. */
  write? (statements: Statements): Promise<void>
}

export class PostgresStore implements BankStore {
  readonly #needs: PostgresStoreNeeds
  readonly #changes: Changes

  constructor (needs: PostgresStoreNeeds) {
    this.#needs = needs
    this.#changes = new Changes(needs.database, needs.held, needs.askedMs)
  }

  get ageMs (): number {
    return this.#needs.follower.ageMs
  }

  catchUp (): Promise<void> {
    return this.#needs.follower.catchUp()
  }

  onGone (listener: (gone: Gone) => void): void {
    this.#needs.held.onGone(listener)
  }

  domains (model: string): readonly DomainRecord[] {
    return this.#needs.held.domains(model)
  }

  domain (model: string, domain: string): DomainRecord | undefined {
    return this.#needs.held.get(model, domain)
  }

  async read (model: string, domain: string, version: number): Promise<Uint8Array> {
    const { database, held } = this.#needs
    const wanted = () => requireVersion(held.require(model, domain), version)
    const what = `version ${version} of domain "${domain}"`
    return await this.#verified(wanted, (bytes) => readFile(database, model, domain, version, bytes), what, { version })
  }

  async readGate (model: string, domain: string): Promise<Uint8Array> {
    const { database, held } = this.#needs
    const wanted = () => requireGate(held.require(model, domain))
    const what = `the gate of domain "${domain}"`
    return await this.#verified(wanted, (bytes) => readGateFile(database, model, domain, bytes), what, {})
  }

  publish (model: string, domain: string, added: NewVersion, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#change(model, domain, (pointer, numbers) => {
      checkRevision(domain, pointer, expected)
      if (added.isActivated) checkGate(domain, pointer?.gate, added.passed)
      const record = nextRecord(numbers, added, this.#needs.now())
      const next = withVersion(domain, pointer, record, added.isActivated, added.description, numbers)
      const write = (statements: Statements) => insertVersion(statements, model, domain, record, added.file)
      return { next, added: [record], write }
    })
  }

  activate (
    model: string, domain: string, version: number, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#step(model, domain, expected, (pointer) => withActive(pointer, version), passed)
  }

  deactivate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#step(model, domain, expected, withoutActive)
  }

  rollBack (
    model: string, domain: string, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#step(model, domain, expected, withRollback, passed)
  }

  mark (
    model: string, domain: string, mark: Mark, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#step(model, domain, expected, (pointer) => withMark(pointer, mark), passed)
  }

  setGate (model: string, domain: string, added: NewGate, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#changeExisting(model, domain, expected, (pointer) => {
      const next = withGate(pointer, gateRecord(added, this.#needs.now()))
      return { next, write: (statements) => putGate(statements, model, domain, added.file) }
    })
  }

  removeGate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#changeExisting(model, domain, expected, (pointer) => {
      requireGate(pointer)
      return {
        next: withGate(pointer, undefined), write: (statements) => putGate(statements, model, domain, undefined)
      }
    })
  }

  removeVersion (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#changeExisting(model, domain, expected, (pointer) => {
      return {
        next: withoutVersion(pointer, version),
        write: (statements) => deleteVersions(statements, model, domain, [version])
      }
    })
  }

  async removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    this.#requireThere(unwritable)
    const change = randomUUID()
    const changed = await this.#changes.make(model, domain, change, async (statements, stored) => {
      const pointer = pointerOf(stored?.found)
      if (pointer === undefined) throw noDomain(model, domain)
      checkRevision(domain, pointer, expected)
      await deleteVersions(statements, model, domain)
      await putGate(statements, model, domain, undefined)
      return await putDomain(statements, model, domain, { numbers: pointer }, stored, change)
    })
    this.#needs.follower.put(model, domain, { changed, found: undefined })
  }

  adopt (model: string, whole: WholeDomain): Promise<DomainRecord> {
    const { pointer, pointer: { domain, versions } } = whole
    return this.#change(model, domain, (known, numbers) => {
      if (known !== undefined) {
        throw storeErrors.DOMAIN_EXISTS(`model "${model}" has a domain "${domain}" already`)
      }
      const next = beyond(pointer, numbers)
      const write = async (statements: Statements) => {
        for (const record of versions) {
          await insertVersion(statements, model, domain, record, await readWholeVersion(whole, record))
        }
        await putGate(statements, model, domain, await readWholeGate(whole))
      }
      return { next, added: versions, write }
    })
  }

  async shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    return await this.#reading(() => readShipped(this.#needs.database, model, domain))
  }

  async rememberShipped (model: string, domain: string, memory: ShippedMemory): Promise<void> {
    this.#requireThere(unwritable)
    await this.#changes.serially(model, domain, () => this.#needs.database.transaction({}, (statements) => {
      return putShipped(statements, model, domain, memory)
    }))
  }

  /** A change that only moves what points to versions. */
  #step (
    model: string, domain: string, expected: ExpectedRevision, step: (pointer: Pointer) => Pointer, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#changeExisting(model, domain, expected, (pointer) => {
      checkGate(domain, pointer.gate, passed)
      return { next: step(pointer) }
    })
  }

  #changeExisting (
    model: string, domain: string, expected: ExpectedRevision, step: (pointer: Pointer) => Step
  ): Promise<DomainRecord> {
    return this.#change(model, domain, (pointer) => {
      if (pointer === undefined) throw noDomain(model, domain)
      checkRevision(domain, pointer, expected)
      return step(pointer)
    })
  }

  async #change (
    model: string, domain: string, step: (pointer: Pointer | undefined, numbers: LastNumbers) => Step
  ): Promise<DomainRecord> {
    this.#requireThere(unwritable)
    const change = randomUUID()
    const { next, changed } = await this.#changes.make(model, domain, change, async (statements, stored) => {
      const pointer = pointerOf(stored?.found)
      const { next, added = [], write } = step(pointer, stored?.numbers ?? NO_NUMBERS)
      requireReadable(next, added)
      await write?.(statements)
      const changed = await putDomain(statements, model, domain, { pointer: next, numbers: next }, stored, change)
      return { next, changed }
    })
    this.#needs.follower.put(model, domain, { changed, found: next })
    return next
  }

  /** A file that is not what its record says may be one that was removed meanwhile: the record of now tells. */
  async #verified (
    wanted: () => { sha256: string, bytes: number }, read: (bytes: number) => Promise<Uint8Array | undefined>,
    what: string, details: Readonly<Record<string, unknown>>
  ): Promise<Uint8Array> {
    const once = async (): Promise<{ file: Uint8Array | undefined, isRight: boolean }> => {
      const { sha256: digest, bytes } = wanted()
      const file = await this.#reading(() => read(bytes))
      return { file, isRight: file !== undefined && sha256(file) === digest }
    }
    const first = await once()
    if (first.isRight) return first.file!
    await this.catchUp()
    const { file, isRight } = await once()
    if (isRight) return file!
    const fate = file === undefined ? 'is lost' : 'was changed in the database'
    throw storeErrors.STORE_CORRUPT(`${what} ${fate}`, details)
  }

  /** Nobody waits for a database that is known to be away. */
  #requireThere (refusal: (error: DatabaseAway) => unknown): void {
    if (this.#needs.follower.isAway) throw refusal(new DatabaseAway('the last look at the database has failed'))
  }

  async #reading<T> (read: () => Promise<T>): Promise<T> {
    this.#requireThere(unreadable)
    try {
      return await read()
    } catch (error) {
      throw unreadable(error)
    }
  }
}

/** A database that is away as STORE_UNREADABLE; anything else thrown stays what it is. */
export function unreadable (thrown: unknown): unknown {
  if (!(thrown instanceof DatabaseAway)) return thrown
  return storeErrors.STORE_UNREADABLE('the database of the store cannot be read now', {}, thrown)
}
