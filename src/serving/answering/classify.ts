/** A picture in, labelled scores out. */
import { preprocessImage } from '../../imaging/preprocess.js'
import { readPictureHeader } from '../../imaging/decode.js'
import { topPredictions, type Prediction } from '../../models/classification.js'
import { rulesOf } from '../../models/preprocessing.js'
import { domainBySize } from './domain-by-size.js'
import { resolveDomain, type DomainReference } from '../domain-reference.js'
import { infer, type InferenceNeeds, type InferenceResult } from './inference.js'
import type { ClassificationManifest } from '../../models/manifest.js'
import type { PictureRoom } from './picture-room.js'
import type { ReadyModel } from '../model-states.js'

export interface PictureNeeds extends InferenceNeeds {
  room: Pick<PictureRoom, 'hold'>
  /** Largest picture. */
  imagePixels: number
}

export interface PictureRequest {
  /** Undefined for what the model chooses itself. */
  reference: DomainReference | undefined
  image: Uint8Array
  signal?: AbortSignal
  /** Decides whether a canary answers; without one it does not. */
  canaryKey?: string
}

export interface Classified extends Omit<InferenceResult, 'outputs'> {
  predictions: Prediction[]
  decodeMs: number
  /** When the picture had been decoded, by performance.now(). */
  decodedAt: number
}

/** The `top` best classes. Rejects with IMAGE_UNREADABLE, IMAGE_TOO_LARGE, QUEUE_FULL and what `infer` rejects with. */
export async function classify (
  needs: PictureNeeds, model: ReadyModel, manifest: ClassificationManifest, request: PictureRequest, top: number
): Promise<Classified> {
  const { image, signal } = request
  const begin = performance.now()
  const reference = request.reference ?? await chooseDomain(needs, manifest, image)
  const { record: { domain }, version } = resolveDomain(needs.store, manifest.name, reference, request.canaryKey)
  const rules = rulesOf(manifest, domain, version.preprocessing)
  const { dims, data } = await needs.room.hold(0, () => preprocessImage(image, rules, needs.imagePixels))
  const decodedAt = performance.now()
  const decodeMs = decodedAt - begin
  const { outputs, ...rest } = await infer(needs, model, {
    // Pinned: a version activated meanwhile may want its pictures otherwise.
    reference: { domain, version: version.version },
    feeds: { [manifest.input.name]: { type: 'float32', dims, data } },
    inputMs: decodeMs,
    ...(signal === undefined ? {} : { signal })
  })
  const logits = outputs[manifest.output.name]!.data as ArrayLike<number>
  return {
    ...rest,
    decodeMs,
    decodedAt,
    predictions: topPredictions(logits, model.entry.labels, manifest.output.activation, top)
  }
}

async function chooseDomain (
  { store, imagePixels }: PictureNeeds, manifest: ClassificationManifest, image: Uint8Array
): Promise<DomainReference> {
  if (manifest.domainFrom !== 'inputSize') return { domain: manifest.defaultDomain }
  return { domain: domainBySize(store, manifest, await readPictureHeader(image, imagePixels)) }
}
