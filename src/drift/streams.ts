/**
 * The streams of a domain, each with a detector of its own, in a table that nobody can fill for others.
 *
 *  - one caller has at most CALLER_STREAMS_MAX streams; a further one takes the place of that caller's quietest
 *  - in a full table a stream of another caller takes the place of the quietest only when that was idle for IDLE_MS;
 *    until then it is not watched, which is counted
 */
import { ChangeDetector } from './change-detector.js'
import { newThinning, type Thinning } from './thinning.js'
import type { Bets } from './bets.js'

export const STREAMS_MAX = 256
export const CALLER_STREAMS_MAX = 64
export const IDLE_MS = 600_000

export interface Stream {
  readonly caller: string
  readonly name: string
  readonly thinning: Thinning
  readonly detector: ChangeDetector
  /** Counted pictures left until it counts as calm again; 0 when it is. */
  unrest: number
  /** Since when it has been drifting, as far as the last alarm tells. */
  driftsSince: number | undefined
  /** When a picture of it was last seen. */
  lastAt: number
}

export class Streams {
  /** The quietest first. */
  readonly #streams = new Map<string, Stream>()
  readonly #bets: Bets

  /** What their detectors bet. */
  constructor (bets: Bets) {
    this.#bets = bets
  }

  /** Undefined where there is no room for a new one. */
  of (caller: string, name: string, at: number): Stream | undefined {
    const key = JSON.stringify([caller, name])
    const known = this.#streams.get(key)
    if (known === undefined && !this.#makeRoom(caller, at)) return undefined
    const stream = known ?? {
      caller,
      name,
      thinning: newThinning(),
      detector: new ChangeDetector(this.#bets),
      unrest: 0,
      driftsSince: undefined,
      lastAt: at
    }
    stream.lastAt = at
    this.#streams.delete(key)
    this.#streams.set(key, stream)
    return stream
  }

  get size (): number {
    return this.#streams.size
  }

  /** Callers with a stream that was seen within IDLE_MS. */
  callers (at: number): number {
    const active = [...this.#streams.values()].filter(({ lastAt }) => at - lastAt < IDLE_MS)
    return new Set(active.map(({ caller }) => caller)).size
  }

  all (): Iterable<Stream> {
    return this.#streams.values()
  }

  #makeRoom (caller: string, at: number): boolean {
    let [own, quietestOwn]: [number, string | undefined] = [0, undefined]
    for (const [key, stream] of this.#streams) {
      if (stream.caller !== caller) continue
      quietestOwn ??= key
      own++
    }
    if (own >= CALLER_STREAMS_MAX) return this.#streams.delete(quietestOwn!)
    if (this.#streams.size < STREAMS_MAX) return true
    const [[key, quietest]] = this.#streams as unknown as [[string, Stream]]
    return at - quietest.lastAt >= IDLE_MS && this.#streams.delete(key)
  }
}
