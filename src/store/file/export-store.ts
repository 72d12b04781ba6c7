/** A store's folder into a snapshot. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BankswitchError, hasErrno } from '../../base/errors.js'
import { isName } from '../../base/names.js'
import { storeErrors } from '../errors.js'
import {
  writeArchive, type ArchiveSource, type DomainToWrite, type ExportReport, type LeftOut, type Named
} from '../archive/write-archive.js'
import { readPointer, readVerified } from './files.js'
import { readRemoved, REMOVED_FOLDER } from './removed-file.js'
import { readShipped, SHIPPED_FOLDER } from './shipped-file.js'
import type { LastNumbers, Pointer, ShippedMemory } from '../bank-store.js'
import type { ListedFile } from './snapshot.js'
import type { Writable } from 'node:stream'

/**
 * Writes all domains of a store's folder, which a server may be serving meanwhile. Each domain is as it was at one
 * moment; the moments of two domains may differ. What a newer server wrote in a format of its own is left out and told:
 * one domain must not keep all others from being backed up. Ends `target`, and destroys it on failure.
 *
 * Throws STORE_CORRUPT, STORE_CHANGED when a listed file is removed meanwhile, STORE_UNREADABLE,
 * or what `target` met.
 */
export async function exportStore (folder: string, target: Writable): Promise<ExportReport> {
  return await writeArchive(new FolderSource(folder), target)
}

class FolderSource implements ArchiveSource {
  readonly leftOut: LeftOut[] = []
  readonly #folder: string

  constructor (folder: string) {
    this.#folder = folder
  }

  async * domains (): AsyncGenerator<DomainToWrite> {
    for (const { model, domain } of await this.#places()) {
      const path = join(model, domain)
      const pointer = await this.#known(path, () => readPointer(join(this.#folder, path), domain))
      if (pointer === undefined) continue
      yield { model, pointer, read: (file) => this.#read(model, pointer, file) }
    }
  }

  shipped (): AsyncGenerator<Named<ShippedMemory>> {
    return this.#memories(SHIPPED_FOLDER, readShipped)
  }

  removed (): AsyncGenerator<Named<LastNumbers>> {
    return this.#memories(REMOVED_FOLDER, readRemoved)
  }

  async #places (): Promise<Array<{ model: string, domain: string }>> {
    const models = await foldersIn(this.#folder)
    const all = await Promise.all(models.map(async (model) => {
      return (await foldersIn(join(this.#folder, model))).map((domain) => ({ model, domain }))
    }))
    return all.flat()
  }

  async #read (
    model: string, { domain, revision }: Pointer, { name, sha256: digest }: ListedFile
  ): Promise<Uint8Array> {
    const place = join(this.#folder, model, domain)
    try {
      return await readVerified(join(place, name), digest, `"${name}" of domain "${domain}"`, { domain })
    } catch (error) {
      const now = await readPointer(place, domain)
      if (now?.revision === revision) throw error
      throw storeErrors.STORE_CHANGED(`domain "${domain}" was changed while it was exported; try again`, {
        expected: revision, received: now?.revision ?? 0
      })
    }
  }

  async * #memories<Memory> (
    kind: string, read: (folder: string, model: string, domain: string) => Promise<Memory | undefined>
  ): AsyncGenerator<Named<Memory>> {
    for (const model of await foldersIn(join(this.#folder, kind))) {
      const names = await readdir(join(this.#folder, kind, model))
      const domains = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))
      for (const domain of domains.filter(isName).sort()) {
        const memory = await this.#known(join(kind, model, `${domain}.json`), () => read(this.#folder, model, domain))
        if (memory !== undefined) yield { model, domain, memory }
      }
    }
  }

  /** Undefined, and told, for what a newer server wrote. */
  async #known<Found> (path: string, read: () => Promise<Found>): Promise<Found | undefined> {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof BankswitchError) || error.code !== 'STORE_FORMAT_UNKNOWN') throw error
      this.leftOut.push({ path, reason: error.message })
      return undefined
    }
  }
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
