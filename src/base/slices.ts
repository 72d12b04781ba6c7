/**
 * Long work on a thread that others need too: a generator that yields wherever it may be interrupted.
 *
 * Work that is short is done at once, as if it were a function. What is longer goes on in slices of a few milliseconds,
 * all of it in turns, and between two slices the thread does whatever else there is.
 */

export type Sliced<Result> = Generator<void, Result, void>

/** Does the work in one go. */
export function finish<Result> (work: Sliced<Result>): Result {
  for (let step = work.next(); ; step = work.next()) {
    if (step.done === true) return step.value
  }
}

interface Started {
  /** True once it is over. */
  advance (): boolean
}

/** What a slice takes, and with it what anything else waits for at most, in ms. */
const SLICE_MS = 4

export class SlicedWork {
  readonly #sliceMs: number
  readonly #turns: Started[] = []

  constructor (sliceMs = SLICE_MS) {
    this.#sliceMs = sliceMs
  }

  /** Works that are not over. */
  get count (): number {
    return this.#turns.length
  }

  /** Rejects with what the work throws, or with the signal's reason, whereupon the work is given up. */
  run<Result> (work: Sliced<Result>, signal?: AbortSignal): Promise<Result> {
    return new Promise((resolve, reject) => {
      const advance = () => {
        try {
          signal?.throwIfAborted()
          const begin = performance.now()
          do {
            const step = work.next()
            if (step.done !== true) continue
            resolve(step.value)
            return true
          } while (performance.now() - begin < this.#sliceMs)
          return false
        } catch (error) {
          reject(error)
          return true
        }
      }
      if (!advance()) this.#add({ advance })
    })
  }

  #add (started: Started): void {
    this.#turns.push(started)
    if (this.#turns.length === 1) setImmediate(() => this.#turn())
  }

  #turn (): void {
    const [first] = this.#turns as [Started]
    const isOver = first.advance()
    this.#turns.shift()
    if (!isOver) this.#turns.push(first)
    if (this.#turns.length > 0) setImmediate(() => this.#turn())
  }
}
