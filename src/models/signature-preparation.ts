/**
 * How pictures become tensors before a domain is chosen for them: by the model's own rules, without what single domains
 * change, in one of the sizes that domains have. Signatures tell it as text; those that were made otherwise do not
 * count.
 */
import { isDeepStrictEqual } from 'node:util'
import { takesPictures, type ClassificationManifest, type Manifest } from './manifest.js'
import { rulesOf, type Preprocessing, type PreprocessingOverrides } from './preprocessing.js'

export type PictureSize = Preprocessing['size']

/** The rules for pictures of a size. */
export function rulesAt ({ input }: ClassificationManifest, size: PictureSize): Preprocessing {
  const { name: _name, ...rules } = input
  return { ...rules, size }
}

/**
 * Whether what answers pictures of a domain is prepared as what a signature is made of: but for the size, by the
 * model's own rules. Of models for classification; the others are looked at apart from what answers.
 */
export function isPreparedAlike (manifest: Manifest, domain: string, registered?: PreprocessingOverrides): boolean {
  if (manifest.task !== 'classification') return true
  const rules = rulesOf(manifest, domain, registered)
  return isDeepStrictEqual(rules, rulesAt(manifest, rules.size))
}

/** Equal for equal preparation. `size` matters to models for classification only. */
export function preparationOf (manifest: Manifest, size: PictureSize | undefined): string {
  if (!takesPictures(manifest)) return 'tensors'
  const { colour, mean, std } = manifest.input
  const values = `${colour}, mean ${mean.join(' ')}, deviation ${std.join(' ')}`
  if (manifest.task === 'image-to-image') return `middle of ${manifest.tiling.tile}, ${values}`
  const { resize: { fit, kernel } } = manifest.input
  const { width, height } = size ?? manifest.input.size
  return `${width}x${height}, ${fit} by ${kernel}, ${values}`
}

/** The size that a preparation tells of, if it is one of this model's; undefined for another's. */
export function sizePrepared (manifest: ClassificationManifest, preparation: string): PictureSize | undefined {
  const [, width, height] = /^(\d{1,4})x(\d{1,4}),/.exec(preparation) ?? []
  if (width === undefined || height === undefined) return undefined
  const size = { width: Number(width), height: Number(height) }
  return preparationOf(manifest, size) === preparation ? size : undefined
}
