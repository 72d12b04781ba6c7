/**
 * The pool's side of one worker thread: starts it, knows which banks it holds, tells when it is free or gone.
 *
 * The ledger is the only truth about the worker's banks: an entry goes in when a run brings the bank; one that went out
 * is named as evicted by the next run. Both sides forget together when the thread ends.
 */
import { Worker } from 'node:worker_threads'
import { LRUCache } from 'lru-cache'
import { fromErrorRecord } from '../base/errors.js'
import { runtimeErrors } from './errors.js'
import type { FoldedBank } from '../bank/fold.js'
import type { FromWorker, InferenceWorkerData, Keeps, RunRequest, ServedModel, ToWorker } from './messages.js'
import type { PlainTensor } from '../ort/session.js'

export interface WorkerScript {
  url: URL
  workerData?: unknown
}

const INFERENCE_SCRIPT = new URL('./worker.js', import.meta.url)

export interface WorkerHandleOptions {
  /** For the inference worker. */
  niceness: number
  /** Bytes of packed banks that the thread keeps. */
  bankBytesMax: number
  /** Longest time of one run. */
  runMsMax: number
  /** Called when a run took longer and has been rejected with RUN_STUCK; the thread ends when it comes back. */
  onStuck (handle: WorkerHandle): void
  /** Called once when the thread has ended, wanted or not; what ran on it has been rejected by then. */
  onGone (handle: WorkerHandle, error: Error): void
  /** Another program that speaks the same messages. */
  script?: WorkerScript
}

export interface RunOutcome {
  outputs: Record<string, PlainTensor>
  inferMs: number
  /** True when the session of the bank alone ran it. */
  isDedicated: boolean
}

export interface WorkerRun {
  model: ServedModel
  bankKey: string
  /** In shared memory; undefined for a session that takes none. */
  bank: FoldedBank | undefined
  /** A session that takes no bank and computes the same; used where the thread holds it. */
  dedicatedId?: string | undefined
  feeds: Record<string, PlainTensor>
  wanted: string[]
  keeps: Keeps
}

type Settle<T> = { resolve (value: T): void, reject (error: unknown): void }

export class WorkerHandle {
  readonly #worker: Worker
  readonly #loads = new Map<string, Settle<void>>()
  readonly #ledger: LRUCache<string, number>
  /** Sessions of single banks, by id, and whether they are open yet. */
  readonly #dedicated = new Map<string, { opened: Promise<void>, isOpen: boolean }>()
  #evicted: string[] = []
  #run: (Settle<RunOutcome> & { job: number, isDedicated: boolean }) | undefined
  #jobs = 0
  #isGone = false
  #isStuck = false
  #watchdog: NodeJS.Timeout | undefined
  readonly #runMsMax: number
  readonly #onStuck: WorkerHandleOptions['onStuck']

  constructor ({ niceness, bankBytesMax, runMsMax, onGone, onStuck, script }: WorkerHandleOptions) {
    this.#runMsMax = runMsMax
    this.#onStuck = onStuck
    this.#ledger = new LRUCache<string, number>({
      // A limit of 0 would mean none: a single byte lets in the bank that runs, and nothing else.
      maxSize: Math.max(bankBytesMax, 1),
      sizeCalculation: (bytes) => bytes,
      dispose: (_bytes, key) => this.#evicted.push(key)
    })
    const ownData: InferenceWorkerData = { niceness }
    const { url, workerData } = script ?? { url: INFERENCE_SCRIPT, workerData: ownData }
    this.#worker = new Worker(url, { workerData })
    let failure = new Error('the worker thread ended')
    this.#worker.on('message', (message: FromWorker) => this.#receive(message))
    this.#worker.on('error', (error: Error) => { failure = error })
    this.#worker.once('exit', () => {
      this.#isGone = true
      clearTimeout(this.#watchdog)
      for (const { reject } of this.#loads.values()) reject(failure)
      this.#loads.clear()
      this.#run?.reject(failure)
      this.#run = undefined
      onGone(this, failure)
    })
  }

  get isIdle (): boolean {
    return !this.#isGone && !this.#isStuck && this.#run === undefined && this.#loads.size === 0
  }

  /** True once a run took too long, for good. */
  get isStuck (): boolean {
    return this.#isStuck
  }

  /** Banks the thread holds, and their bytes. */
  get banks (): { count: number, bytes: number } {
    return { count: this.#ledger.size, bytes: this.#ledger.calculatedSize }
  }

  load (model: ServedModel): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#loads.set(model.id, { resolve, reject })
      this.#post({ type: 'load', model })
    })
  }

  /** Opens the session of a single bank, whose model takes no bank; once, however often it is asked. */
  loadDedicated (model: ServedModel): Promise<void> {
    const known = this.#dedicated.get(model.id)
    if (known !== undefined) return known.opened
    const session = { opened: this.load(model), isOpen: false }
    this.#dedicated.set(model.id, session)
    session.opened.then(() => { session.isOpen = true }, () => this.#dedicated.delete(model.id))
    return session.opened
  }

  /** Lets the thread release the session of a single bank; runs that name it use the model's own from now on. */
  unloadDedicated (id: string): void {
    if (this.#dedicated.delete(id) && !this.#isGone) this.#post({ type: 'unload', modelId: id })
  }

  /** Only while idle. Rejects with the run's own error, RUN_STUCK, or with the thread's when it ended. */
  run ({ model, bank, bankKey, dedicatedId = '', ...rest }: WorkerRun): Promise<RunOutcome> {
    return new Promise((resolve, reject) => {
      const job = ++this.#jobs
      const isDedicated = this.#dedicated.get(dedicatedId)?.isOpen === true
      this.#run = { job, isDedicated, resolve, reject }
      this.#watchdog = setTimeout(() => this.#setAside(), this.#runMsMax)
      const session = isDedicated
        ? { modelId: dedicatedId }
        : { modelId: model.id, ...this.#bankOf(model, bankKey, bank) }
      const evicted = this.#evicted
      this.#evicted = []
      const request: ToWorker = { type: 'run', job, evicted, ...session, ...rest }
      this.#post(request, Object.values(rest.feeds).flatMap(({ data }) => Array.isArray(data) ? [] : [data.buffer]))
    })
  }

  #bankOf (model: ServedModel, bankKey: string, bank: FoldedBank | undefined): Pick<RunRequest, 'bankKey' | 'bank'> {
    if (bank === undefined) return {}
    return { bankKey, ...(this.#enter(model, bankKey) ? { bank } : {}) }
  }

  /** Notes that the bank is used; true when the thread does not hold it yet. */
  #enter (model: ServedModel, bankKey: string): boolean {
    if (this.#ledger.get(bankKey) !== undefined) return false
    this.#ledger.set(bankKey, Math.min(packedBytes(model), this.#ledger.maxSize))
    return true
  }

  /** Frees a bank's place; its memory goes with the thread's next run. */
  forget (bankKey: string): void {
    this.#ledger.delete(bankKey)
  }

  /** Lets the thread release its sessions and end; resolves when it has. */
  close (): Promise<void> {
    if (this.#isGone) return Promise.resolve()
    return new Promise((resolve) => {
      this.#worker.once('exit', () => resolve())
      this.#post({ type: 'close' })
    })
  }

  /** Ends the thread without asking; a native call in progress is waited for. */
  async terminate (): Promise<void> {
    await this.#worker.terminate()
  }

  #setAside (): void {
    const run = this.#run
    this.#run = undefined
    this.#isStuck = true
    run?.reject(runtimeErrors.RUN_STUCK('the inference took longer than the server allows', {
      expected: `at most ${this.#runMsMax} ms`
    }))
    for (const { reject } of this.#loads.values()) reject(new Error('the worker thread is stuck'))
    this.#loads.clear()
    this.#onStuck(this)
  }

  #receive (message: FromWorker): void {
    if (this.#isStuck) {
      // It came back, and nobody waits for it.
      void this.close()
      return
    }
    if (message.type === 'loaded' || message.type === 'load-failed') {
      const load = this.#loads.get(message.modelId)
      this.#loads.delete(message.modelId)
      if (message.type === 'loaded') load?.resolve()
      else load?.reject(fromErrorRecord(message.error))
      return
    }
    const run = this.#run
    if (run?.job !== message.job) return
    clearTimeout(this.#watchdog)
    this.#run = undefined
    const { isDedicated } = run
    if (message.type === 'done') run.resolve({ outputs: message.outputs, inferMs: message.inferMs, isDedicated })
    else run.reject(fromErrorRecord(message.error))
  }

  #post (message: ToWorker, transfer: ArrayBufferLike[] = []): void {
    this.#worker.postMessage(message, transfer as ArrayBuffer[])
  }
}

/** The cache takes no entry without a size. */
function packedBytes ({ layout }: ServedModel): number {
  return Math.max(1, layout.length * Float32Array.BYTES_PER_ELEMENT)
}
