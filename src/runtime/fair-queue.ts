/**
 * The waiting line, without a thread or a clock: what is let in, and who is next.
 *
 *  - rows are counted, not requests
 *  - domains take turns: the one served longest ago is next, and one turn serves at most `rowsMax` of its rows
 *  - a domain that had nothing waiting goes first, once a round: who asks little does not wait behind who asks much
 *    (new and old flows of FQ-CoDel, RFC 8290, 4.2)
 *  - a domain that waits already may grow to a share of what is still free, so a flood of one always leaves room for
 *    the others (base/dynamic-threshold.ts); the first request of a domain only needs to fit
 */
import { isWithinShare } from '../base/dynamic-threshold.js'
import { runtimeErrors } from './errors.js'

const GUESS_SHARE = 1 / 16

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
  /** Domains that came since the last round; insertion order is the order of turns, here and below. */
  readonly #fresh = new Map<string, Line<Item>>()
  /** Domains served before. An empty line stays until its turn, so that nobody is fresh twice in a round. */
  readonly #known = new Map<string, Line<Item>>()
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
    return [...this.#fresh.values(), ...this.#known.values()].filter(({ items }) => items.size > 0).length
  }

  /** True when some domain has more than so many rows waiting. */
  hasLineAbove (rows: number): boolean {
    if (this.#rows <= rows) return false
    for (const line of this.#fresh.values()) if (line.rows > rows) return true
    for (const line of this.#known.values()) if (line.rows > rows) return true
    return false
  }

  /**
   * Lets in the parts of one request, all or none, whatever their turns. Throws REQUEST_TOO_MANY_ROWS for what could
   * never fit, QUEUE_FULL for what does not fit now.
   */
  add (items: readonly Item[]): void {
    const rowsOfTurn = new Map<string, number>()
    let rows = 0
    for (const item of items) {
      rows += item.rows
      rowsOfTurn.set(item.turnOf, (rowsOfTurn.get(item.turnOf) ?? 0) + item.rows)
    }
    if (rows > this.#rowsLimit) {
      throw runtimeErrors.REQUEST_TOO_MANY_ROWS('the request has more rows than the queue can ever hold', {
        expected: `at most ${this.#rowsLimit}`, received: rows
      })
    }
    for (const [turnOf, own] of rowsOfTurn) this.#requireRoomFor(turnOf, own, rows)
    for (const item of items) this.#insert(item)
  }

  /**
   * Would a request be refused that seems to have this many rows? Then it need not be read. What is only a guess counts
   * for at most GUESS_SHARE of the limit. Throws QUEUE_FULL.
   */
  requireRoom (turnOf: string, rows: number): void {
    const believed = Math.max(1, Math.min(rows, Math.floor(GUESS_SHARE * this.#rowsLimit)))
    this.#requireRoomFor(turnOf, believed, believed)
  }

  /** `rows` of this turn, in a request of `all` rows. */
  #requireRoomFor (turnOf: string, rows: number, all: number): void {
    const line = this.#lineOf(turnOf)
    const free = this.#rowsLimit - this.#rows
    const isFirst = line === undefined || line.items.size === 0
    if (all <= free && (isFirst || isWithinShare(line.rows + rows, free))) return
    throw runtimeErrors.QUEUE_FULL('the server has no room for more requests now', {
      expected: `at most ${this.#rowsLimit} rows waiting`, received: this.#rows + all
    })
  }

  /** Takes what was let in before, whatever the limits: taken but not served, or a later part of what is served. */
  putBack (item: Item): void {
    this.#insert(item)
  }

  #insert (item: Item): void {
    let line = this.#lineOf(item.turnOf)
    if (line === undefined) this.#fresh.set(item.turnOf, line = { items: new Set(), rows: 0 })
    line.items.add(item)
    line.rows += item.rows
    this.#rows += item.rows
  }

  /**
   * The items of the next run: one, or several of one domain that may share it up to `rowsMax` rows; none if empty.
   * Domains that `isEligible` refuses, by the rows that they have waiting, are passed over and keep their turn.
   */
  take (rowsMax: number, isEligible: (turnOf: string, rows: number) => boolean = () => true): Item[] {
    const next = this.#nextTurn(isEligible)
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
    const wasFresh = this.#fresh.has(turnOf)
    for (const item of taken) this.remove(item)
    this.#fresh.delete(turnOf)
    this.#known.delete(turnOf)
    if (this.#rows > 0 && (wasFresh || line.items.size > 0)) this.#known.set(turnOf, line)
    return taken
  }

  #lineOf (turnOf: string): Line<Item> | undefined {
    return this.#fresh.get(turnOf) ?? this.#known.get(turnOf)
  }

  #nextTurn (isEligible: (turnOf: string, rows: number) => boolean): [string, Line<Item>] | undefined {
    for (const fresh of this.#fresh) if (isEligible(fresh[0], fresh[1].rows)) return fresh
    let isPassing = false
    for (const known of this.#known) {
      const [turnOf, { items, rows }] = known
      if (items.size > 0 && isEligible(turnOf, rows)) return known
      isPassing ||= items.size > 0
      if (!isPassing) this.#known.delete(turnOf)
    }
    return undefined
  }

  /** True when the item was waiting. */
  remove (item: Item): boolean {
    const line = this.#lineOf(item.turnOf)
    if (line?.items.delete(item) !== true) return false
    line.rows -= item.rows
    this.#rows -= item.rows
    if (line.items.size === 0) this.#fresh.delete(item.turnOf)
    if (this.#rows === 0) this.#known.clear()
    return true
  }
}
