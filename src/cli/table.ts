/** A table for a terminal: columns of text to the left, of numbers to the right. */
export function textTable (header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const widths = header.map((title, column) => {
    return rows.reduce((widest, row) => Math.max(widest, row[column]!.length), title.length)
  })
  const isNumeric = header.map((_, column) => rows.every((row) => /^[\d.,+-]*( ?[a-z%]+)?$/i.test(row[column]!)))
  return [header, ...rows].map((row) => row.map((cell, column) => {
    return isNumeric[column] === true ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
  }).join('  ').trimEnd()).join('\n')
}

/** A fold budget; JSON has no infinity. */
export function budgetText (foldBudget: number): number | string {
  return Number.isFinite(foldBudget) ? foldBudget : 'infinite'
}
