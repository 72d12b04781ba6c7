/**
 * The pointers of a store's folder: what memory holds of them, and how it keeps up with the disk.
 *
 * Memory changes after the disk does. A domain that a newer server wrote is held by its refusal: whoever asks for it is
 * told, and nothing of it is changed.
 */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { ASYNCHRONOUS_DISK, FileChanged, type Disk, type Step } from '../../base/durable-change.js'
import { storeErrors } from '../errors.js'
import { HeldChanges } from '../held-changes.js'
import { changePointer, readPointer } from './files.js'
import type { Gone, Pointer } from '../bank-store.js'
import type { BankswitchError } from '../../base/errors.js'

/** Model -> domain -> its pointer, or why there is none to be had. */
export type FoundPointers = Map<string, Map<string, Pointer | BankswitchError>>

export class Pointers {
  readonly #folder: string
  readonly #found: FoundPointers
  readonly #disk: Disk
  readonly #changes = new HeldChanges()

  constructor (folder: string, found: FoundPointers, disk: Disk = ASYNCHRONOUS_DISK) {
    this.#folder = folder
    this.#found = found
    this.#disk = disk
  }

  onGone (listener: (gone: Gone) => void): void {
    this.#changes.onGone(listener)
  }

  /** In the order of their names. */
  domains (model: string): readonly Pointer[] {
    return this.#changes.listOf(model, () => this.#found.get(model)?.values() ?? [])
  }

  /** Also of one that cannot be had. */
  has (model: string, domain: string): boolean {
    return this.#found.get(model)?.has(domain) === true
  }

  /** Throws STORE_FORMAT_UNKNOWN. */
  get (model: string, domain: string): Pointer | undefined {
    const found = this.#found.get(model)?.get(domain)
    if (found instanceof Error) throw found
    return found
  }

  /** Throws DOMAIN_NOT_FOUND and STORE_FORMAT_UNKNOWN. */
  require (model: string, domain: string): Pointer {
    const pointer = this.get(model, domain)
    if (pointer === undefined) throw storeErrors.DOMAIN_NOT_FOUND(`model "${model}" has no domain "${domain}"`)
    return pointer
  }

  remember (model: string, domain: string, found: Pointer | BankswitchError | undefined): void {
    let domains = this.#found.get(model)
    if (domains === undefined) this.#found.set(model, domains = new Map())
    const before = domains.get(domain)
    if (found === undefined) domains.delete(domain)
    else domains.set(domain, found)
    this.#changes.changed(model, domain, before, found)
  }

  /**
   * Puts `next` on disk, after what must be there `before` it, and then into memory, unless the disk no longer holds
   * `current`. Throws STORE_CHANGED.
   */
  async replace (
    model: string, next: Pointer, current: Pointer | undefined, before: readonly Step[] = []
  ): Promise<Pointer> {
    try {
      await changePointer(this.#disk, join(this.#folder, model, next.domain), next, current, before)
    } catch (error) {
      if (error instanceof FileChanged) {
        const onDisk = await this.#readAgain(model, next.domain)
        requireSame(next.domain, onDisk, current)
        return await this.replace(model, next, onDisk, before)
      }
      // The rename may have happened before the failure: the disk decides which state is true.
      await this.#readAgain(model, next.domain).catch(() => {})
      throw error
    }
    this.remember(model, next.domain, next)
    return next
  }

  /** Throws STORE_CHANGED when the disk holds another pointer than `current`; memory has it afterwards. */
  async requireUnchanged (model: string, domain: string, current: Pointer | undefined): Promise<void> {
    requireSame(domain, await this.#readAgain(model, domain), current)
  }

  onDisk (model: string, domain: string): Promise<Pointer | undefined> {
    return readPointer(join(this.#folder, model, domain), domain, this.get(model, domain))
  }

  async #readAgain (model: string, domain: string): Promise<Pointer | undefined> {
    const pointer = await this.onDisk(model, domain)
    this.remember(model, domain, pointer)
    return pointer
  }
}

/** The same content may stand in a file in other words. */
function requireSame (domain: string, onDisk: Pointer | undefined, current: Pointer | undefined): void {
  if (isDeepStrictEqual(onDisk, current)) return
  throw storeErrors.STORE_CHANGED(`domain "${domain}" was changed by another process; try again`, {
    expected: current?.revision ?? 0, received: onDisk?.revision ?? 0
  })
}
