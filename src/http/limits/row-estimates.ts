/** How many rows a body will turn out to hold, judged by its length and by the bodies before it: only ever a guess. */

/** Weight of the newest body in the moving average. */
const SMOOTHING = 0.1

export class RowEstimates {
  readonly #bytesPerRow = new Map<string, number>()

  /** What an answered request of a model was like. */
  observe (model: string, bytes: number, rows: number): void {
    const now = bytes / rows
    const before = this.#bytesPerRow.get(model) ?? now
    this.#bytesPerRow.set(model, before + SMOOTHING * (now - before))
  }

  /** At least 1. `bytes` is NaN or 0 when the client does not tell. */
  rowsOf (model: string, bytes: number): number {
    return Math.max(1, Math.round(bytes / this.#bytesPerRow.get(model)!) || 1)
  }
}
