/**
 * Connections to a PostgreSQL database: bounded in number and in time, and honest about what their loss leaves open.
 *
 * What the server refuses because a statement is wrong is thrown as it is: a mistake in the program. Everything else
 * that keeps a statement from being done is a DatabaseAway: no connection, no room, shutting down, read-only, too
 * slow.
 */
import pg, { type ClientConfig, type PoolClient } from 'pg'
import { configErrors } from '../../config/load.js'

/** Connections for changes and bytes; the one that follows changes is another. */
const CONNECTIONS_MAX = 8
/** Also how long to wait for one of them to be free. */
const CONNECT_MS = 5_000
const STATEMENT_MS = 10_000
/** How long a change waits for another one of the same domain, or for its turn to be the next revision. */
const LOCK_MS = 5_000
/** A server that is cut off within a change must not hold up the others for longer. */
const IDLE_MS = 5_000
/** Added to the limits of the server, so that its own come first where it can be heard. */
const GRACE_MS = 2_000

/** The database cannot do it now. */
export class DatabaseAway extends Error {
  override readonly name = 'DatabaseAway'
  readonly isAway = true
}

/** The connection went away while a transaction was being committed: it happened, or it did not. */
export class CommitUnknown extends DatabaseAway {}

/** Within a transaction, or a single statement by itself. */
export interface Statements {
  rows<Row extends object> (text: string, values?: readonly unknown[]): Promise<Row[]>
}

export interface TransactionOptions {
  /** Reads one snapshot throughout. */
  isReading?: boolean
  /** Waits until no other transaction has the lock of this number. */
  lock?: bigint
  /** Takes the time that it takes: what it waits for is not the database. */
  isPatient?: boolean
}

export class Database implements Statements {
  readonly #config: ClientConfig
  readonly #pool: pg.Pool

  /** No connection is made yet. Throws CONFIG_INVALID for an address that is none. */
  constructor (url: string) {
    this.#config = configOf(url)
    this.#pool = new pg.Pool({
      ...this.#config, max: CONNECTIONS_MAX, connectionTimeoutMillis: CONNECT_MS, query_timeout: STATEMENT_MS + GRACE_MS
    })
    // Whoever uses a lost connection learns it from the statement; of those that nobody uses the pool makes others.
    this.#pool.on('connect', (client) => client.on('error', () => {}))
    this.#pool.on('error', () => {})
  }

  /** A statement of its own, in a transaction of its own. Throws DatabaseAway. */
  async rows<Row extends object> (text: string, values?: readonly unknown[]): Promise<Row[]> {
    const client = await this.#take()
    return await finished(client, () => ask(client, text, values))
  }

  /**
   * What `work` does happens whole or not at all. Throws DatabaseAway, CommitUnknown, and what `work` throws, which
   * takes everything back.
   */
  async transaction<T> (options: TransactionOptions, work: (statements: Statements) => Promise<T>): Promise<T> {
    if (options.isPatient !== true) {
      const client = await this.#take()
      return await finished(client, () => within(client, options, work))
    }
    // Those of the pool have a limit of their own.
    const connection = await this.connect(0)
    try {
      return await within(connection.client, options, work)
    } finally {
      await connection.close()
    }
  }

  /** Runs `work` while no other process runs something under that number; `work` has the connections of this. */
  async exclusively<T> (lock: bigint, work: () => Promise<T>): Promise<T> {
    return await this.transaction({ lock, isPatient: true }, work)
  }

  /** A connection of its own, of which each statement may take `limitMs`; 0 for no limit. Throws DatabaseAway. */
  async connect (limitMs: number): Promise<Connection> {
    const client = new pg.Client({
      ...this.#config, connectionTimeoutMillis: CONNECT_MS, ...(limitMs === 0 ? {} : { query_timeout: limitMs })
    })
    // Whatever is under way is rejected with it.
    client.on('error', () => {})
    try {
      await client.connect()
    } catch (error) {
      throw away(error)
    }
    return new Connection(client)
  }

  async close (): Promise<void> {
    await this.#pool.end()
  }

  async #take (): Promise<PoolClient> {
    try {
      return await this.#pool.connect()
    } catch (error) {
      throw away(error)
    }
  }
}

/** One connection, for one thing after another. */
export class Connection implements Statements {
  readonly client: pg.Client

  constructor (client: pg.Client) {
    this.client = client
  }

  rows<Row extends object> (text: string, values?: readonly unknown[]): Promise<Row[]> {
    return ask(this.client, text, values)
  }

  async snapshot<T> (work: (statements: Statements) => Promise<T>): Promise<T> {
    return await within(this.client, { isReading: true }, work)
  }

  /** Does not wait for a server that has fallen silent. */
  async close (): Promise<void> {
    const ended = this.client.end()
    this.client.connection.stream.destroy()
    await ended.catch(() => {})
  }
}

/** Throws CONFIG_INVALID, which does not show what may hold a password. */
function configOf (url: string): ClientConfig {
  const config = { connectionString: url, application_name: 'bankswitch', keepAlive: true }
  try {
    // It reads the address, and makes no connection.
    // eslint-disable-next-line no-new
    new pg.Client(config)
  } catch {
    throw configErrors.CONFIG_INVALID('the address of the database cannot be read', {
      expected: 'postgres://user:password@host:port/database'
    })
  }
  return config
}

/** Gives the connection back, or ends it where it cannot be used again. */
async function finished<T> (client: PoolClient, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work()
    client.release()
    return result
  } catch (error) {
    client.release(error instanceof DatabaseAway)
    throw error
  }
}

type Client = Pick<pg.Client, 'query'>

async function within<T> (
  client: Client, options: TransactionOptions, work: (statements: Statements) => Promise<T>
): Promise<T> {
  await ask(client, beginning(options))
  let result: T
  try {
    result = await work({ rows: (text, values) => ask(client, text, values) })
  } catch (error) {
    // Its own failure ends the connection, and with that the transaction.
    if (!(error instanceof DatabaseAway)) await ask(client, 'ROLLBACK')
    throw error
  }
  try {
    await client.query('COMMIT')
  } catch (error) {
    // A refusal is an answer; that the server is going down is none.
    if (error instanceof pg.DatabaseError && !error.code?.startsWith('57P')) throw away(error)
    throw new CommitUnknown('the connection was lost while a change was being committed', { cause: error })
  }
  return result
}

/** What the database does by default may be less, or more. */
const DURABLE = `SELECT set_config('synchronous_commit', 'on', true)
  WHERE current_setting('synchronous_commit') <> 'remote_apply'`

/** In one message. */
function beginning ({ isReading = false, lock, isPatient = false }: TransactionOptions): string {
  const limits = isPatient ? [0, 0, 0] : [STATEMENT_MS, LOCK_MS, IDLE_MS]
  return [
    `BEGIN ${isReading ? 'ISOLATION LEVEL REPEATABLE READ, READ ONLY' : 'ISOLATION LEVEL READ COMMITTED, READ WRITE'}`,
    DURABLE,
    `SET LOCAL statement_timeout = ${limits[0]}`,
    `SET LOCAL lock_timeout = ${limits[1]}`,
    `SET LOCAL idle_in_transaction_session_timeout = ${limits[2]}`,
    ...(lock === undefined ? [] : [`SELECT pg_advisory_xact_lock(${lock})`])
  ].join('; ')
}

/** The rows of the last statement in the text. */
async function ask<Row extends object> (client: Client, text: string, values?: readonly unknown[]): Promise<Row[]> {
  try {
    // Without values several statements may go together.
    const result = await (values === undefined ? client.query<Row>(text) : client.query<Row>(text, [...values]))
    return result.rows
  } catch (error) {
    throw away(error)
  }
}

/**
 * Classes of SQLSTATE that say: not now, or not to you. Connection, authorisation, catalogue, rollback (a deadlock),
 * resources, state, the operator, the system; and by themselves read-only, timed out and denied.
 */
const AWAY = /^(08|28|3D|40|53|55|57|58|25006|25P03|42501)/

/** A mistake in a statement as it is, everything else as DatabaseAway. */
function away (thrown: unknown): Error {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  if (error instanceof pg.DatabaseError && !AWAY.test(error.code ?? '')) return error
  return new DatabaseAway(error.message, { cause: error })
}
