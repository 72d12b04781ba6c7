/**
 * A snapshot into a store's folder. Nothing changes before the whole archive was read and every digest was right; then
 * domains are moved into place one after another, each whole or not at all, whenever a crash comes.
 */
import { randomBytes } from 'node:crypto'
import { rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolderDurably, removeDurably, syncFolder, TEMPORARY_PREFIX } from '../../base/durable-file.js'
import { readArchive, type ArchiveSink, type ImportOptions, type ImportReport } from '../archive/read-archive.js'
import { openFileStore } from './file-store.js'
import { lockStore } from './store-lock.js'
import { beyond } from '../changes.js'
import { readPointer, unwritable, writePointer } from './files.js'
import { readRemoved, writeRemoved } from './removed-file.js'
import { unpack, type SnapshotEntry } from './snapshot-entry.js'
import { filesOf, type ListedFile } from './snapshot.js'
import type { BankStore, LastNumbers, Pointer, ShippedMemory } from '../bank-store.js'
import type { Readable } from 'node:stream'

/**
 * Reads an archive that `exportStore` wrote into a store's folder. Domains that are not in the archive stay.
 *
 * Throws STORE_IN_USE while a server serves the folder, SNAPSHOT_INVALID, DOMAIN_EXISTS, STORE_CORRUPT,
 * STORE_FORMAT_UNKNOWN, STORE_UNWRITABLE: the store is then as it was, unless the disk failed between two domains;
 * doing it again completes it.
 */
export async function importStore (folder: string, source: Readable, options: ImportOptions): Promise<ImportReport> {
  const unlock = await lockStore(folder)
  try {
    return await importLocked(folder, source, options)
  } finally {
    await unlock()
  }
}

async function importLocked (folder: string, source: Readable, options: ImportOptions): Promise<ImportReport> {
  const { store } = await openFileStore(folder)
  const staging = new Staging(folder, store)
  try {
    return await readArchive(source, staging, options)
  } catch (error) {
    throw unwritable(error)
  } finally {
    await staging.remove()
  }
}

/** Domains of an archive, beside the places that they will take. */
class Staging implements ArchiveSink {
  readonly #folder: string
  readonly #store: BankStore
  /** `model/domain` -> where its files are until then. */
  readonly #places = new Map<string, string>()
  readonly #models = new Set<string>()

  constructor (folder: string, store: BankStore) {
    this.#folder = folder
    this.#store = store
  }

  async known (model: string, domain: string): Promise<Pointer | undefined> {
    this.#models.add(model)
    return this.#store.domain(model, domain) as Pointer | undefined
  }

  shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    return this.#store.shipped(model, domain)
  }

  async begin (model: string, { domain }: Pointer): Promise<void> {
    const staging = join(this.#folder, model, `${TEMPORARY_PREFIX}${domain}-${randomBytes(6).toString('hex')}`)
    this.#places.set(`${model}/${domain}`, staging)
    await makeFolderDurably(staging)
  }

  async hold (model: string, { domain }: Pointer, { name }: ListedFile, entry: SnapshotEntry): Promise<string> {
    return await unpack(entry, join(this.#places.get(`${model}/${domain}`)!, name))
  }

  putShipped (model: string, domain: string, memory: ShippedMemory): Promise<void> {
    return this.#store.rememberShipped(model, domain, memory)
  }

  async putRemoved (model: string, domain: string, read: LastNumbers): Promise<void> {
    const { lastVersion = 0, revision = 0 } = await readRemoved(this.#folder, model, domain) ?? {}
    await writeRemoved(this.#folder, model, domain, {
      lastVersion: Math.max(lastVersion, read.lastVersion), revision: Math.max(revision, read.revision)
    })
  }

  /** With later numbers than those of the domain whose place it takes, be that there or removed. */
  async place (model: string, pointer: Pointer): Promise<Pointer> {
    const { domain } = pointer
    const folder = this.#places.get(`${model}/${domain}`)!
    const place = join(this.#folder, model, domain)
    const known = await readPointer(place, domain)
    const last = known ?? await readRemoved(this.#folder, model, domain)
    const placed = last === undefined ? pointer : beyond(pointer, last)
    if (known === undefined) {
      await writePointer(folder, placed)
      await rename(folder, place)
      await syncFolder(join(this.#folder, model))
      return placed
    }
    const files = filesOf(pointer)
    for (const { name } of files) await rename(join(folder, name), join(place, name))
    await syncFolder(place)
    await writePointer(place, placed)
    const kept = new Set(files.map(({ name }) => name))
    for (const { name } of filesOf(known)) {
      if (!kept.has(name)) await removeDurably(join(place, name))
    }
    return placed
  }

  /** Takes away what did not get into place. */
  async remove (): Promise<void> {
    for (const folder of this.#places.values()) await rm(folder, { recursive: true, force: true }).catch(() => {})
    // Goes only when it is empty: a model that had no domain before.
    for (const model of this.#models) await rmdir(join(this.#folder, model)).catch(() => {})
  }
}
