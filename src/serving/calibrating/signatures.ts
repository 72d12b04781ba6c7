/** What a calibration needs to make a signature by the way, and what of an old file goes on into the new one. */
import { isDeepStrictEqual } from 'node:util'
import { STATISTICS, type BatchNormLayer } from '../../bank/bank.js'
import { METADATA } from '../../bank/formats/bank-safetensors.js'
import { parseSafetensors, type TensorToWrite } from '../../bank/formats/safetensors.js'
import { SUFFIX_OF } from '../../bank/formats/state-dict.js'
import { inputShape, type Preprocessing } from '../../models/preprocessing.js'
import { preparationOf, rulesAt } from '../../models/signature-preparation.js'
import { isSignatureMetadata, isSignatureTensor, parseSignatures, SIGNATURES_MAX } from '../../signature/file-parts.js'
import type { CalibrationRequest } from '../../calibration/calibration-thread.js'
import type { CalibrationOptions } from '../../calibration/options.js'
import type { Artefact } from '../../compiler/artefact.js'
import type { ModelEntry } from '../../models/repository.js'
import type { Signature } from '../../signature/signature.js'
import type { FileExtras } from '../changing/administration.js'

interface KeptParts {
  others: FileExtras
  signatures: readonly Signature[]
}

export const NO_PARTS: KeptParts = { others: { tensors: [], metadata: [] }, signatures: [] }

/** What a version's file holds besides its bank: sums, and signatures. Throws SIGNATURE_INVALID. */
export function partsKept (file: Uint8Array, layers: readonly BatchNormLayer[]): KeptParts {
  const parsed = parseSafetensors(file)
  const ofBank = new Set(layers.flatMap(({ key }) => STATISTICS.map((statistic) => `${key}.${SUFFIX_OF[statistic]}`)))
  const told: readonly string[] = Object.values(METADATA)
  return {
    others: {
      tensors: [...parsed.tensors].filter(([name]) => !ofBank.has(name) && !isSignatureTensor(name))
        .map(([name, { dtype, shape, bytes }]) => ({ name, dtype: dtype as TensorToWrite['dtype'], shape, bytes })),
      metadata: [...parsed.metadata].filter(([key]) => !told.includes(key) && !isSignatureMetadata(key))
    },
    signatures: parseSignatures(parsed)
  }
}

/** The new signature in the place of one that was made of pictures prepared alike; the oldest goes for want of room. */
export function withSignature (kept: readonly Signature[], made: Signature): Signature[] {
  const others = kept.filter(({ origin }) => {
    return origin.stem === made.origin.stem && origin.preparation !== made.origin.preparation
  })
  return [...others, made].slice(-SIGNATURES_MAX)
}

/**
 * `rules` prepare the domain's pictures. Nothing where they differ from those that pictures are looked at with in more
 * than their size: then mode `signature` makes one, which looks at them so.
 */
export function signatureRequest (
  { manifest }: ModelEntry, { stem, stemPath }: Artefact, kind: 'pictures' | 'tensors',
  rules: Preprocessing | undefined, { mode, signatureSize }: CalibrationOptions
): Pick<CalibrationRequest, 'signature'> {
  if (stem === undefined || stem.inputs.length > 1) return {}
  const [input] = stem.inputs as [string]
  const [width, height] = signatureSize?.split('x').map(Number) ?? []
  const size = width === undefined || height === undefined ? rules?.size : { width, height }
  const common = {
    stemPath, input, output: stem.output, origin: { stem: stem.digest, preparation: preparationOf(manifest, size) }
  }
  if (manifest.task === 'tensors') return { signature: common }
  if (manifest.task === 'image-to-image') {
    return { signature: { ...common, pictures: { middle: manifest.tiling, colour: manifest.input } } }
  }
  const looked = rulesAt(manifest, size!)
  if (mode !== 'signature' && !isDeepStrictEqual(looked, rules)) return {}
  const images = kind === 'pictures' ? { pictures: { rules: looked } } : { shape: inputShape(looked) }
  return { signature: { ...common, ...images } }
}
