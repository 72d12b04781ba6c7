/**
 * Banks that have a session of their own on every worker, besides their model's, which any bank runs on.
 *
 *  - a bank gets its session when every worker has opened it; what comes in from then on runs there, what came in
 *    before where it was to run
 *  - a session that is to go takes nothing new, and goes when all that came in for it has been answered
 *  - opening and releasing keep a thread busy for tens of milliseconds: one thread at a time does it, when it is idle
 *    and nothing waits, or after CALM_MS_MAX between two runs
 *  - where a thread lacks the session, the model's own computes the same, to the tolerance of the proof
 */
import type { ServedModel } from './messages.js'
import type { WorkerHandle } from './worker-handle.js'

/** Longest time that a calm moment is waited for. */
const CALM_MS_MAX = 2000

/** The crew, as far as sessions are concerned. */
export interface SessionHolders {
  loadDedicated (model: ServedModel): Promise<void>
  unloadDedicated (id: string): Promise<void>
}

/** One bank's session, and what is to run on it. */
export class DedicatedSession {
  readonly id: string
  #jobs = 0
  #onIdle: (() => void) | undefined

  constructor (id: string) {
    this.id = id
  }

  /** Counts a job until its result has settled. */
  track (result: Promise<unknown>): void {
    this.#jobs++
    const settled = () => {
      this.#jobs--
      if (this.#jobs === 0) this.#onIdle?.()
    }
    result.then(settled, settled)
  }

  /** Resolves when no job is left. */
  async idle (): Promise<void> {
    if (this.#jobs > 0) await new Promise<void>((resolve) => { this.#onIdle = resolve })
  }
}

interface CalmWaiter {
  worker: WorkerHandle
  resolve (): void
}

export class DedicatedSessions {
  readonly #crew: SessionHolders
  readonly #isCalm: (worker: WorkerHandle) => boolean
  /** By bank key. */
  readonly #open = new Map<string, DedicatedSession>()
  readonly #waiters = new Set<CalmWaiter>()
  #opened = 0

  /** `isCalm` tells whether a thread is idle and would stay so, or is gone. */
  constructor (crew: SessionHolders, isCalm: (worker: WorkerHandle) => boolean) {
    this.#crew = crew
    this.#isCalm = isCalm
  }

  /** Opens the graph of a single bank on every worker, and gives the bank to it. Throws ORT_LOAD_FAILED. */
  async add (bankKey: string, { name, graphPath, takesAnySize }: ServedModel): Promise<void> {
    const id = `${bankKey}#${++this.#opened}`
    const layout = { layers: [], ports: [], length: 0 }
    await this.#crew.loadDedicated({
      id, name, graphPath, bankInputs: [], layout, ...(takesAnySize === undefined ? {} : { takesAnySize })
    })
    this.#open.set(bankKey, new DedicatedSession(id))
  }

  /** Takes the session from a bank; resolves when its memory is given back. */
  async remove (bankKey: string): Promise<void> {
    const session = this.#open.get(bankKey)
    if (session === undefined) return
    this.#open.delete(bankKey)
    await session.idle()
    await this.#crew.unloadDedicated(session.id)
  }

  /** Where a job of this bank that comes in now is to run. */
  of (bankKey: string): DedicatedSession | undefined {
    return this.#open.get(bankKey)
  }

  /** The bank of a session. */
  bankKeyOf (id: string): string {
    return id.slice(0, id.lastIndexOf('#'))
  }

  /** Resolves when the thread is idle and nothing waits, at the latest after CALM_MS_MAX. */
  async whenCalm (worker: WorkerHandle): Promise<void> {
    if (this.#isCalm(worker)) return
    await new Promise<void>((resolve) => {
      const waiter = { worker, resolve: () => { clearTimeout(timer); this.#waiters.delete(waiter); resolve() } }
      const timer = setTimeout(waiter.resolve, CALM_MS_MAX)
      this.#waiters.add(waiter)
    })
  }

  /** To be called whenever a thread may have become idle. */
  lookForCalm (): void {
    for (const waiter of this.#waiters) if (this.#isCalm(waiter.worker)) waiter.resolve()
  }
}
