/**
 * Banks as plain files:
 *
 *   <folder>/<model>/<domain>/domain.json                    the pointer, replaced atomically
 *   <folder>/<model>/<domain>/000001-<digest>.safetensors    a version, never changed
 *   <folder>/<model>/<domain>/gate-<digest>.safetensors      what a version must give before it is activated
 *   <folder>/.shipped/<model>/<domain>.json                  which shipped banks the domain has had
 *   <folder>/.removed/<model>/<domain>.json                  its last numbers when it was removed, written before that
 *   <folder>/.quarantine/…                                   what failed its digest, kept for a look
 *
 * Always true, at every system call:
 *  - a listed version's file was durable before the pointer that lists it
 *  - the pointer on disk is the old one or the new one, whole
 *  - a file that no pointer lists was never acknowledged, and goes at the next start
 *  - memory changes after the disk does
 *
 * One process has the folder to itself while it may change it (store-lock.ts). Changes of one domain run one after
 * another; a change that finds another pointer on disk than in memory, as when somebody mends a store by hand, is
 * refused with STORE_CHANGED and the domain read again.
 */
import { mkdir, rename, rm } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Disk } from '../../base/durable-change.js'
import { makeFolderDurably, removeDurably, syncFolder, TEMPORARY_PREFIX } from '../../base/durable-file.js'
import {
  beyond, checkRevision, gateRecord, nextRecord, NO_NUMBERS, withActive, withoutActive, withoutVersion, withRollback,
  withVersion
} from '../changes.js'
import { storeErrors } from '../errors.js'
import { checkGate, requireGate, requireVersion, withGate, withMark } from '../marks.js'
import { adoptDomain } from './adopt.js'
import { readVerified, unwritable } from './files.js'
import { gateFileName, versionFileName } from './pointer-file.js'
import { Pointers } from './pointers.js'
import { recoverStore, type RecoveryReport } from './recover.js'
import { readRemoved, writeRemoved } from './removed-file.js'
import { readShipped, writeShipped } from './shipped-file.js'
import type {
  BankStore, DomainRecord, ExpectedRevision, Gone, Mark, NewGate, NewVersion, PassedGate, Pointer, ShippedMemory,
  VersionRecord, WholeDomain
} from '../bank-store.js'

export interface FileStoreOptions {
  /** Gives the time of a version, as milliseconds since 1970. */
  now?: () => number
  /** Writes versions, gates and pointers. */
  disk?: Disk | undefined
}

/**
 * Opens a store, making the folder when it is missing; recovers from whatever a crash or a bad disk left, which would
 * destroy what another process is about to write: the caller has the folder to itself, by `lockStore`.
 * The report says what was removed and quarantined. Throws STORE_UNWRITABLE.
 */
export async function openFileStore (
  folder: string, options: FileStoreOptions = {}
): Promise<{ store: BankStore, report: RecoveryReport }> {
  try {
    await makeFolderDurably(folder)
    const { pointers, report } = await recoverStore(folder)
    const { now = Date.now, disk } = options
    return { store: new FileStore(folder, new Pointers(folder, pointers, disk), now), report }
  } catch (error) {
    throw unwritable(error)
  }
}

class FileStore implements BankStore {
  readonly ageMs = 0
  readonly #folder: string
  readonly #pointers: Pointers
  readonly #now: () => number
  readonly #tails = new Map<string, Promise<unknown>>()

  constructor (folder: string, pointers: Pointers, now: () => number) {
    this.#folder = folder
    this.#pointers = pointers
    this.#now = now
  }

  async catchUp (): Promise<void> {}

  onGone (listener: (gone: Gone) => void): void {
    this.#pointers.onGone(listener)
  }

  domains (model: string): readonly DomainRecord[] {
    return this.#pointers.domains(model)
  }

  domain (model: string, domain: string): DomainRecord | undefined {
    return this.#pointers.get(model, domain)
  }

  async read (model: string, domain: string, version: number): Promise<Uint8Array> {
    const record = requireVersion(this.#pointers.require(model, domain), version)
    const path = this.#versionPath(model, domain, record)
    return await readVerified(path, record.sha256, `version ${version} of domain "${domain}"`, { version })
  }

  async readGate (model: string, domain: string): Promise<Uint8Array> {
    const gate = requireGate(this.#pointers.require(model, domain))
    const path = this.#path(model, domain, gateFileName(gate))
    return await readVerified(path, gate.sha256, `the gate of domain "${domain}"`, {})
  }

  publish (model: string, domain: string, added: NewVersion, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.get(model, domain)
      checkRevision(domain, pointer, expected)
      if (added.isActivated) checkGate(domain, pointer?.gate, added.passed)
      const last = pointer ?? await readRemoved(this.#folder, model, domain) ?? NO_NUMBERS
      const record = nextRecord(last, added, this.#now())
      const next = withVersion(domain, pointer, record, added.isActivated, added.description, last)
      if (pointer === undefined) {
        await this.#pointers.requireUnchanged(model, domain, undefined)
        await this.#makeDomainFolder(model, domain)
      }
      const path = this.#versionPath(model, domain, record)
      try {
        return await this.#pointers.replace(model, next, pointer, [{ kind: 'write', path, bytes: added.file }])
      } catch (error) {
        await this.#removeUnlisted(model, domain, versionFileName(record.version, record.sha256)).catch(() => {})
        throw error
      }
    })
  }

  activate (
    model: string, domain: string, version: number, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#change(model, domain, expected, (pointer) => withActive(pointer, version), passed)
  }

  deactivate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#change(model, domain, expected, withoutActive)
  }

  rollBack (
    model: string, domain: string, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#change(model, domain, expected, withRollback, passed)
  }

  mark (
    model: string, domain: string, mark: Mark, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#change(model, domain, expected, (pointer) => withMark(pointer, mark), passed)
  }

  setGate (
    model: string, domain: string, added: NewGate, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.require(model, domain)
      checkRevision(domain, pointer, expected)
      const gate = gateRecord(added, this.#now())
      const name = gateFileName(gate)
      const path = this.#path(model, domain, name)
      try {
        const next = await this.#pointers.replace(model, withGate(pointer, gate), pointer, [
          { kind: 'write', path, bytes: added.file }
        ])
        if (pointer.gate !== undefined) await this.#removeUnlisted(model, domain, gateFileName(pointer.gate))
        return next
      } catch (error) {
        await this.#removeUnlisted(model, domain, name).catch(() => {})
        throw error
      }
    })
  }

  removeGate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.require(model, domain)
      checkRevision(domain, pointer, expected)
      const name = gateFileName(requireGate(pointer))
      const next = await this.#pointers.replace(model, withGate(pointer, undefined), pointer)
      await removeDurably(this.#path(model, domain, name))
      return next
    })
  }

  removeVersion (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.require(model, domain)
      checkRevision(domain, pointer, expected)
      const record = requireVersion(pointer, version)
      const next = await this.#pointers.replace(model, withoutVersion(pointer, version), pointer)
      await removeDurably(this.#versionPath(model, domain, record))
      return next
    })
  }

  removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.require(model, domain)
      checkRevision(domain, pointer, expected)
      await this.#pointers.requireUnchanged(model, domain, pointer)
      await writeRemoved(this.#folder, model, domain, pointer)
      const doomed = this.#path(model, `${TEMPORARY_PREFIX}${domain}-${randomBytes(6).toString('hex')}`)
      await rename(this.#path(model, domain), doomed)
      this.#pointers.remember(model, domain, undefined)
      await syncFolder(this.#path(model))
      // Tried again: on some file systems, such as NFS, a file that is still read stays for a while.
      await rm(doomed, { recursive: true, force: true, maxRetries: 3 })
    })
  }

  adopt (model: string, whole: WholeDomain): Promise<DomainRecord> {
    const { domain } = whole.pointer
    return this.#serially(model, domain, async () => {
      if (this.#pointers.get(model, domain) !== undefined) {
        throw storeErrors.DOMAIN_EXISTS(`model "${model}" has a domain "${domain}" already`)
      }
      await this.#pointers.requireUnchanged(model, domain, undefined)
      const removed = await readRemoved(this.#folder, model, domain)
      const pointer = removed === undefined ? whole.pointer : beyond(whole.pointer, removed)
      await adoptDomain(this.#folder, model, { ...whole, pointer })
      this.#pointers.remember(model, domain, pointer)
      return pointer
    })
  }

  shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    return readShipped(this.#folder, model, domain)
  }

  rememberShipped (model: string, domain: string, memory: ShippedMemory): Promise<void> {
    return this.#serially(model, domain, () => writeShipped(this.#folder, model, domain, memory))
  }

  #change (
    model: string, domain: string, expected: ExpectedRevision, step: (pointer: Pointer) => Pointer, passed?: PassedGate
  ): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.require(model, domain)
      checkRevision(domain, pointer, expected)
      checkGate(domain, pointer.gate, passed)
      return await this.#pointers.replace(model, step(pointer), pointer)
    })
  }

  /**
   * Takes back the file of a change that failed, unless the pointer on disk lists it: the failure may have come after
   * the rename, or a second process have published the same bytes under the same number.
   */
  async #removeUnlisted (model: string, domain: string, name: string): Promise<void> {
    const onDisk = await this.#pointers.onDisk(model, domain)
    const listed = onDisk?.versions.map(({ version, sha256: digest }) => versionFileName(version, digest)) ?? []
    if (onDisk?.gate !== undefined) listed.push(gateFileName(onDisk.gate))
    if (!listed.includes(name)) await removeDurably(this.#path(model, domain, name))
  }

  /** Syncs the folders above even when they are there: whoever made them may have been cut off before syncing. */
  async #makeDomainFolder (model: string, domain: string): Promise<void> {
    await mkdir(this.#path(model, domain), { recursive: true })
    await syncFolder(this.#path(model))
    await syncFolder(this.#folder)
  }

  #versionPath (model: string, domain: string, { version, sha256: digest }: VersionRecord): string {
    return this.#path(model, domain, versionFileName(version, digest))
  }

  #path (...parts: string[]): string {
    return join(this.#folder, ...parts)
  }

  /** Runs changes of one domain one after another; errno errors become STORE_UNWRITABLE. */
  #serially<T> (model: string, domain: string, change: () => Promise<T>): Promise<T> {
    const key = join(model, domain)
    const before = this.#tails.get(key) ?? Promise.resolve()
    const result = before.then(change, change).catch((error: unknown) => { throw unwritable(error) })
    const tail = result.then(() => {}, () => {}).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    })
    this.#tails.set(key, tail)
    return result
  }
}
