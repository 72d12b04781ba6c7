/**
 * A store in a database into a snapshot, and back: the same archive as that of a folder, so that a store moves from one
 * kind to the other. Both are one transaction. Servers go on meanwhile; their changes wait for an import, or are
 * refused.
 */
import { sha256 } from '../../base/digest.js'
import { BankswitchError } from '../../base/errors.js'
import { beyond, NO_NUMBERS } from '../changes.js'
import { storeErrors } from '../errors.js'
import { readArchive, type ArchiveSink, type ImportOptions, type ImportReport } from '../archive/read-archive.js'
import {
  writeArchive, type ArchiveSource, type DomainToWrite, type ExportReport, type LeftOut, type Named
} from '../archive/write-archive.js'
import { readSmall, type SnapshotEntry } from '../file/snapshot-entry.js'
import { unwritable } from './changes.js'
import { Database, type Statements } from './database.js'
import { readChanged, readDomain, readFile, readGateFile } from './domain-rows.js'
import { migrate, requireMigrated } from './migrations.js'
import { unreadable } from './postgres-store.js'
import { deleteVersions, FILE_BYTES_MAX, insertVersion, putGate, putUnraised, raise } from './write-rows.js'
import type { LastNumbers, Pointer, ShippedMemory, VersionRecord } from '../bank-store.js'
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
      const source = new TableSource(statements)
      const counts = await writeArchive(source, target)
      return source.leftOut.length === 0 ? counts : { ...counts, leftOut: source.leftOut }
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

  async #read (model: string, { domain, versions, gate }: Pointer, file: ListedFile): Promise<Uint8Array> {
    const { name, sha256: digest, bytes } = file
    const record = versionOf(versions, file)
    const read = record === undefined && gate !== undefined
      ? await readGateFile(this.#statements, model, domain, bytes)
      : await readFile(this.#statements, model, domain, record!.version, bytes)
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
    const found = (await readDomain(this.#statements, model, domain, undefined))?.found
    if (found instanceof BankswitchError) throw found
    return found
  }

  async shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    const [row] = await this.#statements.rows<{ memory: ShippedMemory }>(
      'SELECT memory FROM bankswitch_shipped WHERE model = $1 AND domain = $2', [model, domain]
    )
    return row?.memory
  }

  async begin (model: string, { domain }: Pointer): Promise<void> {
    await deleteVersions(this.#statements, model, domain)
    await putGate(this.#statements, model, domain, undefined)
  }

  async hold (model: string, { domain, versions }: Pointer, file: ListedFile, entry: SnapshotEntry): Promise<string> {
    if (file.bytes > FILE_BYTES_MAX) {
      throw storeErrors.STORE_LIMIT('a file of the archive is too large for the database', {
        expected: FILE_BYTES_MAX, received: file.bytes
      })
    }
    const bytes = await readSmall(entry, file.bytes)
    const record = versionOf(versions, file)
    if (record === undefined) await putGate(this.#statements, model, domain, bytes)
    else await insertVersion(this.#statements, model, domain, record, bytes)
    return sha256(bytes)
  }

  async pass (entry: SnapshotEntry): Promise<string> {
    return sha256(await readSmall(entry, FILE_BYTES_MAX))
  }

  async place (model: string, pointer: Pointer): Promise<Pointer> {
    const { domain } = pointer
    const stored = await readDomain(this.#statements, model, domain, undefined)
    const placed = beyond(pointer, stored?.numbers ?? NO_NUMBERS)
    await putUnraised(this.#statements, model, domain, { pointer: placed, numbers: placed })
    return placed
  }

  async putShipped (model: string, domain: string, { files, revision }: ShippedMemory): Promise<void> {
    await this.#statements.rows(
      `INSERT INTO bankswitch_shipped (model, domain, memory) VALUES ($1, $2, $3)
       ON CONFLICT (model, domain) DO UPDATE SET memory = excluded.memory`,
      [model, domain, JSON.stringify({ files, revision })]
    )
  }

  /** A domain that is there has later numbers than those of its removal. */
  async putRemoved (model: string, domain: string, numbers: LastNumbers): Promise<void> {
    const stored = await readDomain(this.#statements, model, domain, undefined)
    if (stored?.found !== undefined) return
    const { revision, lastVersion } = stored?.numbers ?? NO_NUMBERS
    await putUnraised(this.#statements, model, domain, {
      numbers: {
        revision: Math.max(revision, numbers.revision), lastVersion: Math.max(lastVersion, numbers.lastVersion)
      }
    })
  }
}

/** Undefined for the gate. */
function versionOf (versions: readonly VersionRecord[], { name }: ListedFile): VersionRecord | undefined {
  const [number = ''] = name.split('-')
  return versions.find(({ version }) => version === Number(number))
}
