/**
 * Sums that add up: what a calibration leaves beside the statistics, so that those of several sites can be merged,
 * and one taken out again, without an image leaving its site.
 *
 * Sums may be added only if they were taken under the same forward: the same mode and the same base bank. Those of
 * mode `sequential` never were, since each site's deeper layers saw that site's own statistics; as many rounds of
 * `fixed` as there are levels, each under the merged bank of the round before, come to what `sequential` gives on all
 * images together.
 *
 * In a bank's file they are the float64 tensors `<layer>.sums.mean`, `.sums.squares` and `.sums.count`, and the
 * metadata `bankswitch.sums`.
 */
import { bytesOf } from '../base/bytes.js'
import { floatValues, parseSafetensors, type TensorToWrite } from '../bank/formats/safetensors.js'
import { bankDigest, completeBank, type Bank, type BatchNormLayer } from '../bank/bank.js'
import { calibrationErrors } from './errors.js'
import { mergeMoments, subtractMoments, varianceOf, type Moments } from './moments.js'
import type { Mode } from './options.js'

export interface Contribution {
  /** How the images were shown to the layers; sums of unequal forwards do not add up. */
  forward: string
  /** Distinct images in it. */
  images: number
  moments: ReadonlyMap<string, Moments>
}

const METADATA_KEY = 'bankswitch.sums'
const SUFFIXES = { mean: '.sums.mean', squares: '.sums.squares', count: '.sums.count' } as const

/** Modes whose statistics are pooled sums under one forward. */
const ADDITIVE: readonly Mode[] = ['fixed', 'fvcore']

/** Undefined for a mode whose sums do not add up. */
export function contributionOf (
  mode: Mode, base: Bank, images: number, moments: ReadonlyMap<string, Moments>
): Contribution | undefined {
  return ADDITIVE.includes(mode) ? { forward: `${mode} under ${bankDigest(base)}`, images, moments } : undefined
}

/** What a bank's file gets besides the bank. */
export function contributionParts ({ forward, images, moments }: Contribution): {
  tensors: TensorToWrite[], metadata: Array<[string, string]>
} {
  const tensors = [...moments].flatMap(([key, { count, mean, squares }]): TensorToWrite[] => [
    { name: key + SUFFIXES.mean, dtype: 'F64', shape: [mean.length], bytes: bytesOf(mean) },
    { name: key + SUFFIXES.squares, dtype: 'F64', shape: [squares.length], bytes: bytesOf(squares) },
    { name: key + SUFFIXES.count, dtype: 'F64', shape: [1], bytes: bytesOf(Float64Array.of(count)) }
  ])
  return { tensors, metadata: [[METADATA_KEY, JSON.stringify({ forward, images })]] }
}

/** Throws CONTRIBUTION_MISSING where a file has no sums or malformed ones, and what `parseSafetensors` throws. */
export function parseContribution (file: Uint8Array, layers: readonly BatchNormLayer[]): Contribution {
  const { tensors, metadata } = parseSafetensors(file)
  const missing = (why: string) => calibrationErrors.CONTRIBUTION_MISSING(`the bank has no sums to add: ${why}`, {
    expected: 'a bank calibrated in mode fixed or fvcore'
  })
  const { forward, images } = parseMetadata(metadata.get(METADATA_KEY), missing)
  const moments = new Map<string, Moments>()
  for (const { key, channels } of layers) {
    const [mean, squares, count] = [SUFFIXES.mean, SUFFIXES.squares, SUFFIXES.count].map((suffix) => {
      const tensor = tensors.get(key + suffix)
      return tensor === undefined ? undefined : Float64Array.from(floatValues(key + suffix, tensor))
    })
    if (mean === undefined && squares === undefined && count === undefined) continue
    const isWhole = mean?.length === channels && squares?.length === channels && count?.length === 1
    if (!isWhole || !mean.every(Number.isFinite) || !squares.every((sum) => sum >= 0 && sum < Infinity) ||
      !(Number.isSafeInteger(count[0]) && count[0]! > 0)) {
      throw missing(`those of layer "${key}" are malformed`)
    }
    moments.set(key, { count: count[0]!, mean, squares })
  }
  if (moments.size === 0) throw missing('no layer has any')
  return { forward, images, moments }
}

function parseMetadata (
  text: string | undefined, missing: (why: string) => Error
): Pick<Contribution, 'forward' | 'images'> {
  if (text === undefined) throw missing('its file has none')
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw missing('their description is no JSON')
  }
  const { forward, images } = (parsed ?? {}) as { forward?: unknown, images?: unknown }
  if (typeof forward !== 'string' || !Number.isSafeInteger(images) || (images as number) < 1) {
    throw missing('their description is incomplete')
  }
  return { forward, images: images as number }
}

export const OPERATIONS = ['merge', 'subtract'] as const
export type Operation = typeof OPERATIONS[number]

/**
 * Adds `other` to `whole`, or takes it out. Throws CONTRIBUTION_MISMATCH when the forwards or layers differ, and
 * CALIBRATION_TOO_FEW_IMAGES when a part, or what is left, has fewer images than the minimum.
 */
export function combine (
  operation: Operation, whole: Contribution, other: Contribution, minimumImages: number
): Contribution {
  const keys = [...whole.moments.keys()]
  const hasSameLayers = keys.length === other.moments.size && keys.every((key) => other.moments.has(key))
  if (whole.forward !== other.forward || !hasSameLayers) {
    throw calibrationErrors.CONTRIBUTION_MISMATCH('the sums were taken under different forwards and do not add up', {
      expected: `${whole.forward}, ${keys.length} layers`, received: `${other.forward}, ${other.moments.size} layers`
    })
  }
  const images = operation === 'merge' ? whole.images + other.images : whole.images - other.images
  const least = Math.min(images, other.images, ...(operation === 'merge' ? [whole.images] : []))
  const isLeft = operation === 'merge' || keys.every((key) => {
    return whole.moments.get(key)!.count > other.moments.get(key)!.count
  })
  if (least < minimumImages || !isLeft) {
    throw calibrationErrors.CALIBRATION_TOO_FEW_IMAGES('a contribution, or what is left without it, is too small', {
      expected: `at least ${minimumImages} images`, received: Math.max(0, least)
    })
  }
  const change = operation === 'merge' ? mergeMoments : subtractMoments
  return {
    forward: whole.forward,
    images,
    moments: new Map([...whole.moments].map(([key, moments]) => [key, change(moments, other.moments.get(key)!)]))
  }
}

/** The bank that the sums make, with everything else from `base`. */
export function bankOf ({ moments }: Contribution, layers: readonly BatchNormLayer[], base: Bank): Bank {
  return completeBank(layers, new Map([...base].map(([key, statistics]) => {
    const sums = moments.get(key)
    return [key, sums === undefined ? statistics : { ...statistics, mean: sums.mean, variance: varianceOf(sums) }]
  })), base)
}
