/**
 * What a compiled graph takes as input, and how it comes from folded pairs.
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
import type { BatchNormLayer } from './bank.js'
import type { FoldedPair } from './fold.js'

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

/** What an element is made of, by channel: the element itself, or what its weight is multiplied by. */
export function factorsOf ({ role, bias }: Port, { scale, shift }: FoldedPair): Float64Array {
  if (role !== 'shift') return scale
  return bias === undefined ? shift : shift.map((value, channel) => value + scale[channel]! * bias[channel]!)
}
