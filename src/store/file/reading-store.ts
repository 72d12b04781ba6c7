/**
 * A store's folder as it was when it was opened, for commands that only look: nothing is recovered, removed or written,
 * so that a server may be at work in it. Domains that the next start would take over as shipped are there already.
 *
 * What cannot be read is told to whoever asks for it; a domain without a pointer is about to come or to go.
 */
import { join } from 'node:path'
import { BankswitchError } from '../../base/errors.js'
import { storeErrors } from '../errors.js'
import { requireGate, requireVersion } from '../marks.js'
import { readPointer, readVerified } from './files.js'
import { gateFileName, versionFileName } from './pointer-file.js'
import { Pointers } from './pointers.js'
import { readShipped } from './shipped-file.js'
import { shippedDomains } from './shipped-folder.js'
import type { BankStore, DomainRecord, Gone, Pointer, ShippedMemory } from '../bank-store.js'

/** Throws STORE_UNREADABLE for a folder that cannot be listed; one that is missing has no domains. */
export async function openForReading (folder: string, shippedFolder: string): Promise<BankStore> {
  const store = new ReadingStore(folder)
  for (const { model, domain, path } of await shippedDomains(folder)) await store.find(model, domain, path)
  for (const { model, domain, path } of await shippedDomains(shippedFolder)) {
    if (!store.has(model, domain) && await isNeverSeen(folder, model, domain)) await store.find(model, domain, path)
  }
  return store
}

/** False too where the memory is unusable: a start would leave the domain out. */
async function isNeverSeen (folder: string, model: string, domain: string): Promise<boolean> {
  try {
    return await readShipped(folder, model, domain) === undefined
  } catch (error) {
    if (error instanceof BankswitchError) return false
    throw error
  }
}

class ReadingStore implements BankStore {
  readonly ageMs = 0
  readonly #folder: string
  readonly #pointers: Pointers
  /** `model/domain` -> the domain's folder. */
  readonly #places = new Map<string, string>()

  constructor (folder: string) {
    this.#folder = folder
    this.#pointers = new Pointers(folder, new Map())
  }

  has (model: string, domain: string): boolean {
    return this.#pointers.has(model, domain)
  }

  async find (model: string, domain: string, path: string): Promise<void> {
    this.#places.set(`${model}/${domain}`, path)
    let found: Pointer | BankswitchError | undefined
    try {
      found = await readPointer(path, domain)
    } catch (error) {
      found = error instanceof BankswitchError
        ? error
        : storeErrors.STORE_UNREADABLE(`"${path}" cannot be read: ${(error as Error).message}`, { domain }, error)
    }
    this.#pointers.remember(model, domain, found)
  }

  async catchUp (): Promise<void> {}

  onGone (listener: (gone: Gone) => void): void {
    this.#pointers.onGone(listener)
  }

  domains (model: string): readonly DomainRecord[] {
    return this.#pointers.domains(model)
  }

  domain (model: string, domain: string): DomainRecord | undefined {
    return this.#pointers.get(model, domain)
  }

  async read (model: string, domain: string, version: number): Promise<Uint8Array> {
    const record = requireVersion(this.#pointers.require(model, domain), version)
    const name = versionFileName(version, record.sha256)
    const what = `version ${version} of domain "${domain}"`
    return await this.#verified(model, domain, name, record.sha256, what, (pointer) => requireVersion(pointer, version))
  }

  async readGate (model: string, domain: string): Promise<Uint8Array> {
    const gate = requireGate(this.#pointers.require(model, domain))
    return await this.#verified(model, domain, gateFileName(gate), gate.sha256, `the gate of domain "${domain}"`, requireGate)
  }

  shipped (model: string, domain: string): Promise<ShippedMemory | undefined> {
    return readShipped(this.#folder, model, domain)
  }

  /** A file that cannot be read may be one that was removed meanwhile: `require` tells so, of the pointer of now. */
  async #verified (
    model: string, domain: string, name: string, digest: string, what: string, require: (pointer: Pointer) => unknown
  ): Promise<Uint8Array> {
    const place = this.#places.get(`${model}/${domain}`)!
    try {
      return await readVerified(join(place, name), digest, what, { domain })
    } catch (error) {
      await this.find(model, domain, place)
      require(this.#pointers.require(model, domain))
      throw error
    }
  }

  readonly publish = refuse
  readonly activate = refuse
  readonly deactivate = refuse
  readonly rollBack = refuse
  readonly mark = refuse
  readonly setGate = refuse
  readonly removeGate = refuse
  readonly removeVersion = refuse
  readonly removeDomain = refuse
  readonly adopt = refuse
  readonly rememberShipped = refuse
}

async function refuse (): Promise<never> {
  throw new Error('a store that was opened for reading cannot be changed')
}
