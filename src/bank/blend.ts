/** One bank for what lies between domains: the batch norm of a mixture of several. */
import type { Bank, BatchNormLayer, LayerStatistics, Statistic } from './bank.js'

export interface BlendPart {
  readonly bank: Bank
  /** Above 0; those of all parts sum to 1. */
  readonly weight: number
}

/**
 * The batch norm of inputs of which a share w_i comes from each part's domain, per layer and channel:
 *
 *   mean      Σ w_i mean_i
 *   variance  Σ w_i variance_i + Σ w_i (mean_i - mean)²      (law of total variance)
 *   gamma     Σ w_i gamma_i
 *   beta      Σ w_i beta_i
 *
 * The first two are the moments of the pooled inputs of that layer, exactly. They are summed in float64 as deviations
 * from the first part, so that no digits cancel, equal numbers stay what they are, bit for bit, and a part alone is its
 * bank; the result is rounded to float32 once.
 *
 * gamma and beta are what a batch norm does to x' = (x - mean) / sqrt(variance + epsilon), and mix as the affine maps
 * of x' that they are: Σ w_i (gamma_i x' + beta_i). Banks that share them keep them, as one would have who calibrates
 * on the pooled pictures. The other way is to mix the folded maps of x itself, y = Σ w_i (a_i x + b_i) with
 * a_i = gamma_i / sqrt(variance_i + epsilon), which asks for gamma = a sqrt(variance + epsilon) and beta = b + a mean.
 * Then the mixed moments cancel out: it is the mean of the parts' answers, layer by layer. With a shared gamma its a
 * is never smaller than ours, because 1 / sqrt is convex and the variance between the parts' means is missing, so it
 * would change a gamma that all parts share. The two agree where means and variances agree, and part with the distance
 * of the domains.
 *
 * Statistics of a deep layer belong to what its own domain's banks made of the layers above it, so below the first
 * layers a blend is an approximation. The order of the parts may change a result by a rounding. There is at least one
 * part; a variance may be beyond float32, and is infinite then.
 */
export function blendBanks (layers: readonly BatchNormLayer[], parts: readonly BlendPart[]): Bank {
  return new Map(layers.map(({ key, channels }) => [key, blendLayer(channels, parts.map(({ bank, weight }) => {
    return { layer: bank.get(key)!, weight }
  }))]))
}

interface LayerPart {
  layer: LayerStatistics
  weight: number
}

function blendLayer (channels: number, parts: readonly LayerPart[]): LayerStatistics {
  const blended = { mean: fresh(channels), variance: fresh(channels), gamma: fresh(channels), beta: fresh(channels) }
  for (let channel = 0; channel < channels; channel++) {
    const mean = weighted(parts, 'mean', channel)
    blended.mean[channel] = mean
    blended.gamma[channel] = weighted(parts, 'gamma', channel)
    blended.beta[channel] = weighted(parts, 'beta', channel)
    let between = 0
    for (const { layer, weight } of parts) between += weight * (layer.mean[channel]! - mean) ** 2
    const within = weighted(parts, 'variance', channel)
    blended.variance[channel] = between === 0 ? within : within + between
  }
  return blended
}

function fresh (channels: number): Float32Array {
  return new Float32Array(channels)
}

/** In float64. */
function weighted (parts: readonly LayerPart[], statistic: Statistic, channel: number): number {
  const first = parts[0]!.layer[statistic][channel]!
  let deviation = 0
  for (const { layer, weight } of parts) deviation += weight * (layer[statistic][channel]! - first)
  return deviation === 0 ? first : first + deviation
}
