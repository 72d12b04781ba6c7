/**
 * A thread of low priority that makes durable changes: one message there and one back, where a change takes some dozens
 * of calls. Those that come while the disk is at work sync side by side: a journal writes them together (group commit).
 */
import { Worker } from 'node:worker_threads'
import { FileChanged, type Disk, type Step } from './durable-change.js'

const SCRIPT = new URL('./disk-worker.js', import.meta.url)

export interface DiskTask {
  id: number
  steps: readonly Step[]
}

export interface DiskOutcome {
  id: number
  /** Structured clone would drop the fields of an errno error. */
  failure?: { message: string, isChanged: boolean, errno: Errno }
}

type Errno = Pick<NodeJS.ErrnoException, 'code' | 'errno' | 'syscall' | 'path'>

/** The thread has ended, and with it changes that were under way: whether one is on disk is not known. */
export class DiskThreadEnded extends Error {}

interface Waiting {
  resolve (): void
  reject (error: Error): void
}

export class DiskThread implements Disk {
  readonly #waiting = new Map<number, Waiting>()
  #ids = 0
  /** Started when it is first needed. */
  #thread: Worker | undefined

  /** Rejects also with DiskThreadEnded. */
  change (steps: readonly Step[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const id = ++this.#ids
      this.#waiting.set(id, { resolve, reject })
      const thread = this.#thread ??= this.#start()
      thread.ref()
      const { own, memory } = ownBytes(steps)
      thread.postMessage({ id, steps: own } satisfies DiskTask, memory)
    })
  }

  /** Ends what is still under way. */
  async close (): Promise<void> {
    const thread = this.#thread
    this.#thread = undefined
    await thread?.terminate()
  }

  #start (): Worker {
    const thread = new Worker(SCRIPT)
    thread.on('message', ({ id, failure }: DiskOutcome) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (this.#waiting.size === 0) thread.unref()
      if (failure === undefined) waiting?.resolve()
      else waiting?.reject(toError(failure))
    })
    let cause: Error | undefined
    thread.on('error', (error: Error) => { cause = error })
    thread.once('exit', () => {
      if (this.#thread === thread) this.#thread = undefined
      for (const { reject } of this.#waiting.values()) {
        reject(new DiskThreadEnded('the thread that writes files has ended', { cause }))
      }
      this.#waiting.clear()
    })
    return thread
  }
}

/** Their bytes alone, which the caller keeps: a message would take along the whole memory that they are a part of. */
function ownBytes (steps: readonly Step[]): { own: Step[], memory: ArrayBuffer[] } {
  const memory: ArrayBuffer[] = []
  const own = steps.map((step) => {
    if (step.kind !== 'write') return step
    const bytes = new Uint8Array(step.bytes)
    memory.push(bytes.buffer)
    return { ...step, bytes }
  })
  return { own, memory }
}

function toError ({ message, isChanged, errno }: NonNullable<DiskOutcome['failure']>): Error {
  return isChanged ? new FileChanged(message) : Object.assign(new Error(message), errno)
}
