/**
 * A snapshot into a store's folder. Nothing changes before the whole archive was read and every digest was right; then
 * domains are moved into place one after another, each whole or not at all, whenever a crash comes.
 */
import { randomBytes } from 'node:crypto'
import { rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { isDeepStrictEqual } from 'node:util'
import { extract } from 'tar-stream'
import { makeFolderDurably, removeDurably, syncFolder, TEMPORARY_PREFIX } from '../../base/durable-file.js'
import { BankswitchError } from '../../base/errors.js'
import { isName } from '../../base/names.js'
import { storeErrors } from '../errors.js'
import { openFileStore } from './file-store.js'
import { lockStore } from './store-lock.js'
import { beyond } from '../changes.js'
import { readPointer, unwritable, writePointer } from './files.js'
import { parsePointer, POINTER_FILE } from './pointer-file.js'
import { parseRemoved, readRemoved, REMOVED_FOLDER, writeRemoved } from './removed-file.js'
import { parseShipped, SHIPPED_FOLDER } from './shipped-file.js'
import { invalid, readSmall, unpack, type SnapshotEntry } from './snapshot-entry.js'
import { filesOf, SNAPSHOT_FORMATS, SUMMARY_FILE, summaryOf, type ListedFile, type SnapshotCounts } from './snapshot.js'
import type { BankStore, LastNumbers, Pointer, ShippedMemory } from '../bank-store.js'
import type { Readable } from 'node:stream'

/** Above what 10,000 versions take. */
const POINTER_BYTES_MAX = 2 ** 24
const SUMMARY_BYTES_MAX = 2 ** 12

export interface ImportOptions {
  /** Takes the place of domains that are there; otherwise those are refused with DOMAIN_EXISTS. */
  isReplacing: boolean
}

export interface ImportReport extends SnapshotCounts {
  /** Domains that were there already, the same to the byte. */
  unchanged: number
}

/**
 * Reads an archive that `exportStore` wrote into a store's folder. Domains that are not in the archive stay.
 *
 * Throws STORE_IN_USE while a server serves the folder, SNAPSHOT_INVALID, DOMAIN_EXISTS, STORE_CORRUPT,
 * STORE_FORMAT_UNKNOWN, STORE_UNWRITABLE: the store is then as it was, unless the disk failed between two domains;
 * doing it again completes it.
 */
export async function importStore (
  folder: string, source: Readable, { isReplacing }: ImportOptions
): Promise<ImportReport> {
  const unlock = await lockStore(folder)
  try {
    return await importLocked(folder, source, isReplacing)
  } finally {
    await unlock()
  }
}

async function importLocked (folder: string, source: Readable, isReplacing: boolean): Promise<ImportReport> {
  const { store } = await openFileStore(folder)
  const staging = new Staging(folder, store, isReplacing)
  try {
    await readArchive(source, staging)
    return await staging.commit()
  } catch (error) {
    throw unwritable(error)
  } finally {
    await staging.remove()
  }
}

async function readArchive (source: Readable, staging: Staging): Promise<void> {
  const unpacking = extract()
  const fed = pipeline(source, unpacking)
  // Its failure reaches the loop below too; the promise alone would be a second, unhandled one.
  fed.catch(() => {})
  try {
    for await (const entry of unpacking) await staging.take(entry)
    await fed
  } catch (cause) {
    if (cause instanceof BankswitchError || (cause instanceof Error && 'syscall' in cause)) throw cause
    throw invalid(`it cannot be unpacked: ${(cause as Error).message.slice(0, 200)}`, cause)
  }
  staging.requireComplete()
}

interface StagedDomain {
  model: string
  pointer: Pointer
  /** Undefined when the same domain is there already. */
  folder: string | undefined
  /** Files that have not come yet. */
  missing: Map<string, ListedFile>
}

interface Staged<Memory> {
  model: string
  domain: string
  memory: Memory
}

/** Domains of an archive, beside the places that they will take. */
class Staging {
  readonly #folder: string
  readonly #store: BankStore
  readonly #isReplacing: boolean
  readonly #domains: StagedDomain[] = []
  readonly #memories: Array<Staged<ShippedMemory>> = []
  readonly #removed: Array<Staged<LastNumbers>> = []
  #isClosed = false

  constructor (folder: string, store: BankStore, isReplacing: boolean) {
    this.#folder = folder
    this.#store = store
    this.#isReplacing = isReplacing
  }

  async take (entry: SnapshotEntry): Promise<void> {
    const { name, type, size = 0 } = entry.header
    const shown = JSON.stringify(name.slice(0, 300))
    if (type !== 'file') throw invalid(`${shown} is no plain file`)
    if (this.#isClosed) throw invalid(`${shown} comes after "${SUMMARY_FILE}"`)
    if (name === SUMMARY_FILE) return this.#close(await readSmall(entry, SUMMARY_BYTES_MAX))
    const [model = '', domain = '', file = '', ...rest] = name.split('/')
    if ((model === SHIPPED_FOLDER || model === REMOVED_FOLDER) && rest.length === 0) {
      return await this.#takeMemory(model, domain, file, entry)
    }
    if (!isName(model) || !isName(domain) || rest.length > 0) throw invalid(`${shown} does not belong into a store`)
    if (file === POINTER_FILE) return await this.#begin(model, domain, await readSmall(entry, POINTER_BYTES_MAX))
    const current = this.#domains.at(-1)
    const isCurrent = current?.model === model && current.pointer.domain === domain
    const listed = isCurrent ? current.missing.get(file) : undefined
    if (current === undefined || listed === undefined) {
      throw invalid(`${shown} is not listed by the "${POINTER_FILE}" before it`)
    }
    if (size !== listed.bytes) throw invalid(`${shown} has ${size} bytes, not ${listed.bytes}`)
    const digest = await unpack(entry, current.folder === undefined ? undefined : join(current.folder, file))
    if (digest !== listed.sha256) throw invalid(`${shown} fails its digest`)
    current.missing.delete(file)
  }

  requireComplete (): void {
    if (!this.#isClosed) throw invalid('it is cut off')
  }

  /** Moves all into place. */
  async commit (): Promise<ImportReport> {
    for (const { model, domain, memory } of this.#removed) await writeRemoved(this.#folder, model, domain, memory)
    const revisions = new Map<string, { read: number, placed: number }>()
    for (const staged of this.#domains) {
      const { model, pointer } = staged
      const placed = await this.#place(staged)
      revisions.set(`${model}/${pointer.domain}`, { read: pointer.revision, placed: placed.revision })
    }
    for (const { model, domain, memory } of this.#memories) {
      const { read, placed } = revisions.get(`${model}/${domain}`) ?? {}
      const isLast = placed !== undefined && memory.revision === read
      await this.#store.rememberShipped(model, domain, isLast ? { ...memory, revision: placed } : memory)
    }
    return { ...this.#counts, unchanged: this.#domains.filter(({ folder }) => folder === undefined).length }
  }

  get #counts (): SnapshotCounts {
    return {
      domains: this.#domains.length,
      versions: this.#domains.reduce((sum, { pointer }) => sum + pointer.versions.length, 0)
    }
  }

  /** Takes away what did not get into place. */
  async remove (): Promise<void> {
    for (const { model, folder } of this.#domains) {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true }).catch(() => {})
      // Goes only when it is empty: a model that had no domain before.
      await rmdir(join(this.#folder, model)).catch(() => {})
    }
  }

  async #begin (model: string, domain: string, bytes: Buffer): Promise<void> {
    this.#requireFiles()
    if (this.#domains.some((staged) => staged.model === model && staged.pointer.domain === domain)) {
      throw invalid(`domain "${domain}" of model "${model}" comes twice`)
    }
    const pointer = parsePointer(bytes.toString(), domain)
    const known = this.#store.domain(model, domain)
    const isSame = known !== undefined && isAsFarAs(known as Pointer, pointer)
    if (known !== undefined && !isSame && !this.#isReplacing) {
      throw storeErrors.DOMAIN_EXISTS(`model "${model}" has a domain "${domain}" already, which differs`, {
        expected: pointer.revision, received: known.revision
      })
    }
    const folder = isSame
      ? undefined
      : join(this.#folder, model, `${TEMPORARY_PREFIX}${domain}-${randomBytes(6).toString('hex')}`)
    const missing = new Map(filesOf(pointer).map((file) => [file.name, file]))
    this.#domains.push({ model, pointer, folder, missing })
    if (folder !== undefined) await makeFolderDurably(folder)
  }

  async #takeMemory (kind: string, model: string, file: string, entry: SnapshotEntry): Promise<void> {
    this.#requireFiles()
    const domain = file.endsWith('.json') ? file.slice(0, -'.json'.length) : ''
    if (!isName(model) || !isName(domain)) throw invalid(`"${kind}" has an entry that does not belong there`)
    const others = kind === SHIPPED_FOLDER ? this.#memories : this.#removed
    if (others.some((staged) => staged.model === model && staged.domain === domain)) {
      throw invalid(`the memory of domain "${domain}" of model "${model}" comes twice`)
    }
    const text = (await readSmall(entry, POINTER_BYTES_MAX)).toString()
    if (kind === SHIPPED_FOLDER) await this.#remember(model, domain, parseShipped(text, model, domain))
    else await this.#rememberRemoved(model, domain, parseRemoved(text, model, domain))
  }

  async #rememberRemoved (model: string, domain: string, read: LastNumbers): Promise<void> {
    const { lastVersion = 0, revision = 0 } = await readRemoved(this.#folder, model, domain) ?? {}
    const memory = {
      lastVersion: Math.max(lastVersion, read.lastVersion), revision: Math.max(revision, read.revision)
    }
    this.#removed.push({ model, domain, memory })
  }

  /** Together with what the store remembers already: a bank that either has seen does not come as a new one. */
  async #remember (model: string, domain: string, read: ShippedMemory): Promise<void> {
    const known = await this.#store.shipped(model, domain)
    const isPlaced = this.#domains.some((staged) => staged.model === model && staged.pointer.domain === domain)
    const { revision } = known === undefined || isPlaced ? read : known
    const files = [...new Set([...known?.files ?? [], ...read.files])]
    this.#memories.push({ model, domain, memory: { files, revision } })
  }

  #close (bytes: Buffer): void {
    this.#requireFiles()
    const expected = summaryOf(this.#counts, this.#memories.length, this.#removed.length)
    let received: unknown
    try {
      received = JSON.parse(bytes.toString())
    } catch (cause) {
      throw invalid(`its "${SUMMARY_FILE}" is not JSON`, cause)
    }
    const { format } = Object(received) as { format?: unknown }
    if (typeof format === 'number' && format > SNAPSHOT_FORMATS.removed) {
      throw storeErrors.STORE_FORMAT_UNKNOWN(`the snapshot has format ${format}: a newer server wrote it`, {
        expected: SNAPSHOT_FORMATS.removed, received: format
      })
    }
    if (!isDeepStrictEqual(received, expected)) throw invalid(`its "${SUMMARY_FILE}" tells of something else`)
    this.#isClosed = true
  }

  #requireFiles (): void {
    const staged = this.#domains.at(-1)
    if (staged === undefined || staged.missing.size === 0) return
    const [first] = staged.missing.keys()
    throw invalid(`"${first}" of domain "${staged.pointer.domain}" is missing`)
  }

  /** With later numbers than those of the domain whose place it takes, be that there or removed. */
  async #place ({ model, pointer, folder }: StagedDomain): Promise<Pointer> {
    const { domain } = pointer
    const place = join(this.#folder, model, domain)
    const known = await readPointer(place, domain)
    if (folder === undefined) return known ?? pointer
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
}

/** Whether what is there is what comes, with its numbers or later ones. */
function isAsFarAs (known: Pointer, read: Pointer): boolean {
  const { lastVersion, revision } = read
  return known.lastVersion >= lastVersion && known.revision >= revision &&
    isDeepStrictEqual({ ...known, lastVersion, revision }, read)
}
