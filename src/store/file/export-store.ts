/** A store's folder into a snapshot. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { pack, type Pack } from 'tar-stream'
import { BankswitchError, hasErrno } from '../../base/errors.js'
import { isName } from '../../base/names.js'
import { storeErrors } from '../errors.js'
import { readPointer, readVerified } from './files.js'
import { POINTER_FILE, serializePointer } from './pointer-file.js'
import { readRemoved, REMOVED_FOLDER, serializeRemoved } from './removed-file.js'
import { filesOf, SUMMARY_FILE, summaryOf, type SnapshotCounts } from './snapshot.js'
import { readShipped, serializeShipped, SHIPPED_FOLDER } from './shipped-file.js'
import type { Pointer } from '../bank-store.js'
import type { Writable } from 'node:stream'

export interface ExportReport extends SnapshotCounts {
  /** Absent for nothing. */
  leftOut?: LeftOut[]
}

interface LeftOut {
  /** Below the store's folder. */
  path: string
  reason: string
}

/** The same in every archive. */
const ENTRY_TIME = new Date(0)

/**
 * Writes all domains of a store's folder, which a server may be serving meanwhile. Each domain is as it was at one
 * moment; the moments of two domains may differ. What a newer server wrote in a format of its own is left out and told:
 * one domain must not keep all others from being backed up. Ends `target`, and destroys it on failure.
 *
 * Throws STORE_CORRUPT, STORE_CHANGED when a listed file is removed meanwhile, STORE_UNREADABLE,
 * or what `target` met.
 */
export async function exportStore (folder: string, target: Writable): Promise<ExportReport> {
  const archive = pack()
  const written = pipeline(archive, target)
  // Its failure destroys the archive, so the loop below ends as well.
  written.catch(() => {})
  const counts: SnapshotCounts = { domains: 0, versions: 0 }
  const leftOut: LeftOut[] = []
  const known: Known = async (path, read) => {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof BankswitchError) || error.code !== 'STORE_FORMAT_UNKNOWN') throw error
      leftOut.push({ path, reason: error.message })
      return undefined
    }
  }
  try {
    for (const { model, domain } of await places(folder)) {
      const path = join(model, domain)
      const pointer = await known(path, () => readPointer(join(folder, path), domain))
      if (pointer === undefined) continue
      await addDomain(archive, folder, model, pointer)
      counts.domains++
      counts.versions += pointer.versions.length
    }
    const memories = await addMemories(archive, folder, SHIPPED_FOLDER, known, async (model, domain) => {
      const memory = await readShipped(folder, model, domain)
      return memory === undefined ? undefined : serializeShipped(model, domain, memory)
    })
    const removed = await addMemories(archive, folder, REMOVED_FOLDER, known, async (model, domain) => {
      const numbers = await readRemoved(folder, model, domain)
      return numbers === undefined ? undefined : serializeRemoved(model, domain, numbers)
    })
    const summary = summaryOf(counts, memories, removed)
    await add(archive, SUMMARY_FILE, Buffer.from(`${JSON.stringify(summary, null, 2)}\n`))
    archive.finalize()
  } catch (error) {
    archive.destroy(error as Error)
    await written
    throw error
  }
  await written
  return leftOut.length === 0 ? counts : { ...counts, leftOut }
}

async function places (folder: string): Promise<Array<{ model: string, domain: string }>> {
  const models = await foldersIn(folder)
  const all = await Promise.all(models.map(async (model) => {
    return (await foldersIn(join(folder, model))).map((domain) => ({ model, domain }))
  }))
  return all.flat()
}

async function foldersIn (folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory() && isName(entry.name)).map(({ name }) => name).sort()
  } catch (cause) {
    if (hasErrno(cause, 'ENOENT')) return []
    throw storeErrors.STORE_UNREADABLE(`the store cannot be read: ${(cause as Error).message}`, {}, cause)
  }
}

async function addDomain (archive: Pack, folder: string, model: string, pointer: Pointer): Promise<void> {
  const { domain } = pointer
  await add(archive, `${model}/${domain}/${POINTER_FILE}`, Buffer.from(serializePointer(pointer)))
  for (const { name, sha256: digest } of filesOf(pointer)) {
    let bytes: Uint8Array
    try {
      bytes = await readVerified(join(folder, model, domain, name), digest, `"${name}" of domain "${domain}"`, { domain })
    } catch (error) {
      const now = await readPointer(join(folder, model, domain), domain)
      if (now?.revision === pointer.revision) throw error
      throw storeErrors.STORE_CHANGED(`domain "${domain}" was changed while it was exported; try again`, {
        expected: pointer.revision, received: now?.revision ?? 0
      })
    }
    await add(archive, `${model}/${domain}/${name}`, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  }
}

/** Undefined, and told, for what a newer server wrote. */
type Known = <Found>(path: string, read: () => Promise<Found>) => Promise<Found | undefined>

/** What is remembered beside domains, of one kind; how many there are. */
async function addMemories (
  archive: Pack, folder: string, kind: string, known: Known,
  read: (model: string, domain: string) => Promise<Uint8Array | undefined>
): Promise<number> {
  let count = 0
  for (const model of await foldersIn(join(folder, kind))) {
    const names = await readdir(join(folder, kind, model))
    const domains = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))
    for (const domain of domains.filter(isName).sort()) {
      const bytes = await known(join(kind, model, `${domain}.json`), () => read(model, domain))
      if (bytes === undefined) continue
      await add(archive, `${kind}/${model}/${domain}.json`, Buffer.from(bytes))
      count++
    }
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
