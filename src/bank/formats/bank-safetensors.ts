/** A bank as a safetensors file with PyTorch's names: what a state_dict has, what a version on disk is. */
import { alignedView, bytesOf } from '../../base/bytes.js'
import { mayBeConvolution } from '../convolution-weights.js'
import { bankErrors } from '../errors.js'
import { parsePreprocessingText, type BankFormat, type ParsedBank } from './format.js'
import {
  floatValues, looksLikeSafetensors, ownFile, parseSafetensors, serializeSafetensors, type TensorToWrite
} from './safetensors.js'
import { layersOfTensors, SUFFIX_OF } from './state-dict.js'
import type { Bank, BatchNormLayer, Statistic } from '../bank.js'

/** What a version's file says about itself. */
export const METADATA = {
  FORMAT: 'bankswitch.format',
  FINGERPRINT: 'bankswitch.fingerprint',
  SOURCE: 'bankswitch.source',
  /** JSON. */
  PREPROCESSING: 'bankswitch.preprocessing',
  /** Of a blend its parts: JSON, a list of domain, version, digest and hundredths. */
  BLEND: 'bankswitch.blend'
} as const

export const bankSafetensors: BankFormat = {
  name: 'safetensors',
  summary: 'a safetensors file with PyTorch names (<key>.running_mean, .running_var, .weight, .bias)',
  mediaTypes: ['application/octet-stream'],
  extensions: ['.safetensors'],
  probe: looksLikeSafetensors,
  parse: parseBankSafetensors
}

/**
 * Reads a bank from a file that holds at least the statistics; a whole state_dict will do. Throws what
 * `parseSafetensors`, `floatValues` and, for preprocessing in the metadata, `parsePreprocessingText` throw.
 */
export function parseBankSafetensors (file: Uint8Array, layers: readonly BatchNormLayer[]): ParsedBank {
  const { tensors, metadata } = parseSafetensors(file)
  const found = layersOfTensors(tensors, floatValues, layers)
  const fingerprint = metadata.get(METADATA.FINGERPRINT)
  const preprocessing = metadata.get(METADATA.PREPROCESSING)
  return {
    ...found,
    weights: found.ignored.flatMap((name) => {
      const { dtype, shape, bytes } = tensors.get(name)!
      return dtype === 'F32' && mayBeConvolution(shape) ? [{ name, shape, bytes }] : []
    }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    ...(preprocessing === undefined ? {} : { preprocessing: parsePreprocessingText(preprocessing) }),
    metadata
  }
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
