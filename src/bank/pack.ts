/**
 * Fills a bank's ports from its folded pairs. A cold bank of a large model is a million elements, so the time of an
 * element counts: where the channels of a port repeat, as they do in blocked and in plain weights, elements of one
 * channel are written in one go, without looking up the channel of each.
 */
import { alignedFloats } from '../base/aligned-floats.js'
import { foldBank, pairsOf, type FoldedBank } from './fold.js'
import { FoldedRange } from './folded-range.js'
import { factorsOf, PADDING, type Port, type PortLayout } from './port.js'
import type { Bank } from './bank.js'

/** Elements from `start` to `end`, whose channels repeat every `period` elements; 0 when they do not. */
interface Strip {
  start: number
  end: number
  period: number
}

/** Multiples of LANES: plain weights have one channel in a row, blocked ones 8 or 16 side by side. */
const PERIODS = [4, 8, 16]

/** Elements written side by side. */
const LANES = 4

/** What a strip is worth having for. */
const STRIP_MIN = 64

export class Packer {
  readonly #layout: PortLayout
  readonly #strips: Strip[][]

  constructor (layout: PortLayout) {
    this.#layout = layout
    this.#strips = layout.ports.map(({ weights, channel }) => weights === undefined ? [] : stripsOf(channel))
  }

  /** Packs into `flat`, of `layout.length` float32 values, each rounded once from float64. */
  pack (folded: FoldedBank, flat: Float32Array): void {
    const { layers, ports } = this.#layout
    const pairs = pairsOf(layers, folded)
    for (const [at, port] of ports.entries()) {
      const factors = factorsOf(port, pairs.get(port.layerKey)!)
      const into = flat.subarray(port.offset, port.offset + port.channel.length)
      if (port.weights === undefined) packVector(into, port.channel, factors)
      else for (const strip of this.#strips[at]!) packWeights(into, port, factors, strip)
    }
  }
}

/** Folds and packs at once. Throws what `FoldedRange.require` throws. */
export function packBank (layout: PortLayout, bank: Bank, flat = alignedFloats(layout.length)): Float32Array {
  const folded = foldBank(layout.layers, bank)
  new FoldedRange(layout).require(folded)
  new Packer(layout).pack(folded, flat)
  return flat
}

function packVector (into: Float32Array, channel: Uint16Array, factors: Float64Array): void {
  for (let at = 0; at < into.length; at++) {
    const number = channel[at]!
    into[at] = number === PADDING ? 0 : factors[number]!
  }
}

function packWeights (
  into: Float32Array, { channel, weights }: Port, factors: Float64Array, { start, end, period }: Strip
): void {
  const factorAt = (at: number): number => channel[at] === PADDING ? 0 : factors[channel[at]!]!
  if (period === 0) {
    for (let at = start; at < end; at++) into[at] = weights![at]! * factorAt(at)
    return
  }
  for (let first = start; first < start + period; first += LANES) {
    // Variables, not an array, so that the loop reads nothing but weights.
    const a = factorAt(first)
    const b = factorAt(first + 1)
    const c = factorAt(first + 2)
    const d = factorAt(first + 3)
    for (let at = first; at < end; at += period) {
      into[at] = weights![at]! * a
      into[at + 1] = weights![at + 1]! * b
      into[at + 2] = weights![at + 2]! * c
      into[at + 3] = weights![at + 3]! * d
    }
  }
}

function stripsOf (channel: Uint16Array): Strip[] {
  const strips: Strip[] = []
  let start = 0
  while (start < channel.length) {
    const [best] = PERIODS.map((period) => stripFrom(channel, start, period)).sort((a, b) => b.end - a.end)
    const last = strips.at(-1)
    if (best!.end - start >= STRIP_MIN) strips.push(best!)
    else if (last?.period === 0) last.end++
    else strips.push({ start, end: start + 1, period: 0 })
    start = strips.at(-1)!.end
  }
  return strips
}

/** Whole periods only. */
function stripFrom (channel: Uint16Array, start: number, period: number): Strip {
  let end = start + period
  while (end < channel.length && channel[end] === channel[end - period]) end++
  return { start, end: start + Math.floor((Math.min(end, channel.length) - start) / period) * period, period }
}
