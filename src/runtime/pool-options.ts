/** What a pool is built with. */
import type { ServedModel } from './messages.js'
import type { WorkerScript } from './worker-handle.js'

export interface PoolOptions {
  workers: number
  /** Further threads, for domains that ask little while others ask much. */
  expressThreads?: number
  queueRows: number
  /** Rows of one run, unless a single request has more. */
  runRowsMax: number
  /** Bytes of packed banks that each worker keeps. */
  bankBytesMax: number
  /** Longest time of one run, in ms. */
  runMsMax: number
  observer?: PoolObserver
  /** Told that a new thread cannot open the session of a single bank, and goes on without it. */
  onDedicatedLost? (bankKey: string, error: unknown): void
  /** Mends what a new thread could not load, which then tries once more; without it nothing is mended. */
  onUnloadable? (model: ServedModel, error: unknown): Promise<void>
  /** What the threads run, if not the inference worker. */
  script?: WorkerScript
}

/** Told of what happens, for metrics and logs; must not throw. */
export interface PoolObserver {
  onRun? (run: { modelName: string, rows: number, requests: number, inferMs: number, isDedicated: boolean }): void
  onWorkerGone? (error: Error, restartMs: number): void
  /** `stuck` threads are set aside now. */
  onWorkerStuck? (stuck: number): void
  onDropped? (): void
}
