/** From raw statistics to the folded pairs that inference uses. */
import type { Bank, BatchNormLayer, LayerStatistics } from './bank.js'

/** y = x * scale + shift, per channel. */
export interface FoldedPair {
  scale: Float64Array
  shift: Float64Array
}

/** The folded pairs of all layers end to end, in the model's layer order: a layer's scales, then its shifts. */
export type FoldedBank = Float64Array

/**
 * Folds a layer: scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale, in float64
 * (Ioffe & Szegedy 2015, section 3.1, inference form).
 *
 * A channel with variance 0 is legal and gives gamma / sqrt(epsilon). Arrays have the layer's channel count; `into`
 * takes the result.
 */
export function foldLayer (
  layer: BatchNormLayer, { mean, variance, gamma, beta }: LayerStatistics,
  into: FoldedPair = { scale: new Float64Array(layer.channels), shift: new Float64Array(layer.channels) }
): FoldedPair {
  const { scale, shift } = into
  for (let channel = 0; channel < layer.channels; channel++) {
    const factor = gamma[channel]! / Math.sqrt(variance[channel]! + layer.epsilon)
    scale[channel] = factor
    shift[channel] = beta[channel]! - mean[channel]! * factor
  }
  return into
}

/** Float64 values of a folded bank. */
export function foldedLength (layers: readonly BatchNormLayer[]): number {
  return layers.reduce((sum, { channels }) => sum + 2 * channels, 0)
}

/** The pairs of each layer as views of the folded bank, by layer key. */
export function pairsOf (layers: readonly BatchNormLayer[], folded: FoldedBank): Map<string, FoldedPair> {
  const pairs = new Map<string, FoldedPair>()
  let at = 0
  for (const { key, channels } of layers) {
    const [middle, end] = [at + channels, at + 2 * channels]
    pairs.set(key, { scale: folded.subarray(at, middle), shift: folded.subarray(middle, end) })
    at = end
  }
  return pairs
}

/** Folds every layer into `folded`, of `foldedLength(layers)` values. */
export function foldBank (
  layers: readonly BatchNormLayer[], bank: Bank, folded: FoldedBank = new Float64Array(foldedLength(layers))
): FoldedBank {
  const pairs = pairsOf(layers, folded)
  for (const layer of layers) foldLayer(layer, bank.get(layer.key)!, pairs.get(layer.key)!)
  return folded
}
