/** What the pool and its workers say to each other. Everything here survives structured clone. */
import type { FoldedBank } from '../bank/fold.js'
import type { PortLayout } from '../bank/port.js'
import type { BankInput } from '../compiler/promote-ports.js'
import type { ErrorRecord } from '../base/errors.js'
import type { PlainTensor } from '../ort/session.js'

export interface InferenceWorkerData {
  /** 0 is normal, 19 the most generous. */
  niceness: number
}

/** A compiled model as a worker needs it. */
export interface ServedModel {
  /** Names the artefact: a recompiled model has another id. */
  readonly id: string
  readonly name: string
  readonly graphPath: string
  readonly bankInputs: readonly BankInput[]
  /** Its arrays lie in shared memory. */
  readonly layout: PortLayout
  /** Its inputs come in more sizes than could be remembered. */
  readonly takesAnySize?: boolean
}

export interface LoadRequest {
  type: 'load'
  model: ServedModel
}

/** After a run: its plan and its memory, its memory alone, or nothing of it. */
export type Keeps = 'everything' | 'memory' | 'nothing'

export interface RunRequest {
  type: 'run'
  job: number
  modelId: string
  /** Absent for a session that takes none. */
  bankKey?: string
  /** In shared memory; absent when the worker holds the packed bank already. */
  bank?: FoldedBank
  /** Keys of banks that the worker forgets before this run. */
  evicted: string[]
  feeds: Record<string, PlainTensor>
  wanted: string[]
  keeps: Keeps
}

export type ToWorker = LoadRequest | RunRequest | { type: 'unload', modelId: string } | { type: 'close' }

export type FromWorker =
  | { type: 'loaded', modelId: string }
  | { type: 'load-failed', modelId: string, error: ErrorRecord }
  | { type: 'done', job: number, outputs: Record<string, PlainTensor>, inferMs: number }
  | { type: 'failed', job: number, error: ErrorRecord }
