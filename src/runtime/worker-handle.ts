/**
 * The pool's side of one worker thread: starts it, knows which banks it holds, tells when it is free or gone.
 *
 * The ledger is the only truth about the worker's banks: an entry goes into it when a run brings the bank and out when
 * a run names it as evicted. Both sides forget together when the thread ends.
 */
import { Worker } from 'node:worker_threads'
import { LRUCache } from 'lru-cache'
import { fromErrorRecord } from '../base/errors.js'
import type { FoldedBank } from '../bank/fold.js'
import type { FromWorker, ServedModel, ToWorker } from './messages.js'
import type { PlainTensor } from '../ort/session.js'

export interface WorkerScript {
  url: URL
  workerData?: unknown
}

const INFERENCE_SCRIPT: WorkerScript = { url: new URL('./worker.js', import.meta.url) }

export interface WorkerHandleOptions {
  /** Bytes of packed banks that the thread keeps. */
  bankBytesMax: number
  /** Called once when the thread has ended, wanted or not; what ran on it has been rejected by then. */
  onGone (handle: WorkerHandle, error: Error): void
  /** Another program that speaks the same messages. */
  script?: WorkerScript
}

export interface RunOutcome {
  outputs: Record<string, PlainTensor>
  inferMs: number
}

export interface WorkerRun {
  model: ServedModel
  bankKey: string
  /** In shared memory. */
  bank: FoldedBank
  feeds: Record<string, PlainTensor>
  wanted: string[]
}

type Settle<T> = { resolve (value: T): void, reject (error: unknown): void }

export class WorkerHandle {
  readonly #worker: Worker
  readonly #loads = new Map<string, Settle<void>>()
  readonly #ledger: LRUCache<string, number>
  #evicted: string[] = []
  #run: (Settle<RunOutcome> & { job: number }) | undefined
  #jobs = 0
  #isGone = false

  constructor ({ bankBytesMax, onGone, script = INFERENCE_SCRIPT }: WorkerHandleOptions) {
    this.#ledger = new LRUCache<string, number>({
      // A limit of 0 would mean none: a single byte lets in the bank that runs, and nothing else.
      maxSize: Math.max(bankBytesMax, 1),
      sizeCalculation: (bytes) => bytes,
      dispose: (_bytes, key) => this.#evicted.push(key)
    })
    this.#worker = new Worker(script.url, { workerData: script.workerData })
    let failure = new Error('the worker thread ended')
    this.#worker.on('message', (message: FromWorker) => this.#receive(message))
    this.#worker.on('error', (error: Error) => { failure = error })
    this.#worker.once('exit', () => {
      this.#isGone = true
      for (const { reject } of this.#loads.values()) reject(failure)
      this.#loads.clear()
      this.#run?.reject(failure)
      this.#run = undefined
      onGone(this, failure)
    })
  }

  get isIdle (): boolean {
    return !this.#isGone && this.#run === undefined && this.#loads.size === 0
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

  /** Only while idle. Rejects with the run's own error, or with the thread's when it ended. */
  run ({ model, bank, bankKey, ...rest }: WorkerRun): Promise<RunOutcome> {
    return new Promise((resolve, reject) => {
      const job = ++this.#jobs
      this.#run = { job, resolve, reject }
      const isHeld = this.#ledger.get(bankKey) !== undefined
      if (!isHeld) this.#ledger.set(bankKey, Math.min(packedBytes(model), this.#ledger.maxSize))
      const evicted = this.#evicted
      this.#evicted = []
      const request: ToWorker = {
        type: 'run', job, modelId: model.id, bankKey, evicted, ...(isHeld ? {} : { bank }), ...rest
      }
      this.#post(request, Object.values(rest.feeds).flatMap(({ data }) => Array.isArray(data) ? [] : [data.buffer]))
    })
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

  #receive (message: FromWorker): void {
    if (message.type === 'loaded' || message.type === 'load-failed') {
      const load = this.#loads.get(message.modelId)
      this.#loads.delete(message.modelId)
      if (message.type === 'loaded') load?.resolve()
      else load?.reject(fromErrorRecord(message.error))
      return
    }
    const run = this.#run
    if (run?.job !== message.job) return
    this.#run = undefined
    if (message.type === 'done') run.resolve({ outputs: message.outputs, inferMs: message.inferMs })
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
