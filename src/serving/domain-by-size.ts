/** `domainFrom: "inputSize"`: which domain a picture belongs to that names none. */
import { entryOf, rulesOf } from '../models/preprocessing.js'
import type { ClassificationManifest } from '../models/manifest.js'
import type { Tensors } from '../ort/rows.js'
import type { BankStore } from '../store/bank-store.js'

export interface PictureSize { width: number, height: number }

/**
 * The domain whose size is nearest to the picture's, by the ratio of their areas; of two as near, the larger.
 * Candidates are the default domain and those that have a size of their own, from the manifest or registered with
 * their active version. Without any candidate the default domain's name is returned, for the resolver to tell what is
 * wrong.
 */
export function domainBySize (
  store: Pick<BankStore, 'domains'>, manifest: ClassificationManifest, picture: PictureSize
): string {
  const { name, defaultDomain } = manifest
  const candidates = store.domains(name).flatMap(({ domain, active, versions }) => {
    const version = versions.find((candidate) => candidate.version === active)
    const ownSize = version?.preprocessing?.size ?? entryOf(manifest, domain)?.input?.size
    if (version === undefined || (ownSize === undefined && domain !== defaultDomain)) return []
    const { size } = rulesOf(manifest, domain, version.preprocessing)
    return [{ domain, size }]
  })
  candidates.sort((a, b) => Number(b.domain === defaultDomain) - Number(a.domain === defaultDomain))
  return nearestSize(candidates, picture)?.domain ?? defaultDomain
}

/** What is nearest in size, by the ratio of the areas; of several as near, the largest, and then the first. */
export function nearestSize<Sized extends { size: PictureSize }> (
  all: readonly Sized[], picture: PictureSize
): Sized | undefined {
  const area = picture.width * picture.height
  const ranked = all.map((one) => {
    const own = one.size.width * one.size.height
    return { one, area: own, distance: Math.max(area / own, own / area) }
  })
  return ranked.sort((a, b) => a.distance - b.distance || b.area - a.area)[0]?.one
}

/** Height and width of tensors; undefined for what is no picture, which is refused when the shapes are checked. */
export function sizeOfTensors ({ input }: ClassificationManifest, feeds: Tensors): PictureSize | undefined {
  const dims = Object.hasOwn(feeds, input.name) ? feeds[input.name]!.dims : []
  const [height, width] = input.layout === 'NCHW' ? dims.slice(2) : dims.slice(1)
  return height === undefined || width === undefined ? undefined : { width, height }
}
