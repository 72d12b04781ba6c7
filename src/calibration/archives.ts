/**
 * Files out of a tar or zip, in memory, one after another. Nothing is ever written to disk, so a name is only a label;
 * names that try to leave a folder are refused all the same, because whoever writes those means harm.
 *
 * Bounds hold while reading, whatever the archive says of itself: the number of entries, the bytes of one and of all.
 * Folders, hidden files and what macOS adds are passed over; links and devices are refused. An archive in an archive is
 * not opened.
 */
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { extract } from 'tar-stream'
import { fromBufferPromise, validateFileName } from 'yauzl'
import { BankswitchError } from '../base/errors.js'
import { calibrationErrors } from './errors.js'

export interface NamedFile {
  name: string
  bytes: Uint8Array
}

export interface ArchiveLimits {
  entries: number
  /** Of one entry. */
  entryBytes: number
  /** Of all entries together, unpacked. */
  totalBytes: number
}

const TAR_MAGIC_AT = 257

export type ArchiveKind = 'zip' | 'tar' | 'tar.gz'

/** What a file is by its first bytes; undefined for anything but an archive. */
export function archiveKind (bytes: Uint8Array): ArchiveKind | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512))
  if (head.length >= 4 && (head.readUInt32BE(0) === 0x504b0304 || head.readUInt32BE(0) === 0x504b0506)) return 'zip'
  if (head[0] === 0x1f && head[1] === 0x8b) return 'tar.gz'
  return head.toString('latin1', TAR_MAGIC_AT, TAR_MAGIC_AT + 5) === 'ustar' ? 'tar' : undefined
}

/**
 * The files of an archive. Throws ARCHIVE_UNREADABLE (torn, encrypted, another format inside), ARCHIVE_TOO_LARGE and
 * ARCHIVE_NAME_REFUSED.
 */
export async function * archivedFiles (
  archive: NamedFile, kind: ArchiveKind, limits: ArchiveLimits
): AsyncGenerator<NamedFile> {
  const budget = new Budget(archive.name, limits)
  try {
    yield * kind === 'zip' ? zippedFiles(archive, budget) : tarredFiles(archive, kind === 'tar.gz', budget)
  } catch (cause) {
    if (cause instanceof BankswitchError) throw cause
    const { message } = cause as Error
    if (/relative path|absolute path|characters in fileName/.test(message)) throw refusedName(archive.name, message)
    throw calibrationErrors.ARCHIVE_UNREADABLE(`"${shown(archive.name)}" cannot be unpacked: ${message.slice(0, 200)}`, {
      archive: shown(archive.name)
    }, cause)
  }
}

class Budget {
  readonly #archive: string
  readonly #limits: ArchiveLimits
  #entries = 0
  #bytes = 0

  constructor (archive: string, limits: ArchiveLimits) {
    this.#archive = archive
    this.#limits = limits
  }

  /** `declared` is what the archive says of the entry's size, not to be trusted. */
  countEntry (declared: number): void {
    if (++this.#entries > this.#limits.entries) throw this.#tooLarge('entries', this.#limits.entries)
    if (declared > this.#limits.entryBytes) throw this.#tooLarge('bytes in one entry', this.#limits.entryBytes)
  }

  /** Reads a stream to its end. */
  async read (stream: AsyncIterable<Buffer>): Promise<Uint8Array> {
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of stream) {
      length += chunk.length
      this.#bytes += chunk.length
      if (length > this.#limits.entryBytes) throw this.#tooLarge('bytes in one entry', this.#limits.entryBytes)
      if (this.#bytes > this.#limits.totalBytes) throw this.#tooLarge('bytes unpacked', this.#limits.totalBytes)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, length)
  }

  #tooLarge (what: string, expected: number): Error {
    return calibrationErrors.ARCHIVE_TOO_LARGE(`"${shown(this.#archive)}" has too many ${what}`, {
      archive: shown(this.#archive), expected: `at most ${expected}`
    })
  }
}

async function * zippedFiles ({ name: archive, bytes }: NamedFile, budget: Budget): AsyncGenerator<NamedFile> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const zip = await fromBufferPromise(buffer, { lazyEntries: true, strictFileNames: true })
  for await (const entry of zip.eachEntry()) {
    const { fileName: name } = entry
    budget.countEntry(entry.uncompressedSize)
    if (isPassedOver(name)) continue
    const stream = await zip.openReadStreamPromise(entry)
    yield { name: `${archive}/${name}`, bytes: await budget.read(stream) }
  }
}

async function * tarredFiles (
  { name: archive, bytes }: NamedFile, isZipped: boolean, budget: Budget
): AsyncGenerator<NamedFile> {
  const unpacking = extract()
  const source = Readable.from([bytes])
  const fed = isZipped ? pipeline(source, createGunzip(), unpacking) : pipeline(source, unpacking)
  // Its failure reaches the loop below too; the promise alone would be a second, unhandled one.
  fed.catch(() => {})
  for await (const entry of unpacking) {
    const { name, type = 'file', size = 0 } = entry.header
    budget.countEntry(size)
    const wrong = validateFileName(name)
    if (wrong !== null) throw refusedName(archive, wrong)
    if (type === 'link' || type === 'symlink' || type?.endsWith('device') === true || type === 'fifo') {
      throw refusedName(archive, `${type}: ${name}`)
    }
    if (type === 'directory' || isPassedOver(name)) {
      entry.resume()
      continue
    }
    yield { name: `${archive}/${name}`, bytes: await budget.read(entry as AsyncIterable<Buffer>) }
  }
  await fed
}

function isPassedOver (name: string): boolean {
  const isHidden = name.split('/').some((part) => part.startsWith('.') && part !== '.')
  return name.endsWith('/') || isHidden || name.startsWith('__MACOSX/')
}

function refusedName (archive: string, why: string): Error {
  return calibrationErrors.ARCHIVE_NAME_REFUSED(`"${shown(archive)}" has an entry that is refused: ${why.slice(0, 200)}`, {
    archive: shown(archive), expected: 'plain files with relative names', received: why.slice(0, 200)
  })
}

function shown (name: string): string {
  return name.slice(0, 200)
}
