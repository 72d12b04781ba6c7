/**
 * A picture in, a picture out: decoded whole, run through the net in tiles, assembled in 8 bits, encoded.
 *
 * What it takes in memory is known from the picture's header: the pixels that came, those that go, and the encoded
 * answer, which is never larger than its pixels but for a few bytes; before that, what decoding holds. Of the float
 * tensors only those of the tiles in flight are alive. One tile more than there are workers keeps all of them busy; the
 * fair queue lets other domains in between, and another request of the same domain waits for no more than the tiles in
 * flight.
 */
import { decodedBytes, decodeRaster, readPictureHeader } from '../../imaging/decode.js'
import {
  canvasFor, carriesAlpha, encodeRaster, requireFits, type EncodedFormat
} from '../../imaging/encode.js'
import { cutTile, isGrey as isGreyRaster, type Raster } from '../../imaging/raster.js'
import { middleTile, tileCount } from '../../imaging/tiles.js'
import { rulesOf, type ColourRules } from '../../models/preprocessing.js'
import { bankToRun } from '../banks-to-run.js'
import { nameOfChosen } from '../blends.js'
import { turnOf } from '../lone-row.js'
import { chooseVersion, type LeasedVersion } from './choose-version.js'
import { countPicture, type CountingNeeds } from './count-picture.js'
import { fromOf, recognisedIn, watchedAs } from './inference.js'
import { runTiles, type TileNeeds, type TileTimes } from './run-tiles.js'
import type { ImageToImageManifest } from '../../models/manifest.js'
import type { Tensors } from '../../ort/rows.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { PictureNeeds, PictureRequest } from './classify.js'
import type { Recognised } from '../recognising/recognition.js'
import type { Progress, ProgressBoard } from './progress.js'
import type { ReadyModel } from '../model-states.js'

/** What turning pictures into others needs. */
export interface TransformNeeds extends
  Omit<PictureNeeds, 'runRows' | 'shadows' | 'pool' | keyof CountingNeeds>, TileNeeds, CountingNeeds {
  pool: Pick<InferencePool, 'submit' | 'requireRoom' | 'keepOpen'>
  progress: Pick<ProgressBoard, 'show'>
}

export interface TransformRequest extends PictureRequest {
  format: EncodedFormat
  /** Of lossy formats, 1 to 100. */
  quality: number
  progressKey?: string
}

export interface Transformed extends TileTimes {
  domain: string
  version: number
  picture: Buffer
  tiles: number
  decodeMs: number
  /** When the picture had been decoded, by performance.now(). */
  decodedAt: number
  encodeMs: number
  recognised?: Recognised
}

/**
 * Rejects with IMAGE_UNREADABLE, IMAGE_TOO_LARGE, PICTURE_TOO_LARGE, QUEUE_FULL, PROGRESS_KEY_IN_USE,
 * OUTPUT_PIXELS_NOT_FINITE, what choosing the version throws, and the signal's reason.
 */
export async function transform (
  needs: TransformNeeds, model: ReadyModel, manifest: ImageToImageManifest, request: TransformRequest
): Promise<Transformed> {
  const { image, wish, signal } = request
  let source: Raster | undefined
  const resolved = await chooseVersion(needs, manifest, wish, {
    image,
    recognise: () => decoded(needs, request, manifest.input, async (picture) => {
      source = picture
      return (await needs.recognition.rows(model, middleOf(picture, manifest), fromOf(wish, signal)))[0]!
    })
  })
  try {
    const result = await transformUnder(needs, model, manifest, request, resolved, source)
    return { ...result, ...recognisedIn(resolved) }
  } finally {
    resolved.release()
  }
}

/** What a picture is recognised and watched by. */
export function middleOf (source: Raster, { input, tiling }: ImageToImageManifest): Tensors {
  const tile = middleTile(source.width, source.height, tiling)
  return { [input.name]: { type: 'float32', ...cutTile(source, tile, input) } }
}

/**
 * Runs `work` on the picture, decoded before it has a bank: in the room's own line, since what running it takes is not
 * known yet. It holds its place there meanwhile: `work` waits for a thread, and so may many pictures.
 */
async function decoded<T> (
  needs: TransformNeeds, { image, format, signal }: TransformRequest, { colour }: ColourRules,
  work: (picture: Raster) => Promise<T>
): Promise<T> {
  const header = await readPictureHeader(image, needs.imagePixels)
  return await needs.room.decode(decodedBytes(header), async () => await work(await decodeRaster(image, {
    pixelsMax: needs.imagePixels, isGrey: header.isGrey || colour === 'grey', isAlphaKept: carriesAlpha(format)
  })), signal)
}

/** `given` is the picture where it had to be decoded before. */
async function transformUnder (
  needs: TransformNeeds, model: ReadyModel, manifest: ImageToImageManifest, request: TransformRequest,
  resolved: LeasedVersion, given: Raster | undefined
): Promise<Transformed> {
  const { name, output: { scale }, tiling } = manifest
  const { image, format, progressKey } = request
  const { record: { domain }, version: { version, preprocessing } } = resolved
  const header = await readPictureHeader(image, needs.imagePixels)
  requireFits(format, { width: scale * header.width, height: scale * header.height })
  const colour = rulesOf(manifest, domain, preprocessing)
  const isGrey = header.isGrey || colour.colour === 'grey'
  const channels = (isGrey ? 1 : 3) + (header.hasAlpha && carriesAlpha(format) ? 1 : 0)
  const sourceBytes = header.width * header.height * channels
  const canvasBytes = scale ** 2 * sourceBytes
  const progress: Progress = { tilesDone: 0, tilesTotal: tileCount(header.width, header.height, tiling) }
  const work = async (): Promise<Transformed> => {
    const bank = await bankToRun(needs, model, resolved)
    const begin = performance.now()
    const source = given !== undefined && isGreyRaster(given) === isGrey
      ? given
      : await decodeRaster(image, { pixelsMax: needs.imagePixels, isGrey, isAlphaKept: carriesAlpha(format) })
    const canvas = canvasFor(source, scale)
    const decodedAt = performance.now()
    const { signal } = request
    needs.pool.requireRoom(turnOf(name, domain), 1)
    const times = await needs.pool.keepOpen(() => {
      return runTiles({ needs, model, manifest, colour, source, canvas, progress, signal, domain, bank })
    })
    needs.drift?.offer(model, {
      resolved,
      rows: 1,
      outputs: undefined,
      feeds: () => middleOf(source, manifest),
      sender: watchedAs(request.wish),
      isChosen: [resolved.recognised !== undefined]
    })
    const computed = performance.now()
    const picture = await encodeRaster(canvas, format, request.quality)
    const encodeMs = performance.now() - computed
    const answer = { domain: nameOfChosen(resolved), version, picture, tiles: progress.tilesTotal }
    return { ...answer, decodeMs: decodedAt - begin, decodedAt, ...times, encodeMs }
  }
  return await countPicture(needs, model, resolved, progress, () => {
    return needs.room.hold(sourceBytes + Math.max(decodedBytes(header), 2 * canvasBytes), () => {
      return needs.progress.show(progressKey, progress, work)
    })
  })
}
