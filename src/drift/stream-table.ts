/**
 * Streams of callers and what is kept of each, in a table that nobody can fill for others.
 *
 *  - one caller has at most its share of the places. In a full share a further stream takes the place of one of the
 *    caller's own that was silent for IDLE_MS, or that has shown nothing for TERM of its pictures: who has more cameras
 *    than places has them followed in turns, each for long enough to find something
 *  - in a full table it may take such a place of its caller, and one of others only when that was silent for IDLE_MS
 *  - until there is a place for it, it is not followed
 */
export const IDLE_MS = 600_000
export const TERM = 512

export interface TableOptions<Kept> {
  /** Of all callers, and of one. */
  streams: number
  callerStreams: number
  /** What is kept of a stream that nothing is known of. */
  begin: (caller: string) => Kept
  /** Whether it tells something that would be lost with it. */
  shows: (kept: Kept) => boolean
}

interface Place<Kept> {
  readonly caller: string
  readonly kept: Kept
  /** When it was last heard of, in milliseconds. */
  lastAt: number
  /** Its pictures since it showed something. */
  calm: number
}

export class StreamTable<Kept> {
  readonly #options: TableOptions<Kept>
  /** The one not heard of for longest first. */
  readonly #places = new Map<string, Place<Kept>>()

  constructor (options: TableOptions<Kept>) {
    this.#options = options
  }

  /** For the next picture of a stream; undefined where there is no place for it. */
  of (caller: string, name: string, at: number): Kept | undefined {
    const key = JSON.stringify([caller, name])
    const known = this.#places.get(key)
    if (known === undefined && !this.#makeRoom(caller, at)) return undefined
    const place = known ?? { caller, kept: this.#options.begin(caller), lastAt: at, calm: 0 }
    place.lastAt = at
    place.calm = this.#options.shows(place.kept) ? 0 : place.calm + 1
    this.#places.delete(key)
    this.#places.set(key, place)
    return place.kept
  }

  get size (): number {
    return this.#places.size
  }

  /** Callers with a stream that was heard of within IDLE_MS. */
  callers (at: number): number {
    const active = [...this.#places.values()].filter(({ lastAt }) => at - lastAt < IDLE_MS)
    return new Set(active.map(({ caller }) => caller)).size
  }

  /** The one not heard of for longest first. */
  all (): Kept[] {
    return Array.from(this.#places.values(), ({ kept }) => kept)
  }

  #makeRoom (caller: string, at: number): boolean {
    const { streams, callerStreams } = this.#options
    let own = 0
    for (const place of this.#places.values()) if (place.caller === caller) own++
    const isShareFull = own >= callerStreams
    if (!isShareFull && this.#places.size < streams) return true
    for (const [key, place] of this.#places) {
      const isOwn = place.caller === caller
      const isIdle = at - place.lastAt >= IDLE_MS
      if (isOwn ? isIdle || place.calm >= TERM : isIdle && !isShareFull) return this.#places.delete(key)
    }
    return false
  }
}
