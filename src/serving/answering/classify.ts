/** A picture in, labelled scores out. */
import { isDeepStrictEqual } from 'node:util'
import { readPictureHeader } from '../../imaging/decode.js'
import { preprocessImage } from '../../imaging/preprocess.js'
import { topPredictions, type Prediction } from '../../models/classification.js'
import { rulesOf, type Preprocessing } from '../../models/preprocessing.js'
import { checkFeeds } from '../feeds.js'
import { chooseVersion } from './choose-version.js'
import { fromOf, inferGroups, recognisedIn, type InferenceNeeds, type InferenceResult } from './inference.js'
import type { ImageTensor } from '../../imaging/raster.js'
import type { ClassificationManifest } from '../../models/manifest.js'
import type { Tensors } from '../../ort/rows.js'
import type { VersionWish } from '../version-wish.js'
import type { PictureRoom } from './picture-room.js'
import type { ReadyModel } from '../model-states.js'

export interface PictureNeeds extends InferenceNeeds {
  room: Pick<PictureRoom, 'decode' | 'hold'>
}

export interface PictureRequest {
  wish: VersionWish
  image: Uint8Array
  signal?: AbortSignal
}

export interface Classified extends Omit<InferenceResult, 'outputs'> {
  predictions: Prediction[]
  decodeMs: number
  /** When the picture had been decoded, by performance.now(). */
  decodedAt: number
}

/**
 * The `top` best classes. Rejects with IMAGE_UNREADABLE, IMAGE_TOO_LARGE, PICTURE_TOO_LARGE, QUEUE_FULL and what
 * inference.ts throws.
 */
export async function classify (
  needs: PictureNeeds, model: ReadyModel, manifest: ClassificationManifest, request: PictureRequest, top: number
): Promise<Classified> {
  const { wish, image, signal } = request
  let decodeMs = 0
  let prepared: { rules: Preprocessing, tensor: ImageTensor } | undefined
  const prepare = async (rules: Preprocessing): Promise<ImageTensor> => {
    // What was prepared to be recognised is mostly what is to be run.
    if (prepared !== undefined && isDeepStrictEqual(prepared.rules, rules)) return prepared.tensor
    const begin = performance.now()
    const tensor = await preprocessImage(image, rules, needs.imagePixels, (bytes, work) => {
      return needs.room.decode(bytes, work, signal)
    })
    decodeMs += performance.now() - begin
    prepared = { rules, tensor }
    return tensor
  }
  const resolved = await chooseVersion(needs, manifest, wish, {
    image,
    recognise: async () => {
      const size = await readPictureHeader(image, needs.imagePixels)
      return await needs.recognition.picture(model, manifest, { size, prepare }, fromOf(wish, signal))
    }
  })
  try {
    const { dims, data } = await prepare(rulesOf(manifest, resolved.record.domain, resolved.version.preprocessing))
    const decodedAt = performance.now()
    const feeds: Tensors = { [manifest.input.name]: { type: 'float32', dims, data } }
    const rows = checkFeeds(model.artefact.inputs, feeds)
    const [result] = await inferGroups(needs, model, [{ resolved, feeds, rows }], {
      wish, inputMs: decodeMs, ...(signal === undefined ? {} : { signal })
    })
    const { outputs, ...rest } = result!
    const logits = outputs[manifest.output.name]!.data as ArrayLike<number>
    const predictions = topPredictions(logits, model.entry.labels, manifest.output.activation, top)
    return { decodeMs, decodedAt, predictions, ...rest, ...recognisedIn(resolved) }
  } finally {
    resolved.release()
  }
}
