/**
 * Inference threads behind one fair queue.
 *
 *  - a worker takes a run the moment it is free; nothing waits for a batch to fill, so coalescing adds no latency
 *  - while some domain floods the server, express threads take from those that have no more waiting than one run takes
 *    and nothing running: who asks little waits for no flood's run; the scheduler shares out the cores. They start
 *    with the first flood, for they take as much memory as a worker
 *  - a run is rows of one model, one bank and one shape
 *  - a bank may have a session of its own besides its model's (dedicated-sessions.ts); express threads have none
 *  - a thread that ends is replaced; what ran on it runs once more elsewhere, and fails if that ends a thread too
 *  - a run that takes too long is given up with its thread, and not tried again
 *  - after `close` nothing new is let in, and everything let in before is answered
 */
import { runtimeErrors } from './errors.js'
import { concatenateRows, sliceRows } from '../ort/rows.js'
import { DedicatedSessions } from './dedicated-sessions.js'
import { FairQueue } from './fair-queue.js'
import { enqueue, type Job, type JobResult, type QueuedJob } from './job.js'
import { WorkerCrew, type CrewOptions } from './worker-crew.js'
import type { ServedModel } from './messages.js'
import type { PoolOptions } from './pool-options.js'
import type { RunOutcome, WorkerHandle } from './worker-handle.js'

const RUNS_PER_JOB_MAX = 2

/** A domain with more runs than this waiting floods the server. */
const FLOOD_RUNS = 8

/**
 * On a saturated machine the thread that answers HTTP must run at once when it has something to do, which is little;
 * inference takes whatever is left, which is almost everything. Express threads have little to do as well.
 */
const WORKER_NICENESS = 5
const EXPRESS_NICENESS = 0

/** Weight of the newest run in the moving estimate of rows per second. */
const RATE_SMOOTHING = 0.1

export class InferencePool {
  readonly #options: PoolOptions
  /** Banks that have a session of their own on the workers. */
  readonly dedicated: DedicatedSessions
  readonly #queue: FairQueue<QueuedJob>
  readonly #crew: WorkerCrew
  /** None or one. */
  readonly #express: readonly WorkerCrew[]
  #isClosed = false
  /** Runs under way, by whose turn it was. */
  readonly #runningTurns = new Map<string, number>()
  #keptOpen = 0
  #msPerRow = 0
  #onDrained: (() => void) | undefined

  constructor (options: PoolOptions) {
    this.#options = options
    this.#queue = new FairQueue(options.queueRows)
    const { workers, expressThreads = 0 } = options
    this.#crew = this.#crewOf({ workers, niceness: WORKER_NICENESS })
    this.dedicated = new DedicatedSessions(this.#crew, (worker) => {
      return !this.#crew.has(worker) || (worker.isIdle && this.#queue.rows === 0)
    })
    const express = { workers: expressThreads, niceness: EXPRESS_NICENESS, startsLate: true }
    this.#express = expressThreads > 0 ? [this.#crewOf(express)] : []
  }

  #crewOf (crew: Pick<CrewOptions, 'workers' | 'niceness' | 'startsLate'>): WorkerCrew {
    const { observer, onUnloadable, onDedicatedLost, script, bankBytesMax, runMsMax } = this.#options
    return new WorkerCrew({
      ...crew,
      bankBytesMax,
      runMsMax,
      script,
      onChange: () => this.#dispatch(),
      whenCalm: (worker) => this.dedicated.whenCalm(worker),
      onDedicatedLost: (model, error) => onDedicatedLost?.(this.dedicated.bankKeyOf(model.id), error),
      isNeeded: () => !this.#isClosed || this.#hasWork,
      onGone: (error, restartMs) => observer?.onWorkerGone?.(error, restartMs),
      onStuck: (stuck) => observer?.onWorkerStuck?.(stuck),
      onUnloadable: async (model, error) => {
        if (onUnloadable === undefined) throw error
        await onUnloadable(model, error)
      }
    })
  }

  /** Opens a model on every thread, starting the workers with the first. Throws ORT_LOAD_FAILED. */
  async load (model: ServedModel): Promise<void> {
    await Promise.all(this.#crews.map((crew) => crew.load(model)))
  }

  /**
   * Runs the parts of one request, each when its turn comes; lets in all or none. Results are in order.
   * Rejects with QUEUE_FULL, REQUEST_TOO_MANY_ROWS, WORKER_CRASHED, RUN_STUCK, WORKERS_STUCK, POOL_CLOSED, the run's
   * own error, or the signal's reason. `isLetIn` is for the later parts of work that was let in before: neither a full
   * queue nor closing refuses them; run it in `keepOpen`.
   */
  async submit (jobs: readonly Job[], signal?: AbortSignal, isLetIn = false): Promise<JobResult[]> {
    if (this.#isClosed && !isLetIn) throw runtimeErrors.POOL_CLOSED('the server is shutting down')
    signal?.throwIfAborted()
    const all = jobs.map((job) => enqueue(job, this.dedicated.of(job.bankKey)))
    const queued = all.map(({ item }) => item)
    const results = all.map(({ result }) => result)
    if (isLetIn) for (const item of queued) this.#queue.putBack(item)
    else this.#queue.add(queued)
    for (const { item: { dedicated }, result } of all) dedicated?.track(result)
    const drop = () => this.#drop(queued, signal?.reason)
    signal?.addEventListener('abort', drop, { once: true })
    this.#dispatch()
    try {
      return await Promise.all(results)
    } catch (error) {
      for (const result of results) result.catch(() => {})
      this.#drop(queued, error)
      throw error
    } finally {
      signal?.removeEventListener('abort', drop)
    }
  }

  /** Runs a job on every thread that is idle, so that later ones find everything allocated. */
  async warmUp (job: Job): Promise<void> {
    const results: Array<Promise<JobResult>> = []
    for (const crew of this.#crews) {
      for (let worker = crew.free(); worker !== undefined; worker = crew.free()) {
        const { item, result } = enqueue(job)
        results.push(result)
        void this.#runOn(crew, worker, [item])
      }
    }
    await Promise.all(results)
  }

  /** Runs `work`, which submits one part after another; closing waits for it. Throws POOL_CLOSED. */
  async keepOpen<T> (work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw runtimeErrors.POOL_CLOSED('the server is shutting down')
    this.#keptOpen++
    try {
      return await work()
    } finally {
      this.#keptOpen--
      this.#settleDrain()
    }
  }

  /** Throws QUEUE_FULL when a request of this turn that seems to have so many rows would be refused. */
  requireRoom (turnOf: string, rows: number): void {
    this.#queue.requireRoom(turnOf, rows)
  }

  /** Frees what the workers hold of a bank; a run that needs it later brings it again. */
  forget (bankKey: string): void {
    for (const crew of this.#crews) crew.forget(bankKey)
  }

  #drop (queued: readonly QueuedJob[], reason: unknown): void {
    const waiting = queued.filter((item) => this.#queue.remove(item))
    for (const { reject } of waiting) reject(reason)
    if (waiting.length > 0) this.#options.observer?.onDropped?.()
    this.#settleDrain()
  }

  #settleDrain (): void {
    if (!this.#hasWork) this.#onDrained?.()
  }

  get #hasWork (): boolean {
    return this.#runningTurns.size > 0 || this.#queue.rows > 0 || this.#keptOpen > 0
  }

  /** Rows waiting, domains waiting, and how long the queue will take at the pace of the last runs. */
  get backlog (): { rows: number, domains: number, drainMs: number } {
    const { rows, domains } = this.#queue
    return { rows, domains, drainMs: rows * this.#msPerRow / Math.max(this.#options.workers, 1) }
  }

  /** Of all threads, the express ones among them. */
  get workers (): { wanted: number, ready: number, busy: number, stuck: number, banks: number, bankBytes: number } {
    const busy = [...this.#runningTurns.values()].reduce((all, count) => all + count, 0)
    const sum = { wanted: 0, ready: 0, busy, stuck: 0, banks: 0, bankBytes: 0 }
    for (const { counts } of this.#crews) {
      for (const name of ['wanted', 'ready', 'stuck', 'banks', 'bankBytes'] as const) sum[name] += counts[name]
    }
    return sum
  }

  get #crews (): WorkerCrew[] {
    return [this.#crew, ...this.#express]
  }

  /** True while some thread takes work, or no model has been loaded yet. */
  get isServing (): boolean {
    return this.#crew.isServing
  }

  /** True when every thread is stuck: only a restart of the process helps. */
  get isLost (): boolean {
    return this.#crew.isLost
  }

  /** Answers what was let in, then ends the threads. */
  async close (): Promise<void> {
    this.#isClosed = true
    if (this.#hasWork) {
      await new Promise<void>((resolve) => { this.#onDrained = resolve })
    }
    await Promise.all(this.#crews.map((crew) => crew.close()))
  }

  #dispatch (): void {
    if (this.#crew.isLost) return this.#refuseWaiting()
    this.#dispatchTo(this.#crew)
    this.dedicated.lookForCalm()
    const { runRowsMax } = this.#options
    const asksLittle = (turnOf: string, rows: number) => rows <= runRowsMax && !this.#runningTurns.has(turnOf)
    if (!this.#queue.hasLineAbove(FLOOD_RUNS * runRowsMax)) return
    for (const crew of this.#express) {
      crew.wake()
      this.#dispatchTo(crew, asksLittle)
    }
  }

  #dispatchTo (crew: WorkerCrew, isEligible?: (turnOf: string, rows: number) => boolean): void {
    for (let worker = crew.free(); worker !== undefined; worker = crew.free()) {
      const batch = this.#queue.take(this.#options.runRowsMax, isEligible)
      if (batch.length === 0) return
      void this.#runOn(crew, worker, batch)
    }
  }

  #refuseWaiting (): void {
    const error = runtimeErrors.WORKERS_STUCK('every inference thread is stuck; the server must be restarted')
    for (let batch = this.#queue.take(1); batch.length > 0; batch = this.#queue.take(1)) {
      for (const { reject } of batch) reject(error)
    }
    this.#settleDrain()
  }

  async #runOn (crew: WorkerCrew, worker: WorkerHandle, batch: QueuedJob[]): Promise<void> {
    const [{ job, dedicated }] = batch as [QueuedJob]
    const startedAt = performance.now()
    this.#countRun(job.turnOf, 1)
    for (const queued of batch) queued.attempts++
    try {
      const outcome = await worker.run({
        model: job.model,
        bankKey: job.bankKey,
        bank: job.bank,
        dedicatedId: dedicated?.id,
        feeds: concatenateRows(batch.map((queued) => queued.job.feeds)),
        wanted: job.wanted,
        keeps: job.keeps ?? 'everything'
      })
      this.#settle(batch, outcome, startedAt)
    } catch (error) {
      this.#retryOrReject(batch, !crew.has(worker) && !worker.isStuck, error)
    } finally {
      this.#countRun(job.turnOf, -1)
      this.#dispatch()
      this.#settleDrain()
    }
  }

  #countRun (turnOf: string, change: 1 | -1): void {
    const count = (this.#runningTurns.get(turnOf) ?? 0) + change
    if (count === 0) this.#runningTurns.delete(turnOf)
    else this.#runningTurns.set(turnOf, count)
  }

  #settle (batch: readonly QueuedJob[], { outputs, inferMs, isDedicated }: RunOutcome, startedAt: number): void {
    const total = batch.reduce((sum, { rows }) => sum + rows, 0)
    let first = 0
    for (const { resolve, enqueuedAt, rows } of batch) {
      const share = batch.length === 1 ? outputs : sliceRows(outputs, first, rows)
      first += rows
      resolve({ outputs: share, queueMs: startedAt - enqueuedAt, inferMs, startedAt, runRows: total })
    }
    if (batch[0]!.job.isAside === true) return
    this.#msPerRow += RATE_SMOOTHING * (inferMs / total - this.#msPerRow)
    const modelName = batch[0]!.job.model.name
    this.#options.observer?.onRun?.({ modelName, rows: total, requests: batch.length, inferMs, isDedicated })
  }

  /** A job whose run failed by itself or was stuck is answered; one whose thread ended gets another run. */
  #retryOrReject (batch: readonly QueuedJob[], hasCrashed: boolean, error: unknown): void {
    for (const queued of batch) {
      if (!hasCrashed) {
        queued.reject(error)
      } else if (queued.attempts < RUNS_PER_JOB_MAX) {
        this.#queue.putBack(queued)
      } else {
        queued.reject(runtimeErrors.WORKER_CRASHED('inference crashed twice on this request', {}, error))
      }
    }
  }
}
