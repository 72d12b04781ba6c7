/**
 * A thread of low priority that makes durable changes: one message there and one back, where a change takes some dozens
 * of calls. A lone change blocks the thread until it is on disk; those that come meanwhile sync side by side, which a
 * file system's journal writes together (group commit).
 */
import { Worker } from 'node:worker_threads'
import { DiskLost, FileChanged, type Disk, type Step } from './durable-change.js'

const SCRIPT = new URL('./disk-worker.js', import.meta.url)

export interface DiskTask {
  id: number
  steps: readonly Step[]
}

export interface DiskOutcome {
  id: number
  failure?: DiskFailure
}

/** Structured clone would drop the fields of an errno error. */
export interface DiskFailure {
  message: string
  stack: string | undefined
  isChanged: boolean
  errno: Pick<NodeJS.ErrnoException, 'code' | 'errno' | 'syscall' | 'path'> & { dest?: string | undefined }
}

interface Waiting {
  resolve (): void
  reject (error: Error): void
}

export class DiskThread implements Disk {
  readonly #waiting = new Map<number, Waiting>()
  #ids = 0
  /** Started when it is first needed. */
  #thread: Worker | undefined

  change (steps: readonly Step[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const id = ++this.#ids
      const thread = this.#thread ??= this.#start()
      const { own, memory } = ownBytes(steps)
      thread.postMessage({ id, steps: own } satisfies DiskTask, memory)
      thread.ref()
      this.#waiting.set(id, { resolve, reject })
    })
  }

  /** Ends what is still under way. */
  async close (): Promise<void> {
    await this.#thread?.terminate()
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
      this.#thread = undefined
      for (const { reject } of this.#waiting.values()) {
        reject(new DiskLost('the thread that writes files has ended', { cause }))
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

function toError ({ message, stack, isChanged, errno }: DiskFailure): Error {
  return isChanged ? new FileChanged(message) : Object.assign(new Error(message), errno, { stack })
}
