/** A store without a disk, of the same pure changes: for tests of what stands on a store. It passes the same contract. */
import { sha256 } from '#src/base/digest.js'
import {
  beyond, checkRevision, gateRecord, nextRecord, NO_NUMBERS, withActive, withoutActive, withoutVersion, withRollback,
  withVersion
} from '#src/store/changes.js'
import { storeErrors } from '#src/store/errors.js'
import { HeldChanges } from '#src/store/held-changes.js'
import { checkGate, requireGate, requireVersion, withGate, withMark } from '#src/store/marks.js'
import { readWholeGate, readWholeVersion } from '#src/store/whole-domain.js'
import type {
  BankStore, DomainRecord, ExpectedRevision, Gone, LastNumbers, Mark, NewGate, NewVersion, PassedGate, Pointer,
  ShippedMemory, WholeDomain
} from '#src/store/bank-store.js'

interface Held {
  pointer: Pointer
  versions: ReadonlyMap<number, Uint8Array>
  gate?: Uint8Array | undefined
}

/** What outlives a store over it: `new MemoryStore(memory)` again is a restart. Keys are `model/domain`. */
export interface StoreMemory {
  domains: Map<string, Held>
  shipped: Map<string, ShippedMemory>
  removed: Map<string, LastNumbers>
}

export function emptyMemory (): StoreMemory {
  return { domains: new Map(), shipped: new Map(), removed: new Map() }
}

export class MemoryStore implements BankStore {
  readonly ageMs = 0
  readonly #memory: StoreMemory
  readonly #now: () => number
  readonly #changes = new HeldChanges()

  constructor (memory = emptyMemory(), now: () => number = Date.now) {
    this.#memory = memory
    this.#now = now
  }

  async catchUp (): Promise<void> {}

  onGone (listener: (gone: Gone) => void): void {
    this.#changes.onGone(listener)
  }

  domains (model: string): readonly DomainRecord[] {
    return this.#changes.listOf(model, () => {
      return [...this.#memory.domains].flatMap(([key, { pointer }]) => key.startsWith(`${model}/`) ? [pointer] : [])
    })
  }

  domain (model: string, domain: string): DomainRecord | undefined {
    return this.#memory.domains.get(`${model}/${domain}`)?.pointer
  }

  async read (model: string, domain: string, version: number): Promise<Uint8Array> {
    const { pointer, versions } = this.#require(model, domain)
    const { sha256: digest } = requireVersion(pointer, version)
    return verified(versions.get(version), digest, `version ${version} of domain "${domain}"`, { version })
  }

  async readGate (model: string, domain: string): Promise<Uint8Array> {
    const { pointer, gate } = this.#require(model, domain)
    return verified(gate, requireGate(pointer).sha256, `the gate of domain "${domain}"`)
  }

  async publish (
    model: string, domain: string, added: NewVersion, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    const held = this.#memory.domains.get(`${model}/${domain}`)
    checkRevision(domain, held?.pointer, expected)
    if (added.isActivated) checkGate(domain, held?.pointer.gate, added.passed)
    const last = held?.pointer ?? this.#memory.removed.get(`${model}/${domain}`) ?? NO_NUMBERS
    const record = nextRecord(last, added, this.#now())
    const pointer = withVersion(domain, held?.pointer, record, added.isActivated, added.description, last)
    const versions = new Map(held?.versions).set(record.version, Uint8Array.from(added.file))
    return this.#hold(model, { ...held, pointer, versions })
  }

  async activate (
    model: string, domain: string, version: number, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#change(model, domain, expected, (pointer) => withActive(pointer, version), passed)
  }

  async deactivate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#change(model, domain, expected, withoutActive)
  }

  async rollBack (
    model: string, domain: string, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#change(model, domain, expected, withRollback, passed)
  }

  async mark (
    model: string, domain: string, mark: Mark, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#change(model, domain, expected, (pointer) => withMark(pointer, mark), passed)
  }

  async setGate (model: string, domain: string, added: NewGate, expected?: ExpectedRevision): Promise<DomainRecord> {
    const record = this.#change(model, domain, expected, (pointer) => withGate(pointer, gateRecord(added, this.#now())))
    this.#require(model, domain).gate = Uint8Array.from(added.file)
    return record
  }

  async removeGate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    const record = this.#change(model, domain, expected, (pointer) => {
      requireGate(pointer)
      return withGate(pointer, undefined)
    })
    delete this.#require(model, domain).gate
    return record
  }

  async removeVersion (
    model: string, domain: string, version: number, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    const record = this.#change(model, domain, expected, (pointer) => withoutVersion(pointer, version))
    const held = this.#require(model, domain)
    held.versions = new Map([...held.versions].filter(([kept]) => kept !== version))
    return record
  }

  async removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    const { pointer } = this.#require(model, domain)
    checkRevision(domain, pointer, expected)
    this.#memory.removed.set(`${model}/${domain}`, pointer)
    this.#memory.domains.delete(`${model}/${domain}`)
    this.#changes.changed(model, domain, pointer, undefined)
  }

  async adopt (model: string, whole: WholeDomain): Promise<DomainRecord> {
    const { pointer } = whole
    const versions = new Map<number, Uint8Array>()
    for (const record of pointer.versions) {
      versions.set(record.version, Uint8Array.from(await readWholeVersion(whole, record)))
    }
    const gate = await readWholeGate(whole)
    if (this.#memory.domains.has(`${model}/${pointer.domain}`)) {
      throw storeErrors.DOMAIN_EXISTS(`model "${model}" has a domain "${pointer.domain}" already`)
    }
    const removed = this.#memory.removed.get(`${model}/${pointer.domain}`)
    return this.#hold(model, { pointer: removed === undefined ? pointer : beyond(pointer, removed), versions, gate })
  }

  async shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    return this.#memory.shipped.get(`${model}/${domain}`)
  }

  async rememberShipped (model: string, domain: string, memory: ShippedMemory): Promise<void> {
    this.#memory.shipped.set(`${model}/${domain}`, structuredClone(memory))
  }

  #change (
    model: string, domain: string, expected: ExpectedRevision, step: (pointer: Pointer) => Pointer, passed?: PassedGate
  ): DomainRecord {
    const held = this.#require(model, domain)
    checkRevision(domain, held.pointer, expected)
    checkGate(domain, held.pointer.gate, passed)
    return this.#hold(model, { ...held, pointer: step(held.pointer) })
  }

  #hold (model: string, held: Held): DomainRecord {
    const key = `${model}/${held.pointer.domain}`
    const before = this.#memory.domains.get(key)
    this.#memory.domains.set(key, held)
    this.#changes.changed(model, held.pointer.domain, before?.pointer, held.pointer)
    return held.pointer
  }

  #require (model: string, domain: string): Held {
    const held = this.#memory.domains.get(`${model}/${domain}`)
    if (held === undefined) throw storeErrors.DOMAIN_NOT_FOUND(`model "${model}" has no domain "${domain}"`)
    return held
  }
}

function verified (
  file: Uint8Array | undefined, digest: string, what: string, details: Readonly<Record<string, unknown>> = {}
): Uint8Array {
  if (file !== undefined && sha256(file) === digest) return Uint8Array.from(file)
  throw storeErrors.STORE_CORRUPT(`${what} is lost`, details)
}
