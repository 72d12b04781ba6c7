/**
 * Banks as plain files:
 *
 *   <folder>/<model>/<domain>/domain.json                    the pointer, replaced atomically
 *   <folder>/<model>/<domain>/000001-<digest>.safetensors    a version, never changed
 *   <folder>/.quarantine/…                                   what failed its digest, kept for a look
 *
 * Always true, at every system call:
 *  - a listed version's file was durable before the pointer that lists it
 *  - the pointer on disk is the old one or the new one, whole
 *  - a file that no pointer lists was never acknowledged, and goes at the next start
 *  - memory changes after the disk does
 *
 * Changes of one domain run one after another; a change that finds another pointer on disk than in memory (a second
 * process at work) is refused with STORE_CHANGED and the domain read again. That keeps a forgotten second process from
 * overwriting, but is no lock: two that change one domain within the same moment are not kept apart.
 */
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { makeFolderDurably, removeDurably, syncFolder, TEMPORARY_PREFIX, writeDurably } from '../base/durable-file.js'
import { hasErrno } from '../base/errors.js'
import { sha256 } from '../base/digest.js'
import {
  checkRevision, requireVersion, withActive, withoutActive, withoutVersion, withRollback, withVersion
} from './changes.js'
import { storeErrors } from './errors.js'
import { parsePointer, POINTER_FILE, serializePointer, versionFileName, type Pointer } from './pointer-file.js'
import { recoverStore, type RecoveryReport } from './recover.js'
import type { BankStore, DomainRecord, ExpectedRevision, NewVersion, VersionRecord } from './bank-store.js'

/** What the process lacks for a while, which says nothing of the file. */
const PASSING = ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN']

export interface FileStoreOptions {
  /** Gives the time of a version, as milliseconds since 1970. */
  now?: () => number
}

/**
 * Opens a store, making the folder when it is missing; recovers from whatever a crash or a bad disk left.
 * The report says what was removed and quarantined. Throws STORE_UNWRITABLE.
 */
export async function openFileStore (
  folder: string, options: FileStoreOptions = {}
): Promise<{ store: BankStore, report: RecoveryReport }> {
  try {
    await makeFolderDurably(folder)
    const { pointers, report } = await recoverStore(folder)
    return { store: new FileStore(folder, pointers, options.now ?? Date.now), report }
  } catch (error) {
    throw unwritable(error)
  }
}

class FileStore implements BankStore {
  readonly #folder: string
  readonly #pointers: Map<string, Map<string, Pointer>>
  readonly #now: () => number
  readonly #tails = new Map<string, Promise<unknown>>()

  constructor (folder: string, pointers: Map<string, Map<string, Pointer>>, now: () => number) {
    this.#folder = folder
    this.#pointers = pointers
    this.#now = now
  }

  domains (model: string): DomainRecord[] {
    const domains = [...this.#pointers.get(model)?.values() ?? []]
    return domains.sort((a, b) => a.domain < b.domain ? -1 : 1)
  }

  domain (model: string, domain: string): DomainRecord | undefined {
    return this.#pointers.get(model)?.get(domain)
  }

  async read (model: string, domain: string, version: number): Promise<Uint8Array> {
    const record = requireVersion(this.#require(model, domain), version)
    let bytes: Uint8Array
    try {
      bytes = await readFile(this.#versionPath(model, domain, record))
    } catch (cause) {
      if (hasErrno(cause, ...PASSING)) {
        throw storeErrors.STORE_UNREADABLE('the domains folder cannot be read now', { version }, cause)
      }
      throw storeErrors.STORE_CORRUPT(`version ${version} of domain "${domain}" cannot be read`, { version }, cause)
    }
    if (sha256(bytes) === record.sha256) return bytes
    throw storeErrors.STORE_CORRUPT(`version ${version} of domain "${domain}" was changed on disk`, { version })
  }

  publish (model: string, domain: string, added: NewVersion, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#pointers.get(model)?.get(domain)
      checkRevision(domain, pointer, expected)
      const record: VersionRecord = {
        version: (pointer?.lastVersion ?? 0) + 1,
        sha256: sha256(added.file),
        bytes: added.file.length,
        digest: added.digest,
        fingerprint: added.fingerprint,
        source: added.source,
        ...(added.preprocessing === undefined ? {} : { preprocessing: added.preprocessing }),
        createdAt: new Date(this.#now()).toISOString()
      }
      const next = withVersion(domain, pointer, record, added.isActivated, added.description)
      await this.#requireUnchanged(model, domain, pointer)
      if (pointer === undefined) await this.#makeDomainFolder(model, domain)
      try {
        await writeDurably(this.#versionPath(model, domain, record), added.file)
        return await this.#replacePointer(model, next, pointer)
      } catch (error) {
        await this.#removeUnlisted(model, domain, record).catch(() => {})
        throw error
      }
    })
  }

  activate (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#change(model, domain, expected, (pointer) => withActive(pointer, version))
  }

  deactivate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#change(model, domain, expected, withoutActive)
  }

  rollBack (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#change(model, domain, expected, withRollback)
  }

  removeVersion (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#require(model, domain)
      checkRevision(domain, pointer, expected)
      const record = requireVersion(pointer, version)
      const next = await this.#replacePointer(model, withoutVersion(pointer, version), pointer)
      await removeDurably(this.#versionPath(model, domain, record))
      return next
    })
  }

  removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#require(model, domain)
      checkRevision(domain, pointer, expected)
      await this.#requireUnchanged(model, domain, pointer)
      const doomed = this.#path(model, `${TEMPORARY_PREFIX}${domain}-${randomBytes(6).toString('hex')}`)
      await rename(this.#path(model, domain), doomed)
      this.#remember(model, domain, undefined)
      await syncFolder(this.#path(model))
      await rm(doomed, { recursive: true, force: true })
    })
  }

  #change (
    model: string, domain: string, expected: ExpectedRevision, step: (pointer: Pointer) => Pointer
  ): Promise<DomainRecord> {
    return this.#serially(model, domain, async () => {
      const pointer = this.#require(model, domain)
      checkRevision(domain, pointer, expected)
      return await this.#replacePointer(model, step(pointer), pointer)
    })
  }

  /** Puts `next` on disk and then into memory, unless the disk no longer holds `current`. */
  async #replacePointer (model: string, next: Pointer, current: Pointer | undefined): Promise<Pointer> {
    await this.#requireUnchanged(model, next.domain, current)
    try {
      await writeDurably(this.#path(model, next.domain, POINTER_FILE), serializePointer(next))
    } catch (error) {
      // The rename may have happened before the failure: the disk decides which state is true.
      await this.#readAgain(model, next.domain).catch(() => {})
      throw error
    }
    this.#remember(model, next.domain, next)
    return next
  }

  async #requireUnchanged (model: string, domain: string, current: Pointer | undefined): Promise<void> {
    const onDisk = await this.#readAgain(model, domain)
    if (isDeepStrictEqual(onDisk, current)) return
    throw storeErrors.STORE_CHANGED(`domain "${domain}" was changed by another process; try again`, {
      expected: current?.revision ?? 0, received: onDisk?.revision ?? 0
    })
  }

  /** Brings memory to what the disk holds. */
  async #readAgain (model: string, domain: string): Promise<Pointer | undefined> {
    const pointer = await this.#pointerOnDisk(model, domain)
    this.#remember(model, domain, pointer)
    return pointer
  }

  async #pointerOnDisk (model: string, domain: string): Promise<Pointer | undefined> {
    try {
      return parsePointer(await readFile(this.#path(model, domain, POINTER_FILE), 'utf8'), domain)
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return undefined
      throw error
    }
  }

  /**
   * Takes back the file of a publish that failed, unless the pointer on disk lists it: the failure may have come after
   * the rename, or a second process have published the same bytes under the same number.
   */
  async #removeUnlisted (model: string, domain: string, record: VersionRecord): Promise<void> {
    const path = this.#versionPath(model, domain, record)
    const onDisk = await this.#pointerOnDisk(model, domain)
    const isListed = onDisk?.versions.some((known) => this.#versionPath(model, domain, known) === path) === true
    if (!isListed) await removeDurably(path)
  }

  /** Syncs the folders above even when they are there: whoever made them may have been cut off before syncing. */
  async #makeDomainFolder (model: string, domain: string): Promise<void> {
    await mkdir(this.#path(model, domain), { recursive: true })
    await syncFolder(this.#path(model))
    await syncFolder(this.#folder)
  }

  #remember (model: string, domain: string, pointer: Pointer | undefined): void {
    let domains = this.#pointers.get(model)
    if (domains === undefined) this.#pointers.set(model, domains = new Map())
    if (pointer === undefined) domains.delete(domain)
    else domains.set(domain, pointer)
  }

  #require (model: string, domain: string): Pointer {
    const pointer = this.#pointers.get(model)?.get(domain)
    if (pointer === undefined) throw storeErrors.DOMAIN_NOT_FOUND(`model "${model}" has no domain "${domain}"`)
    return pointer
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

/** A failure of the file system as STORE_UNWRITABLE; anything else thrown is no such thing and stays what it is. */
function unwritable (thrown: unknown): unknown {
  if (!(thrown instanceof Error && 'syscall' in thrown)) return thrown
  return storeErrors.STORE_UNWRITABLE(`the domains folder cannot be written: ${thrown.message}`, {}, thrown)
}
