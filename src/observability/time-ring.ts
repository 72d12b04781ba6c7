/** Numbers of the last while, in slots of equal time: a new slot takes the place of the oldest. */

interface Numbers {
  [at: number]: number
  fill (value: number, start: number, end: number): unknown
  subarray (start: number, end: number): Numbers
  readonly length: number
}

export class TimeRing<Values extends Numbers> {
  readonly slotMs: number
  readonly slots: number
  readonly #width: number
  readonly #values: Values
  /** Of all that were ever begun, the last; -1 before the first. */
  #newest = -1

  /** `values` has `slots` times `width` numbers. */
  constructor (slotMs: number, slots: number, values: Values) {
    this.slotMs = slotMs
    this.slots = slots
    this.#width = values.length / slots
    this.#values = values
  }

  /** The numbers of the slot that `now` (in ms) falls into, zero at its beginning, to be written to. */
  at (now: number): Values {
    this.#begin(now)
    return this.#slot(this.#newest)
  }

  /** Adds one to a number of that slot. */
  count (now: number, at: number): void {
    this.#begin(now)
    this.#values[this.#newest % this.slots * this.#width + at]!++
  }

  #begin (now: number): void {
    const slot = Math.floor(now / this.slotMs)
    // A clock that goes back goes on counting where it was.
    for (let passed = Math.max(this.#newest + 1, slot - this.slots + 1); passed <= slot; passed++) {
      const begin = (passed % this.slots) * this.#width
      this.#values.fill(0, begin, begin + this.#width)
    }
    this.#newest = Math.max(this.#newest, slot)
  }

  /** The last `count` slots, or as many as there were, oldest first, that of `now` at the end. */
  last (now: number, count: number): Values[] {
    this.#begin(now)
    const length = Math.min(count, this.slots, this.#newest + 1)
    return Array.from({ length }, (_, at) => this.#slot(this.#newest + 1 - length + at))
  }

  /**
   * Adds the last `count` slots to `sums`, which has as many slots of the same width, that of `now` at the end. Gives
   * how many there were.
   */
  addLast (now: number, count: number, sums: Float64Array): number {
    this.#begin(now)
    const length = Math.min(count, this.slots, this.#newest + 1)
    for (let back = 0; back < length; back++) {
      const from = (this.#newest - back) % this.slots * this.#width
      const to = (count - 1 - back) * this.#width
      for (let at = 0; at < this.#width; at++) sums[to + at]! += this.#values[from + at]!
    }
    return length
  }

  #slot (slot: number): Values {
    const begin = (slot % this.slots) * this.#width
    return this.#values.subarray(begin, begin + this.#width) as Values
  }
}
