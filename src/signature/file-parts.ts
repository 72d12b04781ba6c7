/**
 * Signatures in a bank's file: the float64 tensors `bankswitch.signature.<n>.mean`, `.covariance` and `.scores`, and
 * the metadata `bankswitch.signatures`, which tells the origin and images of each. Servers that know none pass them
 * over.
 *
 * Several lie in one file where a domain's images come in several sizes. A domain in a file from outside may hold
 * anything: sizes are checked before something is allocated.
 */
import { bytesOf } from '../base/bytes.js'
import { BankswitchError } from '../base/errors.js'
import { parseStrictJson, type JsonValue } from '../base/strict-json.js'
import { floatValues, type SafetensorsFile, type TensorToWrite } from '../bank/formats/safetensors.js'
import { signatureErrors } from './errors.js'
import { CHANNELS_MAX } from './features.js'
import { IMAGES_MAX, IMAGES_MIN, SCORES_MAX, signatureOf, type Signature } from './signature.js'
import { packedLength } from './symmetric.js'

const METADATA_KEY = 'bankswitch.signatures'
const PREFIX = 'bankswitch.signature.'
const PARTS = ['mean', 'covariance', 'scores'] as const

/** Signatures that a version has at most: sizes that its images come in. */
export const SIGNATURES_MAX = 4
const TEXT_MAX = 1000
const DEPTH_MAX = 2
const FEATURES_MAX = 2 * CHANNELS_MAX

/** What a bank's file gets besides the bank. */
export function signatureParts (signatures: readonly Signature[]): {
  tensors: TensorToWrite[], metadata: Array<[string, string]>
} {
  if (signatures.length === 0) return { tensors: [], metadata: [] }
  const tensors = signatures.flatMap((signature, at) => PARTS.map((part): TensorToWrite => ({
    name: `${PREFIX}${at}.${part}`, dtype: 'F64', shape: [signature[part].length], bytes: bytesOf(signature[part])
  })))
  const told = signatures.map(({ origin: { stem, preparation }, images }) => ({ stem, preparation, images }))
  return { tensors, metadata: [[METADATA_KEY, JSON.stringify(told)]] }
}

/** True for the name of a tensor that belongs to a signature. */
export function isSignatureTensor (name: string): boolean {
  return name.startsWith(PREFIX)
}

export function isSignatureMetadata (key: string): boolean {
  return key === METADATA_KEY
}

/** Whether a file with this metadata holds any. */
export function hasSignatures (metadata: ReadonlyMap<string, string>): boolean {
  return metadata.has(METADATA_KEY)
}

/** None for a file without any. Throws SIGNATURE_INVALID telling what is wrong with one. */
export function parseSignatures ({ tensors, metadata }: SafetensorsFile): Signature[] {
  const text = metadata.get(METADATA_KEY)
  if (text === undefined) return []
  const told = toldOf(text)
  return told.map(({ stem, preparation, images }, at) => {
    const [mean, covariance, scores] = PARTS.map((part) => {
      const name = `${PREFIX}${at}.${part}`
      const tensor = tensors.get(name)
      if (tensor?.dtype !== 'F64' || tensor.shape.length !== 1) throw invalid(`its tensor "${name}" is missing`)
      if (tensor.shape[0]! > packedLength(FEATURES_MAX)) throw invalid(`its tensor "${name}" is too long`)
      const values = Float64Array.from(floatValues(name, tensor))
      if (!values.every(Number.isFinite)) throw invalid(`its tensor "${name}" holds what is no number`)
      return values
    }) as [Float64Array, Float64Array, Float64Array]
    const features = mean.length
    const isOfPairs = features > 0 && features % 2 === 0 && features <= FEATURES_MAX
    if (!isOfPairs || covariance.length !== packedLength(features)) {
      throw invalid('its mean and covariance do not belong together', packedLength(features), covariance.length)
    }
    const isRising = scores.every((score, at) => score >= (scores[at - 1] ?? 0))
    if (scores.length < IMAGES_MIN || scores.length > Math.min(SCORES_MAX, images) || !isRising) {
      throw invalid('its held-back scores are no rising row', `${IMAGES_MIN} to ${SCORES_MAX}`, scores.length)
    }
    return signatureOf({ origin: { stem, preparation }, images, mean, covariance, scores })
  })
}

interface Told { stem: string, preparation: string, images: number }

function toldOf (text: string): Told[] {
  let parsed: JsonValue
  try {
    parsed = parseStrictJson(Buffer.from(text), { depthMax: DEPTH_MAX })
  } catch (cause) {
    if (!(cause instanceof BankswitchError)) throw cause
    throw invalid('its description is no JSON')
  }
  if (!Array.isArray(parsed) || parsed.length > SIGNATURES_MAX) throw invalid('its description is no short list')
  return parsed.map((entry) => {
    const { stem, preparation, images } = (entry ?? {}) as Partial<Record<keyof Told, JsonValue>>
    if (!isShort(stem) || !isShort(preparation)) throw invalid('its description does not tell where it is from')
    if (!Number.isSafeInteger(images) || (images as number) < IMAGES_MIN || (images as number) > IMAGES_MAX) {
      throw invalid('its description tells another number of images', `${IMAGES_MIN} to ${IMAGES_MAX}`, String(images))
    }
    return { stem, preparation, images: images as number }
  })
}

function isShort (text: JsonValue | undefined): text is string {
  return typeof text === 'string' && text.length <= TEXT_MAX
}

function invalid (why: string, expected?: unknown, received?: unknown): Error {
  return signatureErrors.SIGNATURE_INVALID(`the bank's signature is refused: ${why}`, {
    ...(expected === undefined ? {} : { expected, received })
  })
}
