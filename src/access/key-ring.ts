/**
 * The keys that are in force: the admin key of the settings, and those of the file.
 *
 * The file is read again when it changes. The new keys take the place of the old ones in one step; a file that is
 * broken or gone is logged and leaves the old ones in force, because a half-written file must lock nobody out.
 */
import { timingSafeEqual } from 'node:crypto'
import { resolve } from 'node:path'
import { BankswitchError } from '../base/errors.js'
import { WatchedFiles } from '../base/watched-files.js'
import { SCOPES, type Caller } from './caller.js'
import { accessErrors } from './errors.js'
import { readKeyFile } from './key-file.js'
import { hashOf, idOf } from './key-text.js'
import type { KeyRecord } from './key-record.js'
import type { Logger } from '../observability/logger.js'

/** What the log calls whoever has the admin key of the settings. */
export const ADMIN_ID = 'admin'

interface Known {
  hash: Buffer
  caller: Caller
}

export interface KeyRingOptions {
  /** May do everything, and does not expire. */
  adminKey: string
  path: string
  logger: Logger
}

export class KeyRing {
  readonly #admin: Known
  readonly #path: string
  readonly #logger: Logger
  #known: ReadonlyMap<string, Known> = new Map()
  #files: WatchedFiles | undefined

  private constructor ({ adminKey, path, logger }: KeyRingOptions) {
    this.#admin = { hash: hashOf(adminKey), caller: { id: ADMIN_ID, scopes: new Set(SCOPES) } }
    this.#path = resolve(path)
    this.#logger = logger
  }

  /** No file is no keys beside the admin key, until there is one. Throws KEYS_INVALID for a broken one. */
  static async open (options: KeyRingOptions): Promise<KeyRing> {
    const ring = new KeyRing(options)
    ring.#files = await WatchedFiles.open([ring.#path], () => ring.#readAgain())
    const records = await readKeyFile(ring.#path)
    if (records !== undefined) ring.#take(records)
    return ring
  }

  /** Looks for changes of the file from now on, until `close`. */
  watch (): void {
    this.#files?.start()
  }

  /** Looks for a change now; resolves when the keys are those of the file. */
  async refresh (): Promise<void> {
    await this.#files?.check()
  }

  /**
   * Whose key this is; undefined when it is nobody's. Whether it has expired is left to the caller of this. Takes the
   * same time for every wrong key of the same length: hashes are compared, always two, in constant time.
   */
  identify (text: string): Caller | undefined {
    const hash = hashOf(text)
    const isAdmin = timingSafeEqual(hash, this.#admin.hash)
    const known = this.#known.get(idOf(text) ?? '')
    const isKnown = timingSafeEqual(hash, (known ?? this.#admin).hash)
    if (isAdmin) return this.#admin.caller
    return isKnown ? known?.caller : undefined
  }

  close (): void {
    this.#files?.close()
  }

  /** False when it is worth another look at the same file, as when the process has no file handle left. */
  async #readAgain (): Promise<boolean> {
    try {
      const records = await readKeyFile(this.#path)
      if (records === undefined) throw accessErrors.KEYS_INVALID(`${this.#path} is gone`)
      this.#take(records)
      return true
    } catch (error) {
      const path = this.#path
      this.#logger.error({ err: error, path }, 'the keys could not be read: those from before stay in force')
      return error instanceof BankswitchError
    }
  }

  #take (records: readonly KeyRecord[]): void {
    this.#known = new Map(records.map((record) => [record.id, {
      hash: Buffer.from(record.hash, 'hex'), caller: callerOf(record)
    }]))
    this.#logger.info({ path: this.#path, keys: records.length }, 'the keys in this file are in force')
  }
}

function callerOf ({ id, scopes, models, expiresAt }: KeyRecord): Caller {
  return {
    id,
    scopes: new Set(scopes),
    ...(models === undefined ? {} : { models: new Set(models) }),
    ...(expiresAt === undefined ? {} : { expiresAt: Date.parse(expiresAt) })
  }
}
