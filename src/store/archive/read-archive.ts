/**
 * A snapshot into a store, of whatever kind. The whole archive is read and every digest checked before anything is put
 * in its place; until then the store only holds it ready.
 */
import { pipeline } from 'node:stream/promises'
import { isDeepStrictEqual } from 'node:util'
import { extract } from 'tar-stream'
import { BankswitchError } from '../../base/errors.js'
import { isName } from '../../base/names.js'
import { storeErrors } from '../errors.js'
import { parsePointer, POINTER_FILE } from '../file/pointer-file.js'
import { parseRemoved, REMOVED_FOLDER } from '../file/removed-file.js'
import { parseShipped, SHIPPED_FOLDER } from '../file/shipped-file.js'
import { invalid, readSmall, unpack, type SnapshotEntry } from '../file/snapshot-entry.js'
import {
  filesOf, SNAPSHOT_FORMATS, SUMMARY_FILE, summaryOf, type ListedFile, type SnapshotCounts
} from '../file/snapshot.js'
import type { LastNumbers, Pointer, ShippedMemory } from '../bank-store.js'
import type { Named } from './write-archive.js'
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

/** A store that takes an archive. */
export interface ArchiveSink {
  /** What is there now. */
  known (model: string, domain: string): Promise<Pointer | undefined>
  shipped (model: string, domain: string): Promise<ShippedMemory | undefined>
  /** A domain that comes, or takes the place of another; its files follow. */
  begin (model: string, pointer: Pointer): Promise<void>
  /** A file of the domain that was begun last; resolves with the SHA-256 of what was held ready. */
  hold (model: string, pointer: Pointer, file: ListedFile, entry: SnapshotEntry): Promise<string>
  /** Puts a domain in its place that was begun, with later numbers than what was there. */
  place (model: string, pointer: Pointer): Promise<Pointer>
  putShipped (model: string, domain: string, memory: ShippedMemory): Promise<void>
  /** Together with the numbers that are remembered already. */
  putRemoved (model: string, domain: string, numbers: LastNumbers): Promise<void>
}

/** Throws SNAPSHOT_INVALID, DOMAIN_EXISTS, STORE_FORMAT_UNKNOWN, and what the sink throws. */
export async function readArchive (source: Readable, sink: ArchiveSink, options: ImportOptions): Promise<ImportReport> {
  const reading = new Reading(sink, options.isReplacing)
  const unpacking = extract()
  const fed = pipeline(source, unpacking)
  // Its failure reaches the loop below too; the promise alone would be a second, unhandled one.
  fed.catch(() => {})
  try {
    for await (const entry of unpacking) await reading.take(entry)
    await fed
  } catch (cause) {
    // Of the disk or the database, not of the archive.
    const isOfPlace = cause instanceof Error && ('syscall' in cause || 'isAway' in cause)
    if (isOfPlace || cause instanceof BankswitchError) throw cause
    throw invalid(`it cannot be unpacked: ${(cause as Error).message.slice(0, 200)}`, cause)
  }
  return await reading.commit()
}

interface ReadDomain {
  model: string
  pointer: Pointer
  /** Whether the same domain is there already. */
  known: Pointer | undefined
  /** Files that have not come yet. */
  missing: Map<string, ListedFile>
}

class Reading {
  readonly #sink: ArchiveSink
  readonly #isReplacing: boolean
  readonly #domains: ReadDomain[] = []
  readonly #memories: Array<Named<ShippedMemory>> = []
  readonly #removed: Array<Named<LastNumbers>> = []
  #isClosed = false

  constructor (sink: ArchiveSink, isReplacing: boolean) {
    this.#sink = sink
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
    const digest = current.known === undefined
      ? await this.#sink.hold(model, current.pointer, listed, entry)
      : await unpack(entry, undefined)
    if (digest !== listed.sha256) throw invalid(`${shown} fails its digest`)
    current.missing.delete(file)
  }

  /** Puts all in its place. */
  async commit (): Promise<ImportReport> {
    if (!this.#isClosed) throw invalid('it is cut off')
    for (const { model, domain, memory } of this.#removed) await this.#sink.putRemoved(model, domain, memory)
    const revisions = new Map<string, { read: number, placed: number }>()
    for (const { model, pointer, known } of this.#domains) {
      const placed = known ?? await this.#sink.place(model, pointer)
      revisions.set(`${model}/${pointer.domain}`, { read: pointer.revision, placed: placed.revision })
    }
    for (const { model, domain, memory } of this.#memories) {
      const { read, placed } = revisions.get(`${model}/${domain}`) ?? {}
      const isLast = placed !== undefined && memory.revision === read
      await this.#sink.putShipped(model, domain, isLast ? { ...memory, revision: placed } : memory)
    }
    return { ...this.#counts, unchanged: this.#domains.filter(({ known }) => known !== undefined).length }
  }

  get #counts (): SnapshotCounts {
    return {
      domains: this.#domains.length,
      versions: this.#domains.reduce((sum, { pointer }) => sum + pointer.versions.length, 0)
    }
  }

  async #begin (model: string, domain: string, bytes: Buffer): Promise<void> {
    this.#requireFiles()
    if (this.#isRead(model, domain)) throw invalid(`domain "${domain}" of model "${model}" comes twice`)
    const pointer = parsePointer(bytes.toString(), domain)
    const known = await this.#sink.known(model, domain)
    const isSame = known !== undefined && isAsFarAs(known, pointer)
    if (known !== undefined && !isSame && !this.#isReplacing) {
      throw storeErrors.DOMAIN_EXISTS(`model "${model}" has a domain "${domain}" already, which differs`, {
        expected: pointer.revision, received: known.revision
      })
    }
    const missing = new Map(filesOf(pointer).map((file) => [file.name, file]))
    this.#domains.push({ model, pointer, known: isSame ? known : undefined, missing })
    if (!isSame) await this.#sink.begin(model, pointer)
  }

  async #takeMemory (kind: string, model: string, file: string, entry: SnapshotEntry): Promise<void> {
    this.#requireFiles()
    const domain = file.endsWith('.json') ? file.slice(0, -'.json'.length) : ''
    if (!isName(model) || !isName(domain)) throw invalid(`"${kind}" has an entry that does not belong there`)
    const others = kind === SHIPPED_FOLDER ? this.#memories : this.#removed
    if (others.some((read) => read.model === model && read.domain === domain)) {
      throw invalid(`the memory of domain "${domain}" of model "${model}" comes twice`)
    }
    const text = (await readSmall(entry, POINTER_BYTES_MAX)).toString()
    if (kind === SHIPPED_FOLDER) await this.#remember(model, domain, parseShipped(text, model, domain))
    else this.#removed.push({ model, domain, memory: parseRemoved(text, model, domain) })
  }

  /** Together with what the store remembers already: a bank that either has seen does not come as a new one. */
  async #remember (model: string, domain: string, read: ShippedMemory): Promise<void> {
    const known = await this.#sink.shipped(model, domain)
    const { revision } = known === undefined || this.#isRead(model, domain) ? read : known
    const files = [...new Set([...known?.files ?? [], ...read.files])]
    this.#memories.push({ model, domain, memory: { files, revision } })
  }

  #isRead (model: string, domain: string): boolean {
    return this.#domains.some((read) => read.model === model && read.pointer.domain === domain)
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
    const read = this.#domains.at(-1)
    if (read === undefined || read.missing.size === 0) return
    const [first] = read.missing.keys()
    throw invalid(`"${first}" of domain "${read.pointer.domain}" is missing`)
  }
}

/** Whether what is there is what comes, with its numbers or later ones. */
function isAsFarAs (known: Pointer, read: Pointer): boolean {
  const { lastVersion, revision } = read
  return known.lastVersion >= lastVersion && known.revision >= revision &&
    isDeepStrictEqual({ ...known, lastVersion, revision }, read)
}
