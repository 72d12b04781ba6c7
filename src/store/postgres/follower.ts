/**
 * Keeps memory up with a database that other processes change too.
 *
 * It looks at one row, the revision of the store, a few times a second, and on a change reads within one snapshot what
 * changed since: revisions become visible in their order, because whoever takes the next one holds the row until it is
 * committed. It does not listen for notifications, which a lost connection swallows without a word.
 *
 * After each new connection everything is read: it may be another database, set back by a restore.
 */
import { BankswitchError } from '../../base/errors.js'
import { readChanged, type StoredDomain } from './domain-rows.js'
import { requireKnown } from './migrations.js'
import { DatabaseAway, type Connection, type Database, type Statements } from './database.js'
import type { Held, HeldDomains } from './held-domains.js'
import type { Logger } from '../../observability/logger.js'

/** At least this long between the begins of two looks that are asked for, however many ask. */
const GAP_MS = 50
/** What one statement of a look may take before the connection is given up. */
const LOOK_MS = 3_000
const BACKOFF_MS_MAX = 2_000

export interface FollowerOptions {
  database: Database
  held: HeldDomains
  pollMs: number
  logger: Pick<Logger, 'info' | 'warn'>
}

export class Follower {
  readonly #options: FollowerOptions
  #connection: Connection | undefined
  /** Of the last snapshot that was read. */
  #revision = 0
  /** When a look began that has succeeded, in milliseconds of `performance.now`. */
  #freshAt = -Infinity
  #failures = 0
  #isAway = false
  #beganAt = -Infinity
  #looking: Promise<void> | undefined
  #asked: Promise<void> | undefined
  /** What was committed here while everything is read anew. */
  #own: Array<[model: string, domain: string, held: Held]> | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (options: FollowerOptions) {
    this.#options = options
  }

  /** Reads everything, and follows from then on. Throws what the first look throws. */
  async start (): Promise<void> {
    await this.#look()
    this.#plan()
  }

  /** Whether the last look found no database: whatever else is asked of it would only wait. */
  get isAway (): boolean {
    return this.#isAway
  }

  /** Milliseconds since what is held was all that there is. */
  get ageMs (): number {
    return performance.now() - this.#freshAt
  }

  /** Resolves when a look that began after this call is over; at once while the database is away. Never rejects. */
  async catchUp (): Promise<void> {
    if (this.#isAway || this.#isClosed) return
    await (this.#asked ??= this.#lookSoon())
  }

  /** What was committed here, in memory at once. */
  put (model: string, domain: string, held: Held): void {
    this.#options.held.put(model, domain, held)
    this.#own?.push([model, domain, held])
  }

  async close (): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#connection?.close()
    await this.#looking?.catch(() => {})
    await this.#connection?.close()
  }

  /** One for all who ask until it begins. */
  async #lookSoon (): Promise<void> {
    await this.#looking?.catch(() => {})
    const waitMs = this.#beganAt + GAP_MS - performance.now()
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    // The regular one may have begun meanwhile.
    await this.#looking?.catch(() => {})
    this.#asked = undefined
    await this.#look().catch(() => {})
  }

  #plan (): void {
    if (this.#isClosed) return
    const { pollMs } = this.#options
    const backoffMs = Math.min(pollMs * 2 ** Math.min(this.#failures, 16), Math.max(BACKOFF_MS_MAX, pollMs))
    const waitMs = this.#failures === 0 ? pollMs : backoffMs * (0.5 + Math.random() / 2)
    this.#timer = setTimeout(() => {
      void (this.#looking ?? this.#look()).catch(() => {}).then(() => this.#plan())
    }, waitMs)
    this.#timer.unref()
  }

  #look (): Promise<void> {
    this.#beganAt = performance.now()
    const looking = this.#compare().finally(() => { this.#looking = undefined })
    this.#looking = looking
    return looking
  }

  /** Throws DatabaseAway and STORE_FORMAT_UNKNOWN. */
  async #compare (): Promise<void> {
    const beganAt = performance.now()
    try {
      const isNew = this.#connection === undefined
      const connection = this.#connection ??= await this.#options.database.connect(LOOK_MS)
      if (this.#isClosed) return
      const revision = await revisionOf(connection)
      const isWhole = isNew || revision < this.#revision
      if (isWhole || revision !== this.#revision) await this.#read(connection, isWhole)
      this.#freshAt = beganAt
      const failures = this.#failures
      this.#failures = 0
      this.#isAway = false
      if (failures > 0) this.#options.logger.info({ failures }, 'the database of the store is back')
    } catch (error) {
      const connection = this.#connection
      this.#connection = undefined
      this.#isAway = error instanceof DatabaseAway
      await connection?.close()
      if (this.#failures++ === 0 && !this.#isClosed) {
        const isNewer = error instanceof BankswitchError
        this.#options.logger.warn({ err: error }, isNewer
          ? 'the store is not followed any more: a newer server has changed its tables'
          : 'the database of the store is away; what is in memory is served')
      }
      throw error
    }
  }

  /** Memory changes at the end, in one step. */
  async #read (connection: Connection, isWhole: boolean): Promise<void> {
    const { held } = this.#options
    if (isWhole) this.#own = []
    try {
      const { revision, read } = await connection.snapshot(async (statements) => {
        const revision = await revisionOf(statements)
        const read: StoredDomain[] = []
        const since = isWhole ? -1 : this.#revision
        const known = (model: string, domain: string) => isWhole ? undefined : held.held(model, domain)
        for await (const page of readChanged(statements, since, known)) read.push(...page)
        return { revision, read }
      })
      const all = read.map(({ model, domain, changed, found }) => [model, domain, { changed, found }] as const)
      if (isWhole) held.replace([...all, ...this.#own!])
      else for (const [model, domain, one] of all) held.put(model, domain, one)
      this.#revision = revision
    } finally {
      this.#own = undefined
    }
  }
}

/** Throws STORE_FORMAT_UNKNOWN. */
async function revisionOf (statements: Statements): Promise<number> {
  const [row] = await statements.rows<{ revision: string, schema: number }>(
    'SELECT revision, schema FROM bankswitch_store'
  )
  const { revision, schema } = row!
  requireKnown(schema)
  return Number(revision)
}
