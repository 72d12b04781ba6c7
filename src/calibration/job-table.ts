/**
 * Jobs of all servers that share a database: each runs its own, and any of them tells how all stand.
 *
 * A server says every few seconds that its jobs are alive. One that has been silent for long is taken for dead, and
 * whoever looks tells its job as lost, or as succeeded if its commit is found. Should it live after all, it learns so
 * before it commits; and what became of its job in truth it may still write.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { calibrationErrors } from './errors.js'
import { settled, type JobRecord, type JobRecords, type OwnJobs } from './job-record.js'
import { unwritable } from '../store/postgres/changes.js'
import { unreadable } from '../store/postgres/postgres-store.js'
import type { Database } from '../store/postgres/database.js'

const BEAT_MS = 2_000
/** Ten beats: a restart of the database must not cost a calibration. */
const SILENT_MS = 20_000
const KEPT_MAX = 1000

/** How long a cancelled job of another server is waited for, and how often it is looked at. */
const CANCELLED_MS = 10_000
const CANCELLED_AGAIN_MS = 250

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export interface JobTableOptions {
  database: Database
  /** As for jobs of one process. */
  findCommit (record: JobRecord): unknown
  onLost? (record: JobRecord): void
  onFault? (error: unknown): void
}

export class JobTable implements JobRecords {
  readonly #options: JobTableOptions
  readonly #owner = randomUUID()
  readonly others: NonNullable<JobRecords['others']>
  #own: OwnJobs | undefined
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> = Promise.resolve()

  constructor (options: JobTableOptions) {
    this.#options = options
    this.others = {
      list: () => this.#list(),
      get: (id) => this.#get(id),
      cancel: (id) => this.#cancel(id),
      follow: (own) => this.#follow(own),
      close: () => this.#close()
    }
  }

  /** Of this server there are none yet. */
  async recover (): Promise<JobRecord[]> {
    await this.#settleSilent()
    return []
  }

  async write (record: JobRecord): Promise<void> {
    const { result, ...rest } = record
    const isEnded = record.endedAt !== undefined
    const rows = await this.#changing(
      `INSERT INTO bankswitch_jobs AS held (id, owner, is_ended, record, result) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (id) DO UPDATE SET
         seen_at = now(), is_ended = excluded.is_ended, record = excluded.record, result = excluded.result
       WHERE excluded.is_ended OR NOT held.is_ended
       RETURNING id`,
      [record.id, this.#owner, isEnded, JSON.stringify(rest), result === undefined ? null : JSON.stringify(result)]
    )
    if (rows.length === 0) throw lost()
    if (!isEnded) return
    await this.#changing(
      `DELETE FROM bankswitch_jobs WHERE is_ended AND id IN
       (SELECT id FROM bankswitch_jobs ORDER BY created_at DESC OFFSET ${KEPT_MAX})`, []
    )
  }

  async remove (id: string): Promise<void> {
    await this.#changing('DELETE FROM bankswitch_jobs WHERE id = $1', [id])
  }

  async #list (): Promise<JobRecord[]> {
    await this.#settleSilent()
    const rows = await this.#reading<{ record: JobRecord }>(
      'SELECT record FROM bankswitch_jobs WHERE owner <> $1 ORDER BY created_at DESC', [this.#owner]
    )
    return rows.map(({ record }) => record)
  }

  async #get (id: string): Promise<JobRecord | undefined> {
    if (!ID.test(id)) return undefined
    await this.#settleSilent()
    return await this.#read(id)
  }

  async #read (id: string): Promise<JobRecord | undefined> {
    const [row] = await this.#reading<{ record: JobRecord, result: unknown }>(
      'SELECT record, result FROM bankswitch_jobs WHERE id = $1', [id]
    )
    if (row === undefined) return undefined
    return { ...row.record, ...(row.result === null ? {} : { result: row.result }) }
  }

  async #cancel (id: string): Promise<JobRecord | undefined> {
    if (!ID.test(id)) return undefined
    await this.#changing('UPDATE bankswitch_jobs SET is_cancelled = true WHERE id = $1 AND NOT is_ended', [id])
    await this.#settleSilent()
    const until = performance.now() + CANCELLED_MS
    for (;;) {
      const record = await this.#read(id)
      if (record === undefined || record.endedAt !== undefined || performance.now() > until) return record
      await wait(CANCELLED_AGAIN_MS)
    }
  }

  /** Jobs of servers that have been silent for long. */
  async #settleSilent (): Promise<void> {
    const rows = await this.#reading<{ record: JobRecord }>(
      `SELECT record FROM bankswitch_jobs
       WHERE NOT is_ended AND owner <> $1 AND seen_at < now() - $2 * interval '1 ms'`,
      [this.#owner, SILENT_MS]
    )
    for (const { record } of rows) {
      const { result, ...rest } = settled(record, this.#options.findCommit)
      const ended = await this.#changing(
        `UPDATE bankswitch_jobs SET is_ended = true, record = $2, result = $3
         WHERE id = $1 AND NOT is_ended AND seen_at < now() - $4 * interval '1 ms' RETURNING id`,
        [record.id, JSON.stringify(rest), result === undefined ? null : JSON.stringify(result), SILENT_MS]
      )
      if (ended.length > 0 && rest.state === 'failed') this.#options.onLost?.(rest)
    }
  }

  #follow (own: OwnJobs): void {
    this.#own = own
    this.#timer = setInterval(() => {
      this.#beating = this.#beating.then(() => this.#beat()).catch((error: unknown) => this.#options.onFault?.(error))
    }, BEAT_MS)
    this.#timer.unref()
  }

  async #beat (): Promise<void> {
    for (const record of this.#own!.live()) {
      const [row] = await this.#changing<{ is_cancelled: boolean }>(
        // What is about to be committed was noted after this record may have been read.
        `UPDATE bankswitch_jobs SET seen_at = now(),
           record = CASE WHEN record->'commit' IS NULL THEN $2::json ELSE record END
         WHERE id = $1 AND NOT is_ended RETURNING is_cancelled`,
        [record.id, JSON.stringify(record)]
      )
      if (row?.is_cancelled !== true) continue
      this.#own!.stop(record.id, calibrationErrors.JOB_CANCELLED('the job was cancelled'))
    }
  }

  async #close (): Promise<void> {
    clearInterval(this.#timer)
    await this.#beating
  }

  async #reading<Row extends object> (text: string, values: readonly unknown[]): Promise<Row[]> {
    try {
      return await this.#options.database.rows<Row>(text, values)
    } catch (error) {
      throw unreadable(error)
    }
  }

  async #changing<Row extends object> (text: string, values: readonly unknown[]): Promise<Row[]> {
    try {
      return await this.#options.database.transaction({}, (statements) => statements.rows<Row>(text, values))
    } catch (error) {
      throw unwritable(error)
    }
  }
}

/** JOB_LOST. */
function lost (): Error {
  return calibrationErrors.JOB_LOST('the server was silent for so long that another one has told the job as lost')
}
