/** How a job stands, and where that is written down. */
import { calibrationErrors } from './errors.js'
import type { BankswitchError, ErrorRecord } from '../base/errors.js'

export const JOB_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const
export type JobState = typeof JOB_STATES[number]

export interface JobRecord {
  readonly id: string
  readonly state: JobState
  /** Share of the work that is done, 0 to 1. */
  readonly progress: number
  /** What the job is about; names and numbers only. */
  readonly subject: Readonly<Record<string, string | number>>
  readonly createdAt: string
  readonly startedAt?: string
  readonly endedAt?: string
  /** What the commit will leave behind, noted before it happens, to find it after a crash. */
  readonly commit?: Readonly<Record<string, string | number>>
  readonly result?: unknown
  readonly error?: Pick<ErrorRecord, 'code' | 'kind' | 'message' | 'details'>
}

/** Where jobs of one process are written down, for it and for whoever comes after it. */
export interface JobRecords {
  /** What an earlier process has left, the oldest first; what is unusable is told and passed over. */
  recover (onFault: (error: unknown) => void): Promise<JobRecord[]>
  /** Durable when it resolves. Throws JOB_LOST where somebody else has already told the job as lost. */
  write (record: JobRecord): Promise<void>
  remove (id: string): Promise<void>
  /** Of other processes that share the place, newest first and without results; none where there are no others. */
  others?: {
    list (): Promise<JobRecord[]>
    get (id: string): Promise<JobRecord | undefined>
    /** Asks who runs it, and resolves when it has ended, or to how it stands when nobody does so in time. */
    cancel (id: string): Promise<JobRecord | undefined>
    /** Tells the others how own jobs stand, and own jobs what is asked of them; until it is closed. */
    follow (own: OwnJobs): void
    close (): Promise<void>
  }
}

/** Jobs of this process, as others may see and stop them. */
export interface OwnJobs {
  /** Those that have not ended. */
  live (): readonly JobRecord[]
  /** Ends a job, by a reason; nothing happens to one that is about to commit. */
  stop (id: string, reason: BankswitchError): void
}

/** JOB_NOT_FOUND. */
export function noJob (id: string): BankswitchError {
  return calibrationErrors.JOB_NOT_FOUND('there is no such job', { received: id.slice(0, 100) })
}

/**
 * A job whose process ended before it did: as succeeded with the result of its commit, where it had begun to commit and
 * `findCommit` finds that, else as failed with JOB_LOST.
 */
export function settled (record: JobRecord, findCommit: (record: JobRecord) => unknown): JobRecord {
  const result = record.commit === undefined ? undefined : findCommit(record)
  const endedAt = new Date().toISOString()
  if (result !== undefined) return { ...record, state: 'succeeded', progress: 1, endedAt, result }
  const { code, kind, message, details } = calibrationErrors.JOB_LOST(
    'the server ended before the job had; nothing was registered'
  )
  return { ...record, state: 'failed', endedAt, error: { code, kind, message, details } }
}
