/**
 * Which banks deserve a network of their own: those that get most of their model's rows, and many, and for a while.
 *
 * Rows are counted with a half-life, so that the count of a steady stream of r rows a second comes to 87 r. A bank is
 * heated above HOT_SHARE of its model's rows and cools below COLD_SHARE; in between all stays as it is, so that traffic
 * near a limit does not go back and forth. A bank that finds no room takes that of one with less than half its rows.
 *
 * No clock and no work in here: times come in, decisions go out.
 */

export const HALF_LIFE_MS = 60_000

/** Of the model's rows; at most one bank can have more than half. */
const HOT_SHARE = 0.5
const COLD_SHARE = 0.25

/** Counted rows: steady streams of somewhat more than a row a second, and of one in ten seconds. */
export const HOT_ROWS_MIN = 100
const COLD_ROWS = 10

/** A bank must have been asked for as long. */
export const ASKED_MS_MIN = 30_000

/** Whoever takes another's place has more rows by this factor. */
const DISPLACING = 2

/** Banks that are counted; beyond, what was asked longest ago is forgotten. */
export const COUNTED_MAX = 10_000

/** What is counted: rows of a model under a bank, and whatever else the counter wants to know again. */
export interface Asked {
  readonly bank: string
  readonly model: string
}

interface Count<What> {
  what: What
  rows: number
  atMs: number
  sinceMs: number
}

export interface Heat<What extends Asked = Asked> {
  /** As it was asked last. */
  what: What
  /** With the half-life. */
  rows: number
  /** Of the model's rows, in [0, 1]. */
  share: number
  /** How long it has been asked. */
  askedMs: number
}

/** Counts the rows of banks. */
export class HeatBook<What extends Asked = Asked> {
  /** By bank; the one asked longest ago comes first. */
  readonly #counts = new Map<string, Count<What>>()

  count (what: What, rows: number, nowMs: number): void {
    const known = this.#counts.get(what.bank)
    this.#counts.delete(what.bank)
    const before = known === undefined ? 0 : left(known, nowMs)
    this.#counts.set(what.bank, { what, rows: before + rows, atMs: nowMs, sinceMs: known?.sinceMs ?? nowMs })
    if (this.#counts.size > COUNTED_MAX) this.#counts.delete(this.#counts.keys().next().value!)
  }

  forget (bank: string): void {
    this.#counts.delete(bank)
  }

  /** All banks that were asked lately, hottest first. What is down to less than a row is forgotten. */
  heats (nowMs: number): Array<Heat<What>> {
    const sums = new Map<string, number>()
    const now = [...this.#counts.values()].map((count) => ({ ...count, rows: left(count, nowMs) }))
    for (const { what: { bank, model }, rows } of now) {
      if (rows < 1) this.#counts.delete(bank)
      sums.set(model, (sums.get(model) ?? 0) + rows)
    }
    return now.filter(({ rows }) => rows >= 1)
      .map(({ what, rows, sinceMs }) => ({ what, rows, share: rows / sums.get(what.model)!, askedMs: nowMs - sinceMs }))
      .sort((a, b) => b.rows - a.rows)
  }
}

function left ({ rows, atMs }: Count<unknown>, nowMs: number): number {
  return rows * 2 ** ((atMs - nowMs) / HALF_LIFE_MS)
}

export interface Situation<What extends Asked> {
  /** Hottest first. */
  heats: ReadonlyArray<Heat<What>>
  /** Banks that have a network of their own, and its bytes. */
  hot: ReadonlyMap<string, number>
  budgetBytes: number
  /** What a bank's own network is believed to take; Infinity for one that must not get any. */
  bytesOf (what: What): number
}

export interface Decision<What> {
  /** Banks that lose their network. */
  drop: string[]
  /** The one that gets one, when those are dropped. */
  build?: What
}

/** What is to change now: at most one bank is to be heated. */
export function decide<What extends Asked> (
  { heats, hot, budgetBytes, bytesOf }: Situation<What>
): Decision<What> {
  const rowsOf = new Map(heats.map(({ what, rows }) => [what.bank, rows]))
  const isCold = (bank: string) => {
    const heat = heats.find(({ what }) => what.bank === bank)
    return heat === undefined || heat.share < COLD_SHARE || heat.rows < COLD_ROWS
  }
  const drop = [...hot.keys()].filter(isCold)
  const kept = [...hot].filter(([bank]) => !drop.includes(bank))
    .sort(([a], [b]) => rowsOf.get(a)! - rowsOf.get(b)!)
  const used = kept.reduce((sum, [, bytes]) => sum + bytes, 0)
  for (const heat of heats) {
    const { what, share, rows, askedMs } = heat
    if (hot.has(what.bank) || share <= HOT_SHARE || rows < HOT_ROWS_MIN || askedMs < ASKED_MS_MIN) continue
    let missing = used + bytesOf(what) - budgetBytes
    const displaced: string[] = []
    for (const [other, bytes] of kept) {
      if (missing <= 0 || rowsOf.get(other)! * DISPLACING > rows) break
      displaced.push(other)
      missing -= bytes
    }
    if (missing <= 0) return { drop: [...drop, ...displaced], build: what }
  }
  return { drop }
}
