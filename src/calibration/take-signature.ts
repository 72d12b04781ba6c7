/** From images to a domain's signature: what the stem sees of each. Of pictures, one is in memory at a time. */
import { bytesOf } from '../base/bytes.js'
import { sha256 } from '../base/digest.js'
import { decodeRaster } from '../imaging/decode.js'
import { preprocessImage, type PreprocessRules } from '../imaging/preprocess.js'
import { cutTile, type CutRules, type ImageTensor } from '../imaging/raster.js'
import { middleTile, type Tiling } from '../imaging/tiles.js'
import { openSession, type Session } from '../ort/session.js'
import { sliceRows, type Tensors } from '../ort/rows.js'
import { featuresOfRows, MOMENTS } from '../signature/features.js'
import { IMAGES_MIN, makeSignature, type Signature, type SignatureOrigin } from '../signature/signature.js'
import { calibrationErrors } from './errors.js'
import { rowsOf } from './forward.js'
import { eachPicture, type ImageCounts } from './read-images.js'
import type { NamedFile } from './archives.js'

/** The compiled stem, and how images are prepared for it. */
export interface SignatureRequest {
  stemPath: string
  input: string
  output: string
  origin: SignatureOrigin
  /** That one image must have as a tensor, where that is known; batch axis 1. */
  shape?: readonly number[]
  /** Of pictures; tensors come prepared. */
  pictures?: { rules: PreprocessRules } | { middle: Tiling, colour: CutRules }
}

export interface PictureSource {
  uploads: readonly NamedFile[]
  imagePixels: number
  isStrict: boolean
  /** Told before every picture and after every upload; what it throws ends the reading. */
  onProgress (share: number): void
}

/**
 * Of images that are tensors already; undefined for too few of them, and for those of another shape. Throws what ONNX
 * Runtime throws.
 */
export async function signatureOfTensors (
  request: SignatureRequest, images: Tensors
): Promise<Signature | undefined> {
  const rows = rowsOf(images)
  const { input, shape } = request
  const isOfShape = shape === undefined || images[input]!.dims.slice(1).join() === shape.slice(1).join()
  if (rows < IMAGES_MIN || !isOfShape) return undefined
  return await withStem(request, async (read) => {
    const features: Float64Array[] = []
    for (let row = 0; row < rows; row++) features.push(...await read(sliceRows(images, row, 1)))
    return makeSignature(features, request.origin)
  })
}

/**
 * Of pictures and archives of them; copies count once. Throws SIGNATURE_TOO_FEW_IMAGES, CALIBRATION_IMAGE_BROKEN
 * (strict only), the ARCHIVE_* errors and what ONNX Runtime throws.
 */
export async function signatureOfPictures (
  request: SignatureRequest, { uploads, imagePixels, isStrict, onProgress }: PictureSource
): Promise<{ signature: Signature, images: ImageCounts }> {
  const seen = new Set<string>()
  const features: Float64Array[] = []
  return await withStem(request, async (read) => {
    const { given, brokenCount, broken } = await eachPicture(uploads, { isStrict, onProgress }, async (bytes) => {
      const { dims, data } = await prepare(bytes, request, imagePixels)
      const digest = sha256(bytesOf(data))
      if (seen.has(digest)) return
      seen.add(digest)
      features.push(...await read({ [request.input]: { type: 'float32', dims, data } }))
    })
    const duplicates = given - brokenCount - seen.size
    return {
      signature: makeSignature(features, request.origin),
      images: { given, used: features.length, duplicates, broken: brokenCount, brokenImages: broken }
    }
  })
}

async function prepare (
  bytes: Uint8Array, { pictures }: SignatureRequest, imagePixels: number
): Promise<ImageTensor> {
  if (pictures === undefined) throw calibrationErrors.CALIBRATION_OPTIONS_INVALID('this model takes tensors')
  if ('rules' in pictures) return await preprocessImage(bytes, pictures.rules, imagePixels)
  const { middle, colour } = pictures
  const raster = await decodeRaster(bytes, {
    pixelsMax: imagePixels, isGrey: colour.colour === 'grey', isAlphaKept: false
  })
  return cutTile(raster, middleTile(raster.width, raster.height, middle), colour)
}

type Read = (images: Tensors) => Promise<Float64Array[]>

async function withStem<T> (
  { stemPath, output, input }: SignatureRequest, work: (read: Read) => Promise<T>
): Promise<T> {
  const session: Session = await openSession(stemPath, { optimization: 'disabled', memoryPattern: false })
  try {
    return await work(async (images) => {
      const { [output]: moments } = await session.run({ [input]: images[input]! }, [output])
      return featuresOfRows(moments!.data as Float32Array, moments!.dims[1]! / MOMENTS.length)
    })
  } finally {
    await session.release()
  }
}
