/** From raw statistics to the folded pair that inference uses. */
import type { BatchNormLayer, LayerStatistics } from './bank.js'

/** y = x * scale + shift, per channel. */
export interface FoldedPair {
  scale: Float64Array
  shift: Float64Array
}

/**
 * Folds a layer: scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale, in float64
 * (Ioffe & Szegedy 2015, section 3.1, inference form).
 *
 * A channel with variance 0 is legal and gives gamma / sqrt(epsilon). Arrays have the layer's channel count.
 */
export function foldLayer (layer: BatchNormLayer, statistics: LayerStatistics): FoldedPair {
  const { mean, variance, gamma, beta } = statistics
  const scale = new Float64Array(layer.channels)
  const shift = new Float64Array(layer.channels)
  for (let channel = 0; channel < layer.channels; channel++) {
    const factor = gamma[channel]! / Math.sqrt(variance[channel]! + layer.epsilon)
    scale[channel] = factor
    shift[channel] = beta[channel]! - mean[channel]! * factor
  }
  return { scale, shift }
}
