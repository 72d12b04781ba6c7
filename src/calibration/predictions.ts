/**
 * What the classifier makes of the images before and after: an alarm for label shift that needs no labels. Batch-norm
 * statistics absorb the mix of classes they were taken from, so images of one class make a bank for that class.
 */
import { openSession } from '../ort/session.js'
import { StatisticsGraph } from './statistics-graph.js'
import type { Bank } from '../bank/bank.js'
import type { Tensors } from '../ort/rows.js'

export interface PredictionDrift {
  /** Images that were looked at. */
  images: number
  /** Images per predicted class under the base bank, and under the new one. */
  before: number[]
  after: number[]
  /** Total variation distance between the two, 0 to 1. */
  distance: number
  /** exp(entropy) of the predictions after: how many classes there are in effect. */
  effectiveClasses: number
}

/** Looking at more would cost more than it tells. */
export const DRIFT_IMAGES_MAX = 256

export async function predictionDrift (
  model: Uint8Array, output: string, batches: readonly Tensors[], before: Bank, after: Bank
): Promise<PredictionDrift> {
  const sample: Tensors[] = []
  let images = 0
  for (const batch of batches) {
    if (images >= DRIFT_IMAGES_MAX) break
    sample.push(batch)
    images += Object.values(batch)[0]!.dims[0]!
  }
  const graph = new StatisticsGraph(model, new Set())
  const a = await classCounts(graph.plain(before), output, sample)
  const b = await classCounts(graph.plain(after), output, sample)
  return { images, before: a, after: b, distance: totalVariation(a, b), effectiveClasses: effectiveClasses(b) }
}

async function classCounts (model: Uint8Array, output: string, batches: readonly Tensors[]): Promise<number[]> {
  const session = await openSession(model, { optimization: 'all' })
  try {
    const counts: number[] = []
    for (const batch of batches) {
      const { dims, data } = (await session.run(batch, [output]))[output]!
      const classes = dims.at(-1) ?? 1
      while (counts.length < classes) counts.push(0)
      for (let row = 0; row * classes < data.length; row++) {
        const scores = (data as Float32Array).subarray(row * classes, (row + 1) * classes)
        const best = scores.indexOf(scores.reduce((most, score) => Math.max(most, score), -Infinity))
        // Scores that are no numbers are of no class.
        if (best >= 0) counts[best]!++
      }
    }
    return counts
  } finally {
    await session.release()
  }
}

/** Half the sum of the differences of shares. */
export function totalVariation (a: readonly number[], b: readonly number[]): number {
  const [sumA, sumB] = [a, b].map((counts) => counts.reduce((sum, count) => sum + count, 0)) as [number, number]
  if (sumA === 0 || sumB === 0) return 0
  return a.reduce((sum, count, at) => sum + Math.abs(count / sumA - b[at]! / sumB), 0) / 2
}

/** exp of the entropy of the shares. */
export function effectiveClasses (counts: readonly number[]): number {
  const sum = counts.reduce((total, count) => total + count, 0)
  const shares = counts.filter((count) => count > 0).map((count) => count / sum)
  return Math.exp(shares.reduce((entropy, share) => entropy - share * Math.log(share), 0))
}
