/**
 * Long work behind a short answer: one job at a time, a few waiting, each with a record that says how it stands.
 *
 * Always true, at every system call:
 *  - a job whose record says `succeeded` has committed, one whose record says `failed` or `cancelled` has not
 *  - a job that was cut off is told after the next start: as succeeded if its commit is found, else as lost
 *  - a job that has begun to commit can no longer be cancelled
 */
import { randomUUID } from 'node:crypto'
import { toErrorRecord, type BankswitchError } from '../base/errors.js'
import { calibrationErrors } from './errors.js'
import { noJob, settled, type JobRecord, type JobRecords } from './job-record.js'

export { JOB_STATES, type JobRecord } from './job-record.js'

export interface JobContext {
  signal: AbortSignal
  onProgress (share: number): void
  /**
   * From here on the job cannot be cancelled; `note` is durable before this resolves. Throws JOB_CANCELLED and
   * JOB_LOST.
   */
  beginCommit (note: Readonly<Record<string, string | number>>): Promise<void>
}

export type JobWork = (context: JobContext) => Promise<unknown>

export interface JobsOptions {
  records: JobRecords
  /** False leaves alone what is there: another process may be working on it. */
  recovers?: boolean
  waitingMax?: number
  /** Asked after a restart of a job that had begun to commit: its result if the commit is there. */
  findCommit (record: JobRecord): unknown
  /** Told of jobs that a restart cut off. */
  onLost? (record: JobRecord): void
  /** Told of what went wrong with the records of jobs. */
  onFault? (error: unknown): void
}

interface LiveJob {
  record: JobRecord
  work: JobWork
  controller: AbortController
  /** Its first record; nothing else is written of it before. */
  written: Promise<void>
  isCommitting: boolean
}

const WAITING_MAX = 8

/** Records of ended jobs beyond this many go, the oldest first. */
const KEPT_MAX = 1000

export class Jobs {
  readonly #options: JobsOptions
  readonly #records = new Map<string, JobRecord>()
  readonly #watchers = new Map<string, Array<() => void>>()
  readonly #waiting: LiveJob[] = []
  #running: LiveJob | undefined
  #ended: Promise<void> = Promise.resolve()
  #isClosed = false

  private constructor (options: JobsOptions) {
    this.#options = options
  }

  /** Reads what an earlier process has left. Throws what reading the records throws. */
  static async open (options: JobsOptions): Promise<Jobs> {
    const jobs = new Jobs(options)
    if (options.recovers !== false) await jobs.#recover()
    options.records.others?.follow({
      live: () => jobs.list().filter(({ endedAt }) => endedAt === undefined),
      stop: (id, reason) => { void jobs.#stop(id, reason) }
    })
    return jobs
  }

  /** Those of this process, newest first. */
  list (): JobRecord[] {
    return [...this.#records.values()].reverse()
  }

  /** Also those of others that share the records, newest first; results of theirs are left out. */
  async listAll (): Promise<JobRecord[]> {
    const others = await this.#options.records.others?.list() ?? []
    const all = [...this.list(), ...others]
    return all.sort((a, b) => a.createdAt > b.createdAt ? -1 : a.createdAt < b.createdAt ? 1 : 0)
  }

  /** One of this process. Throws JOB_NOT_FOUND. */
  get (id: string): JobRecord {
    const record = this.#records.get(id)
    if (record !== undefined) return record
    throw noJob(id)
  }

  /** One of whoever shares the records. Throws JOB_NOT_FOUND. */
  async find (id: string): Promise<JobRecord> {
    return this.#records.get(id) ?? await this.#options.records.others?.get(id) ?? this.get(id)
  }

  /** Resolves when the job has ended, however; at once for one that has. Throws JOB_NOT_FOUND. */
  async ended (id: string): Promise<JobRecord> {
    if (this.get(id).endedAt === undefined) {
      await new Promise<void>((resolve) => this.#watchers.set(id, [...this.#watchers.get(id) ?? [], resolve]))
    }
    return this.get(id)
  }

  /** Resolves when the job is on disk. Rejects with JOB_QUEUE_FULL, or the errno error. */
  async submit (subject: JobRecord['subject'], work: JobWork): Promise<JobRecord> {
    this.requireRoom()
    const record: JobRecord = { id: randomUUID(), state: 'queued', progress: 0, subject, createdAt: now() }
    const written = this.#options.records.write(record)
    const job: LiveJob = { record, work, controller: new AbortController(), written, isCommitting: false }
    // It takes its place in the line before the file is written, or the line could outgrow its limit meanwhile.
    this.#waiting.push(job)
    this.#records.set(record.id, record)
    try {
      await written
    } catch (error) {
      if (this.#waiting.includes(job)) this.#waiting.splice(this.#waiting.indexOf(job), 1)
      this.#records.delete(record.id)
      throw error
    }
    this.#next()
    return this.get(record.id)
  }

  /** Throws JOB_QUEUE_FULL: before a body is read, what would be refused after it. */
  requireRoom (): void {
    const expected = this.#options.waitingMax ?? WAITING_MAX
    if (this.#waiting.length >= expected || this.#isClosed) {
      throw calibrationErrors.JOB_QUEUE_FULL('too many calibrations are waiting', {
        expected: `at most ${expected} waiting`, received: this.#waiting.length + 1
      })
    }
  }

  /** Cancels a job that waits or runs; one that has ended, or is about to, stays what it is. Throws JOB_NOT_FOUND. */
  async cancel (id: string): Promise<JobRecord> {
    const { others } = this.#options.records
    if (!this.#records.has(id) && others !== undefined) return await others.cancel(id) ?? this.get(id)
    await this.#stop(id, calibrationErrors.JOB_CANCELLED('the job was cancelled'))
    return this.get(id)
  }

  async #stop (id: string, reason: BankswitchError): Promise<void> {
    const at = this.#waiting.findIndex(({ record }) => record.id === id)
    if (at >= 0) {
      const [job] = this.#waiting.splice(at, 1) as [LiveJob]
      await job.written
      await this.#end(job, { state: 'cancelled', error: toPublic(reason) })
    } else if (this.#running?.record.id === id && !this.#running.isCommitting) {
      this.#running.controller.abort(reason)
      await this.#ended
    }
  }

  /** Ends what runs and forgets what waits; both are told as lost. */
  async close (): Promise<void> {
    this.#isClosed = true
    const lost = calibrationErrors.JOB_LOST('the server was stopped before the job had ended; start it again')
    for (const job of this.#waiting.splice(0)) await this.#end(job, { state: 'failed', error: toPublic(lost) })
    if (this.#running?.isCommitting === false) this.#running.controller.abort(lost)
    await this.#ended
    await this.#options.records.others?.close()
  }

  #next (): void {
    if (this.#running !== undefined || this.#isClosed) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running = job
    this.#ended = this.#run(job).finally(() => {
      this.#running = undefined
      this.#next()
    })
  }

  async #run (job: LiveJob): Promise<void> {
    const { controller: { signal } } = job
    try {
      await job.written
      await this.#change(job, { state: 'running', startedAt: now() })
      const result = await job.work({
        signal,
        onProgress: (share) => {
          this.#remember(job, { progress: Math.max(job.record.progress, Math.min(share, 1)) })
        },
        beginCommit: async (commit) => {
          signal.throwIfAborted()
          job.isCommitting = true
          await this.#change(job, { commit })
        }
      })
      await this.#end(job, { state: 'succeeded', progress: 1, result })
    } catch (thrown) {
      const error = toPublic(thrown)
      const state = error.code === 'JOB_CANCELLED' ? 'cancelled' : 'failed'
      if (error.kind === 'internal') this.#options.onFault?.(thrown)
      await this.#end(job, { state, error })
    }
  }

  /** Memory tells how a job ended even if its record cannot: the next start then finds it cut off. */
  async #end (job: LiveJob, change: Partial<JobRecord>): Promise<void> {
    this.#remember(job, { ...change, endedAt: now() })
    try {
      await this.#options.records.write(job.record)
      await this.#prune()
    } catch (error) {
      this.#options.onFault?.(error)
    }
    for (const resolve of this.#watchers.get(job.record.id) ?? []) resolve()
    this.#watchers.delete(job.record.id)
  }

  async #change (job: LiveJob, change: Partial<JobRecord>): Promise<void> {
    this.#remember(job, change)
    await this.#options.records.write(job.record)
  }

  #remember (job: LiveJob, change: Partial<JobRecord>): void {
    job.record = { ...job.record, ...change }
    this.#records.set(job.record.id, job.record)
  }

  async #prune (): Promise<void> {
    const ended = [...this.#records.values()].filter(({ endedAt }) => endedAt !== undefined)
    for (const { id } of ended.slice(0, Math.max(0, ended.length - KEPT_MAX))) {
      this.#records.delete(id)
      await this.#options.records.remove(id)
    }
  }

  async #recover (): Promise<void> {
    const { records, findCommit, onLost, onFault } = this.#options
    for (const record of await records.recover((error) => onFault?.(error))) {
      this.#records.set(record.id, record)
      if (record.state !== 'queued' && record.state !== 'running') continue
      const ended = settled(record, findCommit)
      this.#records.set(record.id, ended)
      await records.write(ended)
      if (ended.state === 'failed') onLost?.(ended)
    }
  }
}

/** An error as it may be shown: what is internal keeps its reason for the log. */
function toPublic (thrown: unknown): NonNullable<JobRecord['error']> {
  const { code, kind, message, details } = toErrorRecord(thrown)
  if (kind !== 'internal' && kind !== 'corrupt') return { code, kind, message, details }
  return { code, kind, message: 'the job failed; the server\'s log has the reason', details: {} }
}

function now (): string {
  return new Date().toISOString()
}
