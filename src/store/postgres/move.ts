/**
 * A store in a database into a snapshot, and back: the same archive as that of a folder, so that a store moves from one
 * kind to the other. Both are one transaction. Servers go on meanwhile; their changes wait for an import, or are
 * refused.
 */
import { sha256 } from '../../base/digest.js'
import { beyond, NO_NUMBERS } from '../changes.js'
import { storeErrors } from '../errors.js'
import { readArchive, type ArchiveSink, type ImportOptions, type ImportReport } from '../archive/read-archive.js'
import {
  writeArchive, type ArchiveSource, type DomainToWrite, type ExportReport, type LeftOut, type Named
} from '../archive/write-archive.js'
import { readSmall, type SnapshotEntry } from '../file/snapshot-entry.js'
import { unwritable } from './changes.js'
import { Database, type Statements } from './database.js'
import { readChanged, readDomain, readFile, readGateFile, readNumbers, readShipped } from './domain-rows.js'
import { pointerOf } from './held-domains.js'
import { migrate, requireMigrated } from './migrations.js'
import { unreadable } from './postgres-store.js'
import {
  deleteVersions, insertVersion, putGate, putShipped, putUnraised, raise, requireSize
} from './write-rows.js'
import type { LastNumbers, Pointer, ShippedMemory } from '../bank-store.js'
import type { ListedFile } from '../file/snapshot.js'
import type { Readable, Writable } from 'node:stream'

/**
 * Writes all domains as they were at one moment; what a newer server wrote is left out and told. Ends `target`, and
 * destroys it on failure. Throws STORE_CORRUPT, STORE_UNREADABLE, STORE_FORMAT_UNKNOWN, or what `target` met.
 */
export async function exportDatabase (url: string, target: Writable): Promise<ExportReport> {
  const database = new Database(url)
  try {
    await requireMigrated(database)
    return await database.transaction({ isReading: true, isPatient: true }, async (statements) => {
      return await writeArchive(new TableSource(statements), target)
    })
  } catch (error) {
    throw unreadable(error)
  } finally {
    await database.close()
  }
}

/**
 * Reads an archive of either kind of store, whole or not at all; domains that are not in it stay. Throws what
 * `readArchive` throws, STORE_LIMIT for a file that no row can hold, and STORE_UNWRITABLE.
 */
export async function importDatabase (url: string, source: Readable, options: ImportOptions): Promise<ImportReport> {
  const database = new Database(url)
  try {
    await migrate(database)
    return await database.transaction({ isPatient: true }, async (statements) => {
      await statements.rows('LOCK TABLE bankswitch_domains, bankswitch_versions IN SHARE ROW EXCLUSIVE MODE')
      const report = await readArchive(source, new TableSink(statements), options)
      await raise(statements)
      return report
    })
  } catch (error) {
    throw unwritable(error)
  } finally {
    await database.close()
  }
}

class TableSource implements ArchiveSource {
  readonly leftOut: LeftOut[] = []
  readonly #statements: Statements
  readonly #removed: Array<Named<LastNumbers>> = []

  constructor (statements: Statements) {
    this.#statements = statements
  }

  async * domains (): AsyncGenerator<DomainToWrite> {
    for await (const page of readChanged(this.#statements, -1, () => undefined)) {
      for (const { model, domain, found, numbers } of page) {
        if (found === undefined) {
          this.#removed.push({ model, domain, memory: numbers })
        } else if (!(found instanceof Error)) {
          yield { model, pointer: found, read: (file) => this.#read(model, found, file) }
        } else if (found.code === 'STORE_FORMAT_UNKNOWN') {
          this.leftOut.push({ path: `${model}/${domain}`, reason: found.message })
        } else {
          throw found
        }
      }
    }
  }

  async * shipped (): AsyncGenerator<Named<ShippedMemory>> {
    yield * await this.#statements.rows<Named<ShippedMemory>>(
      'SELECT model, domain, memory FROM bankswitch_shipped ORDER BY model, domain'
    )
  }

  /** Known once the domains were read. */
  async * removed (): AsyncGenerator<Named<LastNumbers>> {
    yield * this.#removed
  }

  async #read (model: string, { domain }: Pointer, file: ListedFile): Promise<Uint8Array> {
    const { name, sha256: digest, bytes, record } = file
    const read = record === undefined
      ? await readGateFile(this.#statements, model, domain, bytes)
      : await readFile(this.#statements, model, domain, record.version, bytes)
    if (read !== undefined && sha256(read) === digest) return read
    throw storeErrors.STORE_CORRUPT(`"${name}" of domain "${domain}" is not what its row says`, { domain })
  }
}

/** In one transaction, whose end puts everything in place. */
class TableSink implements ArchiveSink {
  readonly #statements: Statements

  constructor (statements: Statements) {
    this.#statements = statements
  }

  async known (model: string, domain: string): Promise<Pointer | undefined> {
    return pointerOf((await readDomain(this.#statements, model, domain, undefined))?.found)
  }

  async shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    return await readShipped(this.#statements, model, domain)
  }

  async begin (model: string, { domain }: Pointer): Promise<void> {
    await deleteVersions(this.#statements, model, domain)
    await putGate(this.#statements, model, domain, undefined)
  }

  async hold (model: string, { domain }: Pointer, file: ListedFile, entry: SnapshotEntry): Promise<string> {
    requireSize({ length: file.bytes })
    const bytes = await readSmall(entry, file.bytes)
    const { record } = file
    if (record === undefined) await putGate(this.#statements, model, domain, bytes)
    else await insertVersion(this.#statements, model, domain, record, bytes)
    return sha256(bytes)
  }

  async place (model: string, pointer: Pointer): Promise<Pointer> {
    const { domain } = pointer
    const stored = await readNumbers(this.#statements, model, domain)
    const placed = beyond(pointer, stored?.numbers ?? NO_NUMBERS)
    await putUnraised(this.#statements, model, domain, { pointer: placed, numbers: placed })
    return placed
  }

  async putShipped (model: string, domain: string, memory: ShippedMemory): Promise<void> {
    await putShipped(this.#statements, model, domain, memory)
  }

  /** A domain that is there has later numbers than those of its removal. */
  async putRemoved (model: string, domain: string, numbers: LastNumbers): Promise<void> {
    const stored = await readNumbers(this.#statements, model, domain)
    if (stored?.isThere === true) return
    const { revision, lastVersion } = stored?.numbers ?? NO_NUMBERS
    await putUnraised(this.#statements, model, domain, {
      numbers: {
        revision: Math.max(revision, numbers.revision), lastVersion: Math.max(lastVersion, numbers.lastVersion)
      }
    })
  }
}
