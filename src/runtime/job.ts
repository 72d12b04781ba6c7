/** What is asked of the pool: rows of one model under one bank, and what comes of them. */
import type { FoldedBank } from '../bank/fold.js'
import type { PlainTensor } from '../ort/session.js'
import type { Keeps, ServedModel } from './messages.js'
import type { DedicatedSession } from './dedicated-sessions.js'
import type { Waiting } from './fair-queue.js'

export interface Job {
  /** Whose turn it takes; in practice `model@domain`. */
  readonly turnOf: string
  readonly model: ServedModel
  /** Names the bank: model and content. */
  readonly bankKey: string
  /** In shared memory; undefined for a session that takes none. */
  readonly bank: FoldedBank | undefined
  readonly rows: number
  /** Views are fine: they are copied when the run begins. */
  readonly feeds: Readonly<Record<string, PlainTensor>>
  readonly wanted: string[]
  /** Jobs of one key may share a run; undefined to run alone. */
  readonly runKey: string | undefined
  /** Runs beside the networks: no rate of theirs is learned from it, and nobody is told. */
  readonly isAside?: boolean
  /** What the thread keeps for the next run of its size; everything if not given. */
  readonly keeps?: Keeps
}

export interface JobResult {
  outputs: Record<string, PlainTensor>
  queueMs: number
  inferMs: number
  /** When its run began, by performance.now(). */
  startedAt: number
  /** Rows of the run that it shared, its own among them. */
  runRows: number
}

/** A job that has come in. */
export interface QueuedJob extends Waiting {
  readonly job: Job
  readonly enqueuedAt: number
  /** Of its bank alone, when there was one as it came in: it runs there, and shares no run with what came before. */
  readonly dedicated: DedicatedSession | undefined
  attempts: number
  resolve (result: JobResult): void
  reject (error: unknown): void
}

/** The job as the queue takes it, and the promise that it settles. */
export function enqueue (job: Job, dedicated?: DedicatedSession): { item: QueuedJob, result: Promise<JobResult> } {
  const { turnOf, rows } = job
  const runKey = dedicated === undefined || job.runKey === undefined ? job.runKey : `${job.runKey}|${dedicated.id}`
  const enqueuedAt = performance.now()
  let item: QueuedJob | undefined
  const result = new Promise<JobResult>((resolve, reject) => {
    item = { job, turnOf, runKey, rows, enqueuedAt, dedicated, attempts: 0, resolve, reject }
  })
  return { item: item!, result }
}
