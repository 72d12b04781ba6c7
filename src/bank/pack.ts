/**
 * The flat form of a bank that a compiled graph takes as input.
 *
 * A port is a tensor slot of the compiled graph. Its elements are a pure function of one layer's folded pair; `channel`
 * says which channel each element belongs to, in whatever order and padding the optimised graph wants them:
 *
 *   scale   element = scale[channel]
 *   shift   element = shift[channel] + scale[channel] * bias[channel]      (bias of the folded Conv, else 0)
 *   weight  element = weights[element] * scale[channel]                     (weights of the folded Conv)
 *
 * All ports of a bank lie end to end in one float32 array; the graph sees slices of it.
 */
import { bankErrors } from './errors.js'
import { foldLayer } from './fold.js'
import type { Bank, BatchNormLayer } from './bank.js'

/** The channel number of padding, whose element is always 0. */
export const PADDING = 0xffff

export type PortRole = 'scale' | 'shift' | 'weight'

export interface Port {
  readonly layerKey: string
  readonly role: PortRole
  /** Where the port's elements begin in the flat bank. */
  readonly offset: number
  /** Channel of each element, or PADDING. */
  readonly channel: Uint16Array
  /** Role `weight`: the Conv's own weights in the port's order (0 where padded). */
  readonly weights?: Float32Array
  /** Role `shift` of a folded Conv with a bias: that bias per channel. */
  readonly bias?: Float32Array
}

export interface PortLayout {
  readonly layers: readonly BatchNormLayer[]
  readonly ports: readonly Port[]
  /** Length of the flat bank in float32 elements. */
  readonly length: number
}

/**
 * Packs a bank for a compiled graph into `flat`, of `layout.length` float32 values, each rounded once from float64.
 *
 * Throws BANK_VALUE_INVALID when a folded value leaves float32, although the statistics were finite: a gamma near the
 * type's limit, or a variance near zero under an epsilon near zero.
 */
export function packBank<Flat extends Float32Array = Float32Array<ArrayBuffer>> (
  layout: PortLayout, bank: Bank, flat = new Float32Array(layout.length) as Flat
): Flat {
  const pairs = new Map(layout.layers.map((layer) => [layer.key, foldLayer(layer, bank.get(layer.key)!)]))
  for (const port of layout.ports) {
    const { scale, shift } = pairs.get(port.layerKey)!
    const into = flat.subarray(port.offset, port.offset + port.channel.length)
    const isFinite = port.role === 'weight'
      ? packWeights(into, port.channel, port.weights!, scale)
      : packVector(into, port.channel, vectorOf(port, scale, shift))
    if (!isFinite) throw overflow(port, into.findIndex((value) => !Number.isFinite(value)))
  }
  return flat
}

function vectorOf ({ role, bias }: Port, scale: Float64Array, shift: Float64Array): Float64Array {
  if (role === 'scale') return scale
  return bias === undefined ? shift : biasedShift(shift, scale, bias)
}

function overflow ({ layerKey, role, channel }: Port, at: number): Error {
  return bankErrors.BANK_VALUE_INVALID(
    `the statistics of layer "${layerKey}" give a ${role} beyond float32 in channel ${channel[at]}`,
    { layer: layerKey, channel: channel[at], expected: 'a folded pair within float32', received: 'an overflow' }
  )
}

/** Both tell whether all elements are finite: infinity and NaN times 0 are NaN, everything else is 0. */
function packVector (into: Float32Array, channel: Uint16Array, values: Float64Array): boolean {
  let zero = 0
  for (let at = 0; at < into.length; at++) {
    const number = channel[at]!
    into[at] = number === PADDING ? 0 : values[number]!
    zero += into[at]! * 0
  }
  return zero === 0
}

function packWeights (into: Float32Array, channel: Uint16Array, weights: Float32Array, scale: Float64Array): boolean {
  let zero = 0
  for (let at = 0; at < into.length; at++) {
    const number = channel[at]!
    into[at] = number === PADDING ? 0 : weights[at]! * scale[number]!
    zero += into[at]! * 0
  }
  return zero === 0
}

function biasedShift (shift: Float64Array, scale: Float64Array, bias: Float32Array): Float64Array {
  return shift.map((value, channel) => value + scale[channel]! * bias[channel]!)
}
