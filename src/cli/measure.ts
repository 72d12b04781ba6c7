/** Interleaved timing: every contender runs once per round, so that a noisy neighbour hits all alike. */

export interface Contender {
  name: string
  run (): Promise<unknown>
}

export interface Timing {
  name: string
  medianMs: number
  /** Half the distance between the quartiles, as a share of the median. */
  spread: number
  /** Median over the rounds of this contender's time over the first one's in the same round. */
  ratio: number
  /** Of the single rounds. */
  times: number[]
}

/** The first contender is the baseline. The first `warmUp` rounds do not count. */
export async function measure (contenders: readonly Contender[], rounds: number, warmUp = 5): Promise<Timing[]> {
  const times = contenders.map((): number[] => [])
  for (let round = 0; round < rounds + warmUp; round++) {
    // Alternate the order, so that no one always runs on the caches that another has warmed.
    const order = round % 2 === 0 ? contenders.keys() : [...contenders.keys()].reverse()
    for (const at of order) {
      const begin = performance.now()
      await contenders[at]!.run()
      if (round >= warmUp) times[at]!.push(performance.now() - begin)
    }
  }
  return summarise(contenders.map(({ name }) => name), times)
}

/** Several measurements of the same contenders as one of all their rounds. */
export function joined (parts: readonly Timing[][]): Timing[] {
  const [first = []] = parts
  return summarise(first.map(({ name }) => name), first.map((_, at) => parts.flatMap((part) => part[at]!.times)))
}

function summarise (names: readonly string[], times: readonly number[][]): Timing[] {
  return names.map((name, at) => {
    const own = times[at]!
    const median = quantile(own, 0.5)
    return {
      name,
      medianMs: median,
      spread: (quantile(own, 0.75) - quantile(own, 0.25)) / 2 / median,
      ratio: quantile(own.map((ms, round) => ms / times[0]![round]!), 0.5),
      times: own
    }
  })
}

/** Of the single rounds: a contender's time over the baseline's in the same round. */
export function ratiosTo (baseline: Timing, { times }: Timing): number[] {
  return times.map((ms, round) => ms / baseline.times[round]!)
}

export function quantile (values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}

/** A table in Markdown; numbers come formatted. */
export function markdownTable (header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  return [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
