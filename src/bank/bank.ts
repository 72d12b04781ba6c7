/**
 * A bank: the batch-norm statistics of one domain for one model.
 *
 * Invariants of a Bank value: it has exactly the layers of its model, every array has its layer's channel count, every
 * number is finite, and no variance is negative. `completeBank` is the only way to make one from outside data.
 */
import { sha256 } from '../base/digest.js'
import { bankErrors } from './errors.js'

/** A batch-norm layer of a model, as far as a bank must know it. */
export interface BatchNormLayer {
  /** PyTorch-style module path, or the node's name; unique in the model. */
  readonly key: string
  readonly channels: number
  /** The value added to the variance inside the root (float32, widened). */
  readonly epsilon: number
}

export const STATISTICS = ['mean', 'variance', 'gamma', 'beta'] as const
export type Statistic = typeof STATISTICS[number]

/** Raw statistics of one layer, each of length `channels`. */
export type LayerStatistics = Readonly<Record<Statistic, Float32Array>>

/** Layer key -> statistics, in the model's layer order. */
export type Bank = ReadonlyMap<string, LayerStatistics>

/** What a file or request gives for one layer before it is checked. */
export type PartialLayer = Partial<Record<Statistic, ArrayLike<number>>>

/**
 * Checks outside data against the model's layers and completes it: a missing gamma or beta comes from `base`.
 *
 * Values are stored as float32. Throws, naming the layer, what was expected and what was received:
 * BANK_EMPTY, BANK_LAYER_UNKNOWN (the first unknown key), BANK_LAYER_MISSING, BANK_STATISTIC_MISSING (mean or
 * variance), BANK_LENGTH_MISMATCH, BANK_VALUE_INVALID (NaN, infinite or beyond float32, negative variance).
 */
export function completeBank (
  layers: readonly BatchNormLayer[], given: ReadonlyMap<string, PartialLayer>, base: Bank
): Bank {
  const keys = new Set(layers.map(({ key }) => key))
  if (given.size === 0) throw bankErrors.BANK_EMPTY('the bank has no layers', { expected: layers.length, received: 0 })
  for (const key of given.keys()) {
    if (!keys.has(key)) {
      throw bankErrors.BANK_LAYER_UNKNOWN(`the model has no batch norm "${shortened(key)}"`, {
        layer: shortened(key), expected: someOf(keys), received: shortened(key)
      })
    }
  }
  const bank = new Map<string, LayerStatistics>()
  // In one piece: the garbage collector looks at every buffer, however small.
  const memory = new Float32Array(STATISTICS.length * layers.reduce((sum, { channels }) => sum + channels, 0))
  let at = 0
  const room: Room = (values) => {
    at += values
    return memory.subarray(at - values, at)
  }
  for (const layer of layers) {
    const partial = given.get(layer.key)
    if (partial === undefined) {
      throw bankErrors.BANK_LAYER_MISSING(`the bank lacks the layer "${layer.key}"`, {
        layer: layer.key, expected: layers.length, received: given.size
      })
    }
    bank.set(layer.key, completeLayer(layer, partial, base.get(layer.key), room))
  }
  return bank
}

/** Memory for so many values. */
type Room = (values: number) => Float32Array

function completeLayer (
  layer: BatchNormLayer, partial: PartialLayer, base: LayerStatistics | undefined, room: Room
): LayerStatistics {
  const take = (statistic: Statistic): Float32Array => {
    const values = partial[statistic] ?? (statistic === 'gamma' || statistic === 'beta' ? base?.[statistic] : undefined)
    if (values === undefined) {
      throw bankErrors.BANK_STATISTIC_MISSING(`layer "${layer.key}" has no ${statistic}`, {
        layer: layer.key, expected: 'mean and variance', received: Object.keys(partial)
      })
    }
    return checkedValues(layer, statistic, values, room)
  }
  return { mean: take('mean'), variance: take('variance'), gamma: take('gamma'), beta: take('beta') }
}

function checkedValues (
  layer: BatchNormLayer, statistic: Statistic, values: ArrayLike<number>, room: Room
): Float32Array {
  if (values.length !== layer.channels) {
    throw bankErrors.BANK_LENGTH_MISMATCH(
      `${statistic} of layer "${layer.key}" has ${values.length} values instead of ${layer.channels}`,
      { layer: layer.key, statistic, expected: layer.channels, received: values.length }
    )
  }
  const narrowed = room(values.length)
  narrowed.set(values)
  for (let channel = 0; channel < narrowed.length; channel++) {
    // The sign is asked of the number as given: a tiny negative one is -0 in float32.
    if (Number.isFinite(narrowed[channel]) && !(statistic === 'variance' && values[channel]! < 0)) continue
    throw bankErrors.BANK_VALUE_INVALID(
      `${statistic} of layer "${layer.key}" is ${values[channel]} in channel ${channel}`,
      {
        layer: layer.key,
        statistic,
        channel,
        expected: statistic === 'variance' ? 'a finite float32 number, zero or above' : 'a finite float32 number',
        received: String(values[channel])
      }
    )
  }
  return narrowed
}

/**
 * Content hash of a bank: the same numbers give the same digest, whatever file or request they came from.
 * Layer order, keys and float32 bit patterns count; negative zero differs from zero.
 */
export function bankDigest (bank: Bank): string {
  const parts: Array<string | Uint8Array> = []
  for (const [key, layer] of bank) {
    parts.push(`${JSON.stringify(key)}:${layer.mean.length}\n`)
    for (const statistic of STATISTICS) {
      const { buffer, byteOffset, byteLength } = layer[statistic]
      parts.push(new Uint8Array(buffer, byteOffset, byteLength))
    }
  }
  return sha256(...parts)
}

function shortened (text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

function someOf (keys: ReadonlySet<string>): string[] {
  const first = [...keys].slice(0, 20)
  return keys.size > first.length ? [...first, `… ${keys.size} in all`] : first
}
