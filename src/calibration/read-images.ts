/**
 * Uploads -> one tensor of distinct images. An image that cannot be read is named and left out; copies of an image,
 * told by their pixels after preprocessing, count once.
 */
import { BankswitchError } from '../base/errors.js'
import { bytesOf } from '../base/bytes.js'
import { elementCount } from '../base/dims.js'
import { sha256 } from '../base/digest.js'
import { floatValues, parseSafetensors } from '../bank/formats/safetensors.js'
import { preprocessImage, type PreprocessRules } from '../imaging/preprocess.js'
import { archivedFiles, archiveKind, type NamedFile } from './archives.js'
import { calibrationErrors } from './errors.js'
import type { InRoom } from '../imaging/decode.js'
import type { Tensors } from '../ort/rows.js'
import type { ValueDescription } from '../ort/session.js'

export interface ReadOptions {
  input: ValueDescription
  /** For pictures; tensors come prepared. */
  rules?: PreprocessRules
  /** Largest picture. */
  imagePixels: number
  /** Bytes that the tensor may take. */
  budgetBytes: number
  /** The first image that cannot be read ends it. */
  isStrict: boolean
  /** Orders images by a hash of their pixels, so that the first hundred are as good as any hundred. */
  isShuffled: boolean
  /** Told before every image and after every upload; what it throws ends the reading. */
  onProgress (share: number): void
}

export interface BrokenImage {
  name: string
  code: string
  reason: string
}

export interface ImageCounts {
  given: number
  used: number
  duplicates: number
  broken: number
  /** The first hundred of the broken. */
  brokenImages: BrokenImage[]
}

export interface ImageSet {
  images: Tensors
  /** All that were given, with copies and unreadable ones. */
  given: number
  duplicates: number
  brokenCount: number
  /** The first BROKEN_NAMED of them. */
  broken: BrokenImage[]
}

const ENTRIES_MAX = 100_000
const BROKEN_NAMED = 100

/** Unpacked, a set of pictures is hardly larger than packed; ten times as large, it is something else. */
const UNPACKED_RATIO_MAX = 10
const UNPACKED_FLOOR_BYTES = 16 * 2 ** 20

/** What any picture may take while it is decoded, however little the images may take. */
const DECODING_FLOOR_BYTES = 16 * 2 ** 20

/** Throws CALIBRATION_IMAGE_BROKEN (strict only), CALIBRATION_TOO_LARGE and the ARCHIVE_* errors. */
export async function readImages (uploads: readonly NamedFile[], options: ReadOptions): Promise<ImageSet> {
  const rows = new Rows(options)
  const { rules, imagePixels } = options
  const counts = await eachPicture(uploads, options, async (bytes) => {
    const { dims, data } = await preprocessImage(bytes, rules!, imagePixels, rows.besides)
    rows.add(dims.slice(1), data)
  })
  return { ...rows.finish(), ...counts }
}

/**
 * Gives `take` each picture in turn, out of its archive; one that `take` finds broken is named and left out. Throws
 * CALIBRATION_IMAGE_BROKEN (strict only), the ARCHIVE_* errors, and what else `take` throws.
 */
export async function eachPicture (
  uploads: readonly NamedFile[], { isStrict, onProgress }: Pick<ReadOptions, 'isStrict' | 'onProgress'>,
  take: (bytes: Uint8Array) => Promise<void>
): Promise<Pick<ImageSet, 'given' | 'brokenCount' | 'broken'>> {
  const broken: BrokenImage[] = []
  let [given, brokenCount] = [0, 0]
  for (const [at, upload] of uploads.entries()) {
    for await (const { name, bytes } of unpacked(upload)) {
      given++
      onProgress(at / uploads.length)
      try {
        await take(bytes)
      } catch (thrown) {
        if (!(thrown instanceof BankswitchError) || !thrown.code.startsWith('IMAGE_')) throw thrown
        if (isStrict) throw brokenImage(name, thrown)
        const { code, message: reason } = thrown
        if (brokenCount++ < BROKEN_NAMED) broken.push({ name: name.slice(0, 200), code, reason })
      }
    }
    onProgress((at + 1) / uploads.length)
  }
  return { given, brokenCount, broken }
}

function brokenImage (name: string, cause: BankswitchError): Error {
  return calibrationErrors.CALIBRATION_IMAGE_BROKEN(`"${name.slice(0, 200)}" cannot be read: ${cause.message}`, {
    ...cause.details, image: name.slice(0, 200)
  }, cause)
}

/** The file, or what is in it. Throws the ARCHIVE_* errors. */
async function * unpacked (upload: NamedFile): AsyncGenerator<NamedFile> {
  const kind = archiveKind(upload.bytes)
  if (kind === undefined) return yield upload
  const totalBytes = Math.max(UNPACKED_FLOOR_BYTES, UNPACKED_RATIO_MAX * upload.bytes.length)
  yield * archivedFiles(upload, kind, { entries: ENTRIES_MAX, entryBytes: totalBytes, totalBytes })
}

/**
 * Images that are tensors already: a safetensors file with one float tensor, of the input's name and shape, images
 * first. Throws CALIBRATION_TENSORS_INVALID and what `parseSafetensors` throws.
 */
export function readTensors (file: Uint8Array, options: ReadOptions): ImageSet {
  const { input: { name, dims } } = options
  const { tensors } = parseSafetensors(file)
  const tensor = tensors.get(name)
  const shape = tensor?.shape ?? []
  const fits = shape.length === dims.length && shape.every((size, axis) => {
    return size > 0 && (axis === 0 || dims[axis] === null || dims[axis] === size)
  })
  if (tensor === undefined || tensors.size > 1 || !fits) {
    throw calibrationErrors.CALIBRATION_TENSORS_INVALID('the file must hold the input as its one tensor', {
      expected: `"${name}" [${dims.map((size, axis) => axis === 0 ? 'images' : size ?? 'any').join(', ')}]`,
      received: [...tensors].slice(0, 5).map(([other, { shape }]) => `"${other.slice(0, 100)}" [${shape.join(', ')}]`)
    })
  }
  const values = Float32Array.from(floatValues(name, tensor))
  const [given, ...inner] = shape as [number, ...number[]]
  const length = elementCount(inner)
  const rows = new Rows(options)
  for (let row = 0; row < given; row++) rows.add(inner, values.subarray(row * length, (row + 1) * length))
  return { ...rows.finish(), given, brokenCount: 0, broken: [] }
}

class Rows {
  readonly #options: ReadOptions
  readonly #rows = new Map<string, Float32Array>()
  #dims: readonly number[] = []
  #duplicates = 0
  #bytes = 0

  constructor (options: ReadOptions) {
    this.#options = options
  }

  /** Decodes a picture beside those that are there already. Throws CALIBRATION_TOO_LARGE. */
  readonly besides: InRoom = async (bytes, work) => {
    const left = this.#options.budgetBytes - this.#bytes
    if (bytes <= Math.max(left, DECODING_FLOOR_BYTES)) return await work()
    throw calibrationErrors.CALIBRATION_TOO_LARGE('decoding an image takes more memory than the calibration has left', {
      expected: `at most ${left} bytes`, received: bytes
    })
  }

  add (dims: readonly number[], data: Float32Array): void {
    this.#dims = dims
    const digest = sha256(bytesOf(data))
    if (this.#rows.has(digest)) {
      this.#duplicates++
      return
    }
    const imagesMax = Math.floor(this.#options.budgetBytes / data.byteLength)
    if (this.#rows.size >= imagesMax) {
      throw calibrationErrors.CALIBRATION_TOO_LARGE('the images take more memory than a calibration may', {
        expected: `at most ${imagesMax} images`, received: `more than ${imagesMax}`
      })
    }
    this.#rows.set(digest, data)
    this.#bytes += data.byteLength
  }

  /** Gives the rows away. */
  finish (): Pick<ImageSet, 'images' | 'duplicates'> {
    const { isShuffled, input } = this.#options
    const entries = [...this.#rows]
    if (isShuffled) entries.sort(([a], [b]) => a < b ? -1 : 1)
    const length = elementCount(this.#dims)
    const data = new Float32Array(entries.length * length)
    for (const [at, [digest, row]] of entries.entries()) {
      data.set(row, at * length)
      this.#rows.delete(digest)
    }
    const images: Tensors = { [input.name]: { type: 'float32', dims: [entries.length, ...this.#dims], data } }
    return { images, duplicates: this.#duplicates }
  }
}
