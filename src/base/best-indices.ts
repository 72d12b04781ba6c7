/** The best few of many, without sorting the many. */

import type { Sliced } from './slices.js'

/** Values that are looked at in one step. */
const SLICE = 4096

/**
 * Indices of the `count` largest values, or of all where there are fewer: best first, ties by ascending index, NaN like
 * -Infinity. Takes O(n log count) comparisons.
 */
export function * bestIndices (values: ArrayLike<number | bigint>, count: number): Sliced<Uint32Array> {
  const heap = new WorstFirst(values, Math.min(count, values.length))
  for (let index = 0; index < values.length; index++) {
    if (index % SLICE === SLICE - 1) yield
    heap.offer(index)
  }
  const best = new Uint32Array(heap.length)
  for (let place = best.length - 1; place >= 0; place--) {
    if (place % SLICE === SLICE - 1) yield
    best[place] = heap.pop()
  }
  return best
}

/** A binary heap of at most so many indices, the worst of them on top. */
class WorstFirst {
  readonly #values: ArrayLike<number | bigint>
  readonly #heap: Uint32Array
  length = 0

  constructor (values: ArrayLike<number | bigint>, lengthMax: number) {
    this.#values = values
    this.#heap = new Uint32Array(lengthMax)
  }

  /** Keeps the index if there is room, or if it is better than the worst, which then goes. */
  offer (index: number): void {
    const heap = this.#heap
    if (this.length < heap.length) {
      let at = this.length++
      for (let parent = (at - 1) >> 1; at > 0 && this.#isWorse(index, heap[parent]!); parent = (at - 1) >> 1) {
        heap[at] = heap[parent]!
        at = parent
      }
      heap[at] = index
    } else if (heap.length > 0 && this.#isWorse(heap[0]!, index)) {
      this.#sink(index)
    }
  }

  /** Takes out the worst; there must be one. */
  pop (): number {
    const worst = this.#heap[0]!
    const last = this.#heap[--this.length]!
    if (this.length > 0) this.#sink(last)
    return worst
  }

  /** Puts `index` in the place of the top. */
  #sink (index: number): void {
    const heap = this.#heap
    let at = 0
    for (let child = 1; child < this.length; child = 2 * at + 1) {
      if (child + 1 < this.length && this.#isWorse(heap[child + 1]!, heap[child]!)) child++
      if (!this.#isWorse(heap[child]!, index)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = index
  }

  #isWorse (a: number, b: number): boolean {
    const [rankA, rankB] = [rankOf(this.#values[a]!), rankOf(this.#values[b]!)]
    return rankA === rankB ? a > b : rankA < rankB
  }
}

/** No comparison knows NaN. */
function rankOf (value: number | bigint): number | bigint {
  return Number.isNaN(value) ? -Infinity : value
}
