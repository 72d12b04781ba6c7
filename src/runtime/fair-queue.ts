/**
 * The waiting line, without a thread or a clock: what is let in, and who is next.
 *
 *  - rows are counted, not requests
 *  - domains take turns: the one served longest ago is next, and one turn serves at most `rowsMax` of its rows
 *  - a domain that waits already may grow to SHARE times what is still free, so a flood of one always leaves room for
 *    the others (dynamic threshold, Choudhury & Hahne 1998); the first request of a domain only needs to fit
 */
import { runtimeErrors } from './errors.js'

const SHARE = 4

export interface Waiting {
  /** Whose turn it takes; in practice `model@domain`. */
  readonly turnOf: string
  /** Items with the same key may share a run; undefined for one that must run alone. */
  readonly runKey: string | undefined
  readonly rows: number
}

interface Line<Item> {
  items: Set<Item>
  rows: number
}

export class FairQueue<Item extends Waiting> {
  readonly #rowsLimit: number
  /** Insertion order is the order of turns. */
  readonly #lines = new Map<string, Line<Item>>()
  #rows = 0

  constructor (rowsLimit: number) {
    this.#rowsLimit = rowsLimit
  }

  /** Rows waiting. */
  get rows (): number {
    return this.#rows
  }

  /** Domains with something waiting. */
  get domains (): number {
    return this.#lines.size
  }

  /**
   * Lets in the parts of one request, all or none. Throws REQUEST_TOO_MANY_ROWS for what could never fit, QUEUE_FULL
   * for what does not fit now.
   */
  add (turnOf: string, items: readonly Item[]): void {
    const rows = items.reduce((sum, item) => sum + item.rows, 0)
    if (rows > this.#rowsLimit) {
      throw runtimeErrors.REQUEST_TOO_MANY_ROWS('the request has more rows than the queue can ever hold', {
        expected: `at most ${this.#rowsLimit}`, received: rows
      })
    }
    this.#requireRoomFor(turnOf, rows)
    for (const item of items) this.#insert(item)
  }

  /** Would even a single row be refused? Then a request need not be read to know its answer. Throws QUEUE_FULL. */
  requireRoom (turnOf: string): void {
    this.#requireRoomFor(turnOf, 1)
  }

  #requireRoomFor (turnOf: string, rows: number): void {
    const line = this.#lines.get(turnOf)
    const free = this.#rowsLimit - this.#rows
    const isWithinShare = line === undefined || line.rows + rows <= SHARE * free
    if (rows <= free && isWithinShare) return
    throw runtimeErrors.QUEUE_FULL('the server has no room for more requests now', {
      expected: `at most ${this.#rowsLimit} rows waiting`, received: this.#rows + rows
    })
  }

  /** Takes what was let in before, whatever the limits: taken but not served, or a later part of what is served. */
  putBack (item: Item): void {
    this.#insert(item)
  }

  #insert (item: Item): void {
    let line = this.#lines.get(item.turnOf)
    if (line === undefined) this.#lines.set(item.turnOf, line = { items: new Set(), rows: 0 })
    line.items.add(item)
    line.rows += item.rows
    this.#rows += item.rows
  }

  /** The items of the next run: one, or several of one domain that may share it up to `rowsMax` rows; none if empty. */
  take (rowsMax: number): Item[] {
    const [next] = this.#lines
    if (next === undefined) return []
    const [turnOf, line] = next
    const [head] = line.items as Iterable<Item> as [Item]
    const taken = [head]
    let rows = head.rows
    if (head.runKey !== undefined) {
      for (const item of line.items) {
        if (item === head || item.runKey !== head.runKey || rows + item.rows > rowsMax) continue
        taken.push(item)
        rows += item.rows
        if (rows === rowsMax) break
      }
    }
    for (const item of taken) this.remove(item)
    if (this.#lines.delete(turnOf)) this.#lines.set(turnOf, line)
    return taken
  }

  /** True when the item was waiting. */
  remove (item: Item): boolean {
    const line = this.#lines.get(item.turnOf)
    if (line?.items.delete(item) !== true) return false
    line.rows -= item.rows
    this.#rows -= item.rows
    if (line.items.size === 0) this.#lines.delete(item.turnOf)
    return true
  }
}
