/** Logits -> labelled predictions. */
import { bestIndices } from '../base/best-indices.js'
import { finish } from '../base/slices.js'
import { modelErrors } from './errors.js'

export interface Prediction {
  index: number
  label: string
  score: number
}

export type Activation = 'softmax' | 'sigmoid' | 'none'

/**
 * The `top` classes of one row by descending score, ties by ascending index. Scores are computed in float64; softmax
 * subtracts the largest logit first, so that no exponential overflows. Throws OUTPUT_NOT_FINITE when a score is
 * NaN or infinite, for which there is neither an order nor JSON.
 */
export function topPredictions (
  logits: ArrayLike<number>, labels: readonly string[], activation: Activation, top: number
): Prediction[] {
  const scores = activate(Float64Array.from(logits), activation)
  const bad = scores.find((score) => !Number.isFinite(score))
  if (bad !== undefined) {
    throw modelErrors.OUTPUT_NOT_FINITE('the model has no finite scores for this input under this bank', {
      expected: 'finite scores', received: String(bad)
    })
  }
  return Array.from(finish(bestIndices(scores, top)), (index) => {
    return { index, label: labels[index] ?? String(index), score: scores[index]! }
  })
}

/**
 * How undecided the scores of one row are, in nats: of `softmax` -Σ p ln p, of `sigmoid`, whose classes are
 * independent, the sum of each one's; undefined for `none`, whose scores need be no probabilities.
 */
export function entropyOf (logits: ArrayLike<number>, activation: Activation): number | undefined {
  if (activation === 'none') return undefined
  const scores = activate(Float64Array.from(logits), activation)
  const surprise = (p: number) => p > 0 ? -p * Math.log(p) : 0
  return scores.reduce((sum, p) => sum + surprise(p) + (activation === 'sigmoid' ? surprise(1 - p) : 0), 0)
}

function activate (logits: Float64Array, activation: Activation): Float64Array {
  if (activation === 'none') return logits
  if (activation === 'sigmoid') return logits.map((logit) => 1 / (1 + Math.exp(-logit)))
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity)
  const exponentials = logits.map((logit) => Math.exp(logit - largest))
  const sum = exponentials.reduce((a, b) => a + b, 0)
  return exponentials.map((value) => value / sum)
}
