/** A store, of whatever kind, into a snapshot. */
import { pipeline } from 'node:stream/promises'
import { pack, type Pack } from 'tar-stream'
import { POINTER_FILE, serializePointer } from '../file/pointer-file.js'
import { REMOVED_FOLDER, serializeRemoved } from '../file/removed-file.js'
import { serializeShipped, SHIPPED_FOLDER } from '../file/shipped-file.js'
import { filesOf, SUMMARY_FILE, summaryOf, type ListedFile, type SnapshotCounts } from '../file/snapshot.js'
import type { LastNumbers, Pointer, ShippedMemory } from '../bank-store.js'
import type { Writable } from 'node:stream'

export interface ExportReport extends SnapshotCounts {
  /** Absent for nothing. */
  leftOut?: LeftOut[]
}

export interface LeftOut {
  /** Below the store. */
  path: string
  reason: string
}

export interface DomainToWrite {
  model: string
  pointer: Pointer
  /** Verified against its digest. */
  read (file: ListedFile): Promise<Uint8Array>
}

export interface Named<Memory> {
  model: string
  domain: string
  memory: Memory
}

/** What a store holds, each in the order of models and domains. */
export interface ArchiveSource {
  domains (): AsyncIterable<DomainToWrite>
  shipped (): AsyncIterable<Named<ShippedMemory>>
  removed (): AsyncIterable<Named<LastNumbers>>
  /** What could not be read because a newer server wrote it; known once all else was read. */
  readonly leftOut: readonly LeftOut[]
}

/** The same in every archive. */
const ENTRY_TIME = new Date(0)

/** Ends `target`, and destroys it on failure. Throws what the source throws, or what `target` met. */
export async function writeArchive (source: ArchiveSource, target: Writable): Promise<ExportReport> {
  const archive = pack()
  const written = pipeline(archive, target)
  // Its failure destroys the archive, so the loop below ends as well.
  written.catch(() => {})
  const counts: SnapshotCounts = { domains: 0, versions: 0 }
  try {
    for await (const domain of source.domains()) {
      await addDomain(archive, domain)
      counts.domains++
      counts.versions += domain.pointer.versions.length
    }
    const shipped = await addMemories(archive, SHIPPED_FOLDER, source.shipped(), serializeShipped)
    const removed = await addMemories(archive, REMOVED_FOLDER, source.removed(), serializeRemoved)
    const summary = summaryOf(counts, shipped, removed)
    await add(archive, SUMMARY_FILE, Buffer.from(`${JSON.stringify(summary, null, 2)}\n`))
    archive.finalize()
  } catch (error) {
    archive.destroy(error as Error)
    await written
    throw error
  }
  await written
  return source.leftOut.length === 0 ? counts : { ...counts, leftOut: [...source.leftOut] }
}

async function addDomain (archive: Pack, { model, pointer, read }: DomainToWrite): Promise<void> {
  const { domain } = pointer
  await add(archive, `${model}/${domain}/${POINTER_FILE}`, Buffer.from(serializePointer(pointer)))
  for (const file of filesOf(pointer)) {
    const bytes = await read(file)
    await add(archive, `${model}/${domain}/${file.name}`, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  }
}

/** What is remembered beside domains, of one kind; how many there are. */
async function addMemories<Memory> (
  archive: Pack, kind: string, memories: AsyncIterable<Named<Memory>>,
  serialize: (model: string, domain: string, memory: Memory) => Uint8Array
): Promise<number> {
  let count = 0
  for await (const { model, domain, memory } of memories) {
    await add(archive, `${kind}/${model}/${domain}.json`, Buffer.from(serialize(model, domain, memory)))
    count++
  }
  return count
}

/** Resolves when the archive has room for the next. */
function add (archive: Pack, name: string, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (archive.destroyed) return reject(new Error('the archive cannot be written'))
    archive.entry({ name, mtime: ENTRY_TIME }, bytes, (error) => {
      if (error === null || error === undefined) resolve()
      else reject(error)
    })
  })
}
