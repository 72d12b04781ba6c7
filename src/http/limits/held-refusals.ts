/**
 * Makes refusing cheap. A client that sends again the moment it is refused would otherwise keep the server busy with
 * reading and discarding bodies: its refusal is held back, and with it the connection, whose body nobody reads
 * meanwhile, so a flood costs a bounded number of requests per second, however many connections it has.
 */

export interface Refused {
  /** Tells when the client is gone. */
  once (event: 'close', listener: () => void): unknown
  off (event: 'close', listener: () => void): unknown
}

/** Refusals that leave per second, once the hold alone lets more leave: what all of them together may cost. */
const PER_SECOND_MAX = 100

/** No refusal is held longer than this many times the hold. */
const STRETCH_MAX = 5

/** Held for up to this share less: what was refused in one wave shall not come back in one. */
const SPREAD = 0.5

export class HeldRefusals {
  readonly #holdMs: number
  readonly #heldMax: number
  readonly #held = new Set<() => void>()
  #isReleased = false

  /** At most `heldMax` refusals are held at once, each for about `holdMs`, longer when they are many; 0 holds none. */
  constructor (holdMs: number, heldMax: number) {
    this.#holdMs = holdMs
    this.#heldMax = heldMax
  }

  /** Refusals held right now. */
  get count (): number {
    return this.#held.size
  }

  /**
   * Resolves when the refusal may be sent: after the hold, or at once when the client leaves or everything is released.
   * False when there was no room to hold it; then the connection is best closed.
   */
  hold (refused: Refused): Promise<boolean> {
    if (this.#isReleased || this.#holdMs === 0) return Promise.resolve(true)
    if (this.#held.size >= this.#heldMax) return Promise.resolve(false)
    return new Promise((resolve) => {
      const release = () => {
        clearTimeout(timer)
        refused.off('close', release)
        this.#held.delete(release)
        resolve(true)
      }
      const timer = setTimeout(release, this.#nextMs())
      this.#held.add(release)
      refused.once('close', release)
    })
  }

  #nextMs (): number {
    const paced = Math.max(this.#holdMs, this.#held.size / PER_SECOND_MAX * 1000)
    return Math.min(paced, STRETCH_MAX * this.#holdMs) * (1 - SPREAD * Math.random())
  }

  /** Lets all go, and holds none from now on. */
  release (): void {
    this.#isReleased = true
    for (const release of this.#held) release()
  }
}
