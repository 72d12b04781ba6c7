/** How far two banks of one network lie apart, layer by layer. */
import { bankErrors } from './errors.js'
import type { PartialLayer } from './bank.js'

export interface LayerDifference {
  layer: string
  channels: number
  /** Root mean square over channels of the distance of means in standard deviations (of the mean variance of both). */
  meanShift: number
  /** Geometric mean over channels of B's standard deviation over A's. */
  deviationRatio: number
  /** Mean over channels of the Bhattacharyya distance of the two normal distributions; 0 is equal. */
  distance: number
  /** The channel with the largest distance. */
  worstChannel: number
  /** Root mean square of the differences of gamma and beta, where both banks have them. */
  gammaShift?: number
  betaShift?: number
}

/** Added to every variance, as PyTorch's batch norm does: a dead channel is then near its like, not infinitely far. */
const EPSILON = 1e-5

/**
 * In the order of `a`. Throws BANK_EMPTY, BANK_LAYER_UNKNOWN and BANK_LAYER_MISSING when the banks have other layers,
 * BANK_STATISTIC_MISSING and BANK_LENGTH_MISMATCH, BANK_VALUE_INVALID for values that no bank may hold.
 */
export function bankDifference (
  a: ReadonlyMap<string, PartialLayer>, b: ReadonlyMap<string, PartialLayer>
): LayerDifference[] {
  if (a.size === 0) throw bankErrors.BANK_EMPTY('the first bank has no layers', { received: 0 })
  for (const key of b.keys()) {
    if (!a.has(key)) throw bankErrors.BANK_LAYER_UNKNOWN(`only the second bank has the layer "${key}"`, { layer: key })
  }
  return [...a].map(([layer, first]) => {
    const second = b.get(layer)
    if (second === undefined) {
      throw bankErrors.BANK_LAYER_MISSING(`only the first bank has the layer "${layer}"`, { layer })
    }
    return layerDifference(layer, first, second)
  })
}

function layerDifference (layer: string, a: PartialLayer, b: PartialLayer): LayerDifference {
  const [meanA, meanB] = [valuesOf(layer, a, 'mean'), valuesOf(layer, b, 'mean')]
  const [varianceA, varianceB] = [valuesOf(layer, a, 'variance'), valuesOf(layer, b, 'variance')]
  const channels = meanA.length
  const lengths = [channels, meanB.length, varianceA.length, varianceB.length]
  if (channels === 0 || lengths.some((length) => length !== channels)) {
    throw bankErrors.BANK_LENGTH_MISMATCH(`layer "${layer}" has arrays of different lengths`, {
      layer, received: lengths
    })
  }
  let [shift, ratio, distance, worst, worstChannel] = [0, 0, 0, -1, 0]
  for (let channel = 0; channel < channels; channel++) {
    const [p, q] = [varianceA[channel]! + EPSILON, varianceB[channel]! + EPSILON]
    const delta = meanA[channel]! - meanB[channel]!
    shift += delta * delta / ((p + q) / 2)
    ratio += Math.log(q / p) / 2
    const own = delta * delta / (4 * (p + q)) + Math.log((p + q) / (2 * Math.sqrt(p * q))) / 2
    distance += own
    if (own > worst) [worst, worstChannel] = [own, channel]
  }
  const gammaShift = rootMeanSquare(a.gamma, b.gamma)
  const betaShift = rootMeanSquare(a.beta, b.beta)
  return {
    layer,
    channels,
    meanShift: Math.sqrt(shift / channels),
    deviationRatio: Math.exp(ratio / channels),
    distance: Math.max(0, distance / channels),
    worstChannel,
    ...(gammaShift === undefined ? {} : { gammaShift }),
    ...(betaShift === undefined ? {} : { betaShift })
  }
}

function valuesOf (layer: string, partial: PartialLayer, statistic: 'mean' | 'variance'): Float64Array {
  const values = partial[statistic]
  if (values === undefined) {
    throw bankErrors.BANK_STATISTIC_MISSING(`layer "${layer}" has no ${statistic}`, { layer, expected: statistic })
  }
  const numbers = Float64Array.from(values)
  const wrong = numbers.findIndex((value) => !Number.isFinite(value) || (statistic === 'variance' && value < 0))
  if (wrong < 0) return numbers
  throw bankErrors.BANK_VALUE_INVALID(`${statistic} of layer "${layer}" is ${numbers[wrong]} in channel ${wrong}`, {
    layer, statistic, channel: wrong, received: String(numbers[wrong])
  })
}

function rootMeanSquare (a: ArrayLike<number> | undefined, b: ArrayLike<number> | undefined): number | undefined {
  if (a === undefined || b === undefined || a.length !== b.length || a.length === 0) return undefined
  const squares = Array.from(a, (value, at) => (value - b[at]!) ** 2)
  return Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / a.length)
}
