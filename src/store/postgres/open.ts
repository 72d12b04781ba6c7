/**
 * From the address of a database to a store: to change it, together with any number of other processes, or to read
 * it.
 */
import { ASKED_MS } from './changes.js'
import { Database } from './database.js'
import { Follower } from './follower.js'
import { HeldDomains } from './held-domains.js'
import { migrate, requireMigrated, START_LOCK } from './migrations.js'
import { PostgresStore, unreadable } from './postgres-store.js'
import type { Logger } from '../../observability/logger.js'
import type { BankStore } from '../bank-store.js'

export interface PostgresOptions {
  url: string
  /** How often the database is looked at for changes of other processes. */
  pollMs: number
  logger: Pick<Logger, 'info' | 'warn'>
  /** Changes nothing, not even the tables. */
  isReading?: boolean
  /** Gives the time of a version, as milliseconds since 1970. */
  now?: () => number
  /** How long the database is asked what became of a change whose commit was cut off. */
  askedMs?: number
}

export interface OpenedPostgres {
  store: BankStore
  database: Database
  /** Runs what only one process may do at a time; others wait at their start. */
  exclusively<T> (work: () => Promise<T>): Promise<T>
  close (): Promise<void>
}

/**
 * Brings the tables up to date and reads all domains. Throws CONFIG_INVALID, STORE_UNREADABLE while the database is
 * away, and STORE_FORMAT_UNKNOWN when a newer server made the tables.
 */
export async function openPostgres (options: PostgresOptions): Promise<OpenedPostgres> {
  const { url, pollMs, logger, isReading = false, now = Date.now, askedMs = ASKED_MS } = options
  const database = new Database(url)
  const held = new HeldDomains()
  const follower = new Follower({ database, held, pollMs, logger })
  const close = async () => {
    await follower.close()
    await database.close()
  }
  try {
    await (isReading ? requireMigrated(database) : migrate(database))
    await follower.start()
  } catch (error) {
    await close()
    throw unreadable(error)
  }
  return {
    store: new PostgresStore({ database, held, follower, now, askedMs }),
    database,
    async exclusively (work) {
      return await database.exclusively(START_LOCK, async () => {
        await follower.catchUp()
        return await work()
      })
    },
    close
  }
}
