/** A pool without threads: it records what it is given, and answers when and what the test says. */
import { gate, type Gate } from './gate.js'
import type { Tensors } from '#src/ort/rows.js'
import type { Job, JobResult } from '#src/runtime/job.js'
import type { ServedModel } from '#src/runtime/messages.js'
import type { InferencePool } from '#src/runtime/pool.js'

export type Network = (job: Job) => Tensors | Promise<Tensors>

export const QUEUE_MS = 2
export const INFER_MS = 3

export class FakePool implements Pick<InferencePool, keyof InferencePool & (
  'submit' | 'requireRoom' | 'keepOpen' | 'forget' | 'backlog' | 'workers' | 'load' | 'warmUp'
)> {
  /** What computes; to be replaced at will. */
  network: Network
  readonly jobs: Job[] = []
  /** Of each submission, whether it passed by the limits of the queue. */
  readonly letIn: boolean[] = []
  /** Of each submission, what would drop it. */
  readonly signals: Array<AbortSignal | undefined> = []
  readonly loaded: ServedModel[] = []
  readonly warmedUp: Job[] = []
  readonly forgotten: string[] = []
  /** What requireRoom was asked. */
  readonly asked: Array<[turnOf: string, rows: number]> = []
  backlog = { rows: 0, domains: 0, drainMs: 0 }
  workers = { wanted: 2, ready: 2, busy: 0, stuck: 0, banks: 0, bankBytes: 0 }
  /** Work that closing would wait for. */
  keptOpen = 0
  /** Thrown by requireRoom. */
  refusal: Error | undefined
  readonly #gates: Gate[] = []

  constructor (network: Network) {
    this.network = network
  }

  /** The next submission waits at this gate. */
  hold (): Gate {
    const next = gate()
    this.#gates.push(next)
    return next
  }

  async submit (jobs: readonly Job[], signal?: AbortSignal, isLetIn = false): Promise<JobResult[]> {
    signal?.throwIfAborted()
    this.jobs.push(...jobs)
    this.letIn.push(isLetIn)
    this.signals.push(signal)
    await this.#gates.shift()?.pass()
    signal?.throwIfAborted()
    return await Promise.all(jobs.map(async (job) => ({
      outputs: await this.network(job), queueMs: QUEUE_MS, inferMs: INFER_MS, startedAt: 0, runRows: job.rows
    })))
  }

  requireRoom (turnOf: string, rows: number): void {
    this.asked.push([turnOf, rows])
    if (this.refusal !== undefined) throw this.refusal
  }

  async keepOpen<T> (work: () => Promise<T>): Promise<T> {
    this.keptOpen++
    try {
      return await work()
    } finally {
      this.keptOpen--
    }
  }

  forget (bankKey: string): void {
    this.forgotten.push(bankKey)
  }

  async load (model: ServedModel): Promise<void> {
    this.loaded.push(model)
  }

  async warmUp (job: Job): Promise<void> {
    this.warmedUp.push(job)
    await this.network(job)
  }
}
