/**
 * The inference threads: started with the first model or when they are woken, replaced when one ends or is stuck.
 *
 *  - a thread that ends is replaced after a delay that grows while threads die young
 *  - a thread whose run takes too long is set aside: it cannot be ended inside a native call without the whole process,
 *    so it gets no more work, another takes its place, and it ends when the call returns
 *  - at most as many as there are workers are set aside and replaced; beyond, only those that are left go on
 */
import { WorkerHandle, type WorkerScript } from './worker-handle.js'
import type { ServedModel } from './messages.js'

export interface CrewOptions {
  workers: number
  /** True for threads that start when they are woken, not with the first model. */
  startsLate?: boolean
  /** Of the threads: 0 is normal, 19 the most generous. */
  niceness: number
  /** Bytes of packed banks that each worker keeps. */
  bankBytesMax: number
  /** Longest time of one run; beyond, its thread is stuck. */
  runMsMax: number
  /** What the threads run, if not the inference worker. */
  script?: WorkerScript | undefined
  /** A thread may have become free, or the last one been lost. */
  onChange (): void
  /** Whether a thread that ends must be replaced. */
  isNeeded (): boolean
  onGone (error: Error, restartMs: number): void
  onStuck (stuck: number): void
  /** Resolves when it is a good moment to keep a thread busy. */
  whenCalm (worker: WorkerHandle): Promise<void>
  /** A new thread cannot open the session of a single bank, and goes on without it. */
  onDedicatedLost (model: ServedModel, error: unknown): void
  /** Mends what a new thread could not load, which then tries once more. */
  onUnloadable (model: ServedModel, error: unknown): Promise<void>
}

const RESTART_DELAY_FIRST_MS = 50
const RESTART_DELAY_MAX_MS = 10_000

/** A thread that lived this long was not broken from the start: the next restart waits no longer than the first. */
const HEALTHY_AFTER_MS = 30_000

export class WorkerCrew {
  readonly #options: CrewOptions
  readonly #workers = new Set<WorkerHandle>()
  readonly #ready = new Set<WorkerHandle>()
  readonly #stuck = new Set<WorkerHandle>()
  readonly #models: ServedModel[] = []
  /** Single banks that have a session, by its id. */
  readonly #dedicated = new Map<string, ServedModel>()
  readonly #restarts = new Set<NodeJS.Timeout>()
  #isStarted = false
  #restartDelayMs = RESTART_DELAY_FIRST_MS

  constructor (options: CrewOptions) {
    this.#options = options
  }

  /** Opens a model on every worker, starting the workers with the first. Throws ORT_LOAD_FAILED. */
  async load (model: ServedModel): Promise<void> {
    this.#models.push(model)
    const { workers, startsLate = false } = this.#options
    const started = this.#isStarted || startsLate ? [] : Array.from({ length: workers }, () => this.#start())
    this.#isStarted ||= !startsLate
    try {
      await Promise.all([...this.#workers].map((worker) => worker.load(model).catch((error: unknown) => {
        // One that is set aside meanwhile says nothing of this model.
        if (!worker.isStuck) throw error
      })))
    } catch (error) {
      this.#models.splice(this.#models.indexOf(model), 1)
      throw error
    } finally {
      for (const worker of started.filter((one) => this.has(one))) this.#ready.add(worker)
      this.#options.onChange()
    }
  }

  /** Starts the threads, where they start late and have not yet; each takes work once it has opened every model. */
  wake (): void {
    if (this.#isStarted) return
    this.#isStarted = true
    for (let at = 0; at < this.#options.workers; at++) this.#startWithModels()
  }

  /**
   * Opens the session of a single bank on every worker, one after another, so that the others go on meanwhile. A worker
   * that ends meanwhile has it from its replacement on. Throws ORT_LOAD_FAILED; no worker holds it then.
   */
  async loadDedicated (model: ServedModel): Promise<void> {
    this.#dedicated.set(model.id, model)
    for (const worker of [...this.#workers]) {
      await this.#options.whenCalm(worker)
      try {
        if (this.has(worker) && this.#dedicated.has(model.id)) await worker.loadDedicated(model)
      } catch (error) {
        if (!this.has(worker)) continue
        await this.unloadDedicated(model.id)
        throw error
      } finally {
        this.#options.onChange()
      }
    }
  }

  /** Releases the session of a single bank on every worker, one after another. */
  async unloadDedicated (id: string): Promise<void> {
    this.#dedicated.delete(id)
    for (const worker of [...this.#workers]) {
      await this.#options.whenCalm(worker)
      worker.unloadDedicated(id)
    }
  }

  /** A thread that can take a run now. */
  free (): WorkerHandle | undefined {
    for (const worker of this.#ready) {
      if (worker.isIdle) return worker
    }
    return undefined
  }

  forget (bankKey: string): void {
    for (const worker of this.#workers) worker.forget(bankKey)
  }

  /** True while the thread is neither gone nor set aside. */
  has (worker: WorkerHandle): boolean {
    return this.#workers.has(worker)
  }

  /** True while some thread takes work, or none has been asked for yet. */
  get isServing (): boolean {
    return !this.#isStarted || this.#ready.size > 0
  }

  /** True when every thread is set aside and none may be started: only a restart of the process helps. */
  get isLost (): boolean {
    return this.#isStarted && this.#workers.size === 0 && this.#restarts.size === 0 && this.#stuck.size > 0
  }

  get counts (): { wanted: number, ready: number, stuck: number, banks: number, bankBytes: number } {
    const held = [...this.#workers].map(({ banks }) => banks)
    const { workers, startsLate = false } = this.#options
    return {
      wanted: startsLate && !this.#isStarted ? 0 : workers,
      ready: this.#ready.size,
      stuck: this.#stuck.size,
      banks: held.reduce((sum, { count }) => sum + count, 0),
      bankBytes: held.reduce((sum, { bytes }) => sum + bytes, 0)
    }
  }

  /** Ends the threads; those that are stuck are left to the end of the process. */
  async close (): Promise<void> {
    for (const timer of this.#restarts) clearTimeout(timer)
    this.#restarts.clear()
    await Promise.all([...this.#workers].map((worker) => worker.close()))
  }

  #start (): WorkerHandle {
    const bornAt = performance.now()
    const { niceness, bankBytesMax, runMsMax, script } = this.#options
    const worker = new WorkerHandle({
      niceness,
      bankBytesMax,
      runMsMax,
      onGone: (gone, error) => {
        this.#ready.delete(gone)
        if (this.#workers.delete(gone)) this.#replace(performance.now() - bornAt, error)
        else if (this.#stuck.delete(gone)) this.#replace(Infinity)
        this.#options.onChange()
      },
      onStuck: (stuck) => {
        this.#workers.delete(stuck)
        this.#ready.delete(stuck)
        this.#stuck.add(stuck)
        this.#options.onStuck(this.#stuck.size)
        this.#replace(performance.now() - bornAt)
        this.#options.onChange()
      },
      ...(script === undefined ? {} : { script })
    })
    this.#workers.add(worker)
    return worker
  }

  /** Starts another thread, unless there are enough or too many are set aside. `error` is why one ended. */
  #replace (livedMs: number, error?: Error): void {
    const { workers, isNeeded, onGone } = this.#options
    const coming = this.#workers.size + this.#restarts.size
    if (!isNeeded() || coming >= workers || coming + this.#stuck.size >= 2 * workers) return
    if (livedMs > HEALTHY_AFTER_MS) this.#restartDelayMs = RESTART_DELAY_FIRST_MS
    const delayMs = this.#restartDelayMs
    this.#restartDelayMs = Math.min(delayMs * 2, RESTART_DELAY_MAX_MS)
    if (error !== undefined) onGone(error, delayMs)
    const timer = setTimeout(() => {
      this.#restarts.delete(timer)
      this.#startWithModels()
    }, delayMs)
    this.#restarts.add(timer)
  }

  #startWithModels (): void {
    const worker = this.#start()
    this.#reloadAll(worker).then(() => {
      this.#ready.add(worker)
      this.#options.onChange()
    }, () => worker.terminate())
  }

  async #reloadAll (worker: WorkerHandle): Promise<void> {
    await Promise.all(this.#models.map((model) => this.#reload(worker, model)))
    for (const model of this.#dedicated.values()) {
      try {
        await worker.loadDedicated(model)
      } catch (error) {
        if (!this.has(worker)) throw error
        this.#options.onDedicatedLost(model, error)
      }
    }
  }

  async #reload (worker: WorkerHandle, model: ServedModel): Promise<void> {
    try {
      await worker.load(model)
    } catch (error) {
      if (!this.has(worker)) throw error
      await this.#options.onUnloadable(model, error)
      await worker.load(model)
    }
  }
}
