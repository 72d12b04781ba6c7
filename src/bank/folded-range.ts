/** Does a folded bank stay within float32 in every port? Asked by channel, not by element. */
import { bankErrors } from './errors.js'
import { pairsOf, type FoldedBank } from './fold.js'
import { factorsOf, PADDING, type Port, type PortLayout } from './port.js'

/** By channel: the largest absolute weight, 1 where a port has no weights, NONE where it does not read the channel. */
type Peaks = Float32Array

const NONE = -1

export class FoldedRange {
  readonly #layout: PortLayout
  readonly #peaks: Peaks[]

  constructor (layout: PortLayout) {
    this.#layout = layout
    const channels = new Map(layout.layers.map((layer) => [layer.key, layer.channels]))
    this.#peaks = layout.ports.map((port) => peaksOf(port, channels.get(port.layerKey)!))
  }

  /**
   * Throws BANK_VALUE_INVALID when an element would leave float32, although the statistics were finite: a gamma near
   * the type's limit, or a variance near zero under an epsilon near zero.
   */
  require (folded: FoldedBank): void {
    const pairs = pairsOf(this.#layout.layers, folded)
    for (const [at, port] of this.#layout.ports.entries()) {
      const channel = channelBeyond(factorsOf(port, pairs.get(port.layerKey)!), this.#peaks[at]!)
      if (channel >= 0) throw overflow(port, channel)
    }
  }
}

function peaksOf ({ channel, weights }: Port, channels: number): Peaks {
  const peaks = new Float32Array(channels).fill(NONE)
  for (let at = 0; at < channel.length; at++) {
    const number = channel[at]!
    if (number === PADDING) continue
    const size = weights === undefined ? 1 : Math.abs(weights[at]!)
    if (size > peaks[number]!) peaks[number] = size
  }
  return peaks
}

/** The first channel that leaves float32, or -1. Rounding is monotone: what the largest weight survives, others do. */
function channelBeyond (factors: Float64Array, peaks: Peaks): number {
  for (let channel = 0; channel < peaks.length; channel++) {
    if (peaks[channel] !== NONE && !Number.isFinite(Math.fround(factors[channel]! * peaks[channel]!))) return channel
  }
  return -1
}

function overflow ({ layerKey, role }: Port, channel: number): Error {
  return bankErrors.BANK_VALUE_INVALID(
    `the statistics of layer "${layerKey}" give a ${role} beyond float32 in channel ${channel}`,
    { layer: layerKey, channel, expected: 'a folded pair within float32', received: 'an overflow' }
  )
}
