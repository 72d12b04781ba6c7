/** A bank as a safetensors file with PyTorch's names: what a state_dict has, what a version on disk is. */
import { alignedView, bytesOf } from '../../base/bytes.js'
import { bankErrors } from '../errors.js'
import { floatValues, ownFile, parseSafetensors, serializeSafetensors, type TensorToWrite } from './safetensors.js'
import type { Bank, BatchNormLayer, PartialLayer, Statistic } from '../bank.js'

const SUFFIX_OF: Readonly<Record<Statistic, string>> = {
  mean: 'running_mean', variance: 'running_var', gamma: 'weight', beta: 'bias'
}

/** Prefixes that training wrappers put before every key (DataParallel, Lightning, torch.compile, detection heads). */
const WRAPPER_PREFIXES = ['module.', 'model.', '_orig_mod.', 'backbone.']
const WRAPPERS_MAX = 4

export interface ParsedBank {
  layers: Map<string, PartialLayer>
  /** Tensors that are no statistics of a batch norm: weights, counters. */
  ignored: string[]
  metadata: Map<string, string>
}

/**
 * Reads a bank from a file that holds at least the statistics; a whole state_dict will do.
 *
 * A layer is whatever has a running_mean or running_var, known to the model or not, so that a bank of another model is
 * told by its keys instead of being ignored. Throws what `parseSafetensors` and `floatValues` throw.
 */
export function parseBankSafetensors (file: Uint8Array, layers: readonly BatchNormLayer[]): ParsedBank {
  const { tensors, metadata } = parseSafetensors(file)
  const prefix = wrapperPrefix([...tensors.keys()], layers)
  const keys = new Set(layers.map(({ key }) => key))
  for (const name of tensors.keys()) {
    const split = splitName(name, prefix)
    if (split !== undefined && (split.statistic === 'mean' || split.statistic === 'variance')) keys.add(split.key)
  }
  const parsed: ParsedBank = { layers: new Map(), ignored: [], metadata }
  for (const [name, tensor] of tensors) {
    const split = splitName(name, prefix)
    if (split === undefined || !keys.has(split.key)) {
      parsed.ignored.push(name)
      continue
    }
    const layer = parsed.layers.get(split.key) ?? {}
    layer[split.statistic] = floatValues(name, tensor)
    parsed.layers.set(split.key, layer)
  }
  return parsed
}

/**
 * The bank of a file that `serializeBankSafetensors` wrote and whose digest the caller has checked: what was right when
 * it was written is not checked again. Arrays are views of the file where its alignment allows. Throws
 * BANK_LAYER_MISSING when the file is not of these layers.
 */
export function readOwnBank (file: Uint8Array, layers: readonly BatchNormLayer[]): Bank {
  const { header, body } = ownFile(file)
  const take = (layer: BatchNormLayer, statistic: Statistic): Float32Array => {
    const entry = header[`${layer.key}.${SUFFIX_OF[statistic]}`]
    if (entry?.dtype !== 'F32' || entry.shape[0] !== layer.channels) {
      throw bankErrors.BANK_LAYER_MISSING(`the bank lacks the ${statistic} of layer "${layer.key}"`, {
        layer: layer.key, expected: layer.channels, received: entry?.shape[0] ?? 0
      })
    }
    return alignedView(body.subarray(...entry.data_offsets), Float32Array)
  }
  return new Map(layers.map((layer) => [layer.key, {
    mean: take(layer, 'mean'),
    variance: take(layer, 'variance'),
    gamma: take(layer, 'gamma'),
    beta: take(layer, 'beta')
  }]))
}

function splitName (name: string, prefix: string): { key: string, statistic: Statistic } | undefined {
  if (!name.startsWith(prefix)) return undefined
  for (const [statistic, suffix] of Object.entries(SUFFIX_OF) as Array<[Statistic, string]>) {
    if (name.endsWith(`.${suffix}`)) return { key: name.slice(prefix.length, -suffix.length - 1), statistic }
  }
  return undefined
}

/** The wrapper prefixes, one within the other, under which the file has the model's layers, or none. */
function wrapperPrefix (names: readonly string[], layers: readonly BatchNormLayer[]): string {
  const have = new Set(names)
  const covers = (prefix: string) => layers.some(({ key }) => have.has(`${prefix}${key}.${SUFFIX_OF.mean}`))
  const stackedIn = (name: string, depth = WRAPPERS_MAX): string => {
    const outer = depth === 0 ? undefined : WRAPPER_PREFIXES.find((prefix) => name.startsWith(prefix))
    return outer === undefined ? '' : outer + stackedIn(name.slice(outer.length), depth - 1)
  }
  if (covers('')) return ''
  // A layer's own key may begin like a wrapper, so that every stack of them is a candidate, the longest last.
  const stack = names.map((name) => stackedIn(name)).reduce((a, b) => b.length > a.length ? b : a, '')
  const candidates = [...stack.matchAll(/\./g)].map(({ index }) => stack.slice(0, index + 1))
  return candidates.find(covers) ?? ''
}

/** The bank as a safetensors file, all four statistics of every layer in float32, and what else is to lie in it. */
export function serializeBankSafetensors (
  bank: Bank, metadata: ReadonlyMap<string, string>, others: readonly TensorToWrite[] = []
): Uint8Array<ArrayBuffer> {
  const tensors = [...others]
  for (const [key, layer] of bank) {
    for (const [statistic, suffix] of Object.entries(SUFFIX_OF) as Array<[Statistic, string]>) {
      const values = layer[statistic]
      tensors.push({ name: `${key}.${suffix}`, dtype: 'F32', shape: [values.length], bytes: bytesOf(values) })
    }
  }
  return serializeSafetensors(tensors, metadata)
}
