/**
 * A bank as an npz file: a zip of npy arrays (numpy/lib/_format_impl.py, versions 1.0 to 3.0), with PyTorch's names.
 *
 * Stricter than numpy: entries fill the file from its first byte to the directory, which ends it; each entry's own
 * header says what the directory says of it; no name stands twice or is a path; no pickle is read. Entries and sizes
 * that the directory declares are bounded before anything is inflated, and nothing is inflated beyond them.
 */
import { promisify } from 'node:util'
import { crc32, inflateRaw, type InputType, type ZlibOptions } from 'node:zlib'
import { fromBufferPromise, parseExtraFields, type Entry, type LocalFileHeader, type ZipFile } from 'yauzl'
import { tensorBytes } from '../../base/dims.js'
import { BankswitchError, defineErrors } from '../../base/errors.js'
import { float16ToNumber } from '../../base/float16.js'
import { mayBeConvolution } from '../convolution-weights.js'
import { layersOfTensors } from './state-dict.js'
import type { BatchNormLayer } from '../bank.js'
import type { BankFormat, ParsedBank } from './format.js'

const npzErrors = defineErrors({
  NPZ_MALFORMED: 'invalid',
  NPZ_UNSUPPORTED: 'invalid'
})

export const bankNpz: BankFormat = {
  name: 'npz',
  summary: 'an npz file of numpy.savez or savez_compressed with the same names',
  mediaTypes: ['application/zip'],
  extensions: ['.npz'],
  probe: (bytes) => bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2]! < 7,
  parse: parseBankNpz
}

const ENTRIES_MAX = 10_000

/** What all arrays may come to: numbers hardly compress, zeros of pruned weights do. */
const INFLATION_MAX = 16
const INFLATED_BYTES_MIN = 16 * 2 ** 20

const METHODS = { STORED: 0, DEFLATED: 8 } as const
const FLAGS = { ENCRYPTED: 0x1, DESCRIPTOR: 0x8 } as const
/** Of an entry in the directory, without its texts. */
const LISTING_BYTES = 46
const END = { BYTES: 22, SIGNATURE: 0x06054b50, ZIP64_BYTES: 20, ZIP64_SIGNATURE: 0x07064b50 } as const
const LATER = 0xffffffff
const ZIP64 = 0x0001
const SUFFIX = '.npy'

const MAGIC = '\x93NUMPY'

/** numpy's own bound, of `max_header_size`. */
const HEADER_BYTES_MAX = 10_000

const FIELD = /\s*'(descr|fortran_order|shape)'\s*:\s*(?:'([^'\\]*)'|(True|False)|\(([\d, ]*)\))\s*(?:,|(?=\}))/y
const SHAPE = /^ *(?:(?:\d{1,15} *, *)+(?:\d{1,15} *)?)?$/
const DTYPE = /^(?:\|[biu]1|[<>](?:[iu][1248]|f[248]|c(?:8|16)))$/
const FLOATS = ['<f2', '<f4', '<f8', '>f2', '>f4', '>f8']

interface NpyArray {
  dtype: string
  shape: number[]
  isFortran: boolean
  bytes: Uint8Array
}

/**
 * The bank in a file that holds at least the statistics. Rejects with NPZ_MALFORMED telling which rule the file breaks,
 * or NPZ_UNSUPPORTED for pickled objects and other types than numbers, naming the array.
 */
export async function parseBankNpz (file: Uint8Array, layers: readonly BatchNormLayer[]): Promise<ParsedBank> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length)
  const arrays = new Map<string, NpyArray>()
  try {
    for (const { entry, start } of await placedEntries(bytes)) {
      const name = entry.fileName.slice(0, -SUFFIX.length)
      arrays.set(name, parseNpy(name, await contentOf(entry, bytes.subarray(start, start + entry.compressedSize))))
    }
  } catch (cause) {
    if (cause instanceof BankswitchError) throw cause
    throw npzErrors.NPZ_MALFORMED(`the npz file is refused: ${clip((cause as Error).message)}`, {}, cause)
  }
  const found = layersOfTensors(arrays, floatsOf, layers)
  const weights = found.ignored.flatMap((name) => {
    const { dtype, isFortran, shape, bytes: values } = arrays.get(name)!
    return dtype === '<f4' && !isFortran && mayBeConvolution(shape) ? [{ name, shape, bytes: values }] : []
  })
  return { ...found, weights, metadata: new Map() }
}

interface Placed {
  entry: Entry
  /** Where its content begins. */
  start: number
}

/** All entries, after everything that the directory and their own headers say was checked. */
async function placedEntries (bytes: Buffer): Promise<Placed[]> {
  const directory = directoryOf(bytes)
  const zip = await fromBufferPromise(bytes, { lazyEntries: true, strictFileNames: true })
  const entries = await listedEntries(zip, bytes.length, bytes.length - END.BYTES - directory)
  entries.sort((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader)
  const placed: Placed[] = []
  let position = 0
  for (const entry of entries) {
    const name = clip(entry.fileName)
    const { relativeOffsetOfLocalHeader: begin } = entry
    if (begin !== position) malformed(`"${name}" does not begin where the one before it ended`, position, begin)
    const header = await zip.readLocalFileHeaderPromise(entry)
    requireAgreement(entry, header)
    placed.push({ entry, start: header.fileDataStart })
    position = header.fileDataStart + entry.compressedSize
    position += descriptorBytes(entry, bytes.subarray(position, directory))
  }
  if (position !== directory) malformed('its entries do not end where its directory begins', directory, position)
  return placed
}

/** Where the directory begins: it is the end of the file but for the record that says so, without a comment. */
function directoryOf (bytes: Buffer): number {
  const end = bytes.length - END.BYTES
  const isLarge = end >= END.ZIP64_BYTES && bytes.readUInt32LE(end - END.ZIP64_BYTES) === END.ZIP64_SIGNATURE
  if (end < 0 || bytes.readUInt32LE(end) !== END.SIGNATURE || isLarge) {
    malformed('it does not end in a plain end of a directory', END.BYTES, bytes.length)
  }
  const [size, begin] = [bytes.readUInt32LE(end + 12), bytes.readUInt32LE(end + 16)]
  if (begin + size !== end) malformed('its directory does not end it', end, begin + size)
  return begin
}

/** What the directory, of `directoryBytes`, lists of a file of `fileBytes`. */
async function listedEntries (zip: ZipFile, fileBytes: number, directoryBytes: number): Promise<Entry[]> {
  if (zip.entryCount > ENTRIES_MAX) malformed('it has too many entries', ENTRIES_MAX, zip.entryCount)
  const inflatedMax = Math.max(INFLATED_BYTES_MIN, INFLATION_MAX * fileBytes)
  const entries = new Map<string, Entry>()
  let inflated = 0
  let listed = 0
  for await (const entry of zip.eachEntry()) {
    const { fileName: name } = entry
    listed += LISTING_BYTES + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength
    if (!name.endsWith(SUFFIX)) malformed(`"${clip(name)}" is no array`, `a name that ends in ${SUFFIX}`, clip(name))
    if (entries.has(name)) malformed(`"${clip(name)}" stands in it twice`, 'a name once', clip(name))
    entries.set(name, entry)
    inflated += entry.uncompressedSize
    if (inflated > inflatedMax) malformed('its arrays are too large together', `at most ${inflatedMax} bytes`, inflated)
    requireReadable(entry)
  }
  if (listed !== directoryBytes) malformed('its directory is larger than its entries', directoryBytes, listed)
  return [...entries.values()]
}

function requireReadable ({ fileName, generalPurposeBitFlag: flags, compressionMethod: method }: Entry): void {
  const name = clip(fileName)
  if ((flags & FLAGS.ENCRYPTED) !== 0) throw unsupported(name, 'is encrypted', 'no encryption', flags)
  if (method === METHODS.STORED || method === METHODS.DEFLATED) return
  throw unsupported(name, 'is compressed in another way', 'stored or deflated', method)
}

/** Readers differ in whom they believe, the directory or the entry's own header. */
function requireAgreement (entry: Entry, header: LocalFileHeader): void {
  const { generalPurposeBitFlag: flags } = entry
  const [whole, packed] = sizesOf(header)
  const isLater = (flags & FLAGS.DESCRIPTOR) !== 0
  const isSame = header.fileName.equals(entry.fileNameRaw) && header.generalPurposeBitFlag === flags &&
    header.compressionMethod === entry.compressionMethod
  const isSameSize = whole === entry.uncompressedSize && packed === entry.compressedSize
  const isUntold = isLater && header.crc32 === 0 && whole === 0 && packed === 0
  if (isSame && ((isSameSize && header.crc32 === entry.crc32) || isUntold)) return
  malformed(`the header of "${clip(entry.fileName)}" says something else than the directory`, 'the same', 'another')
}

function sizesOf ({ uncompressedSize, compressedSize, extraField }: LocalFileHeader): [whole: number, packed: number] {
  if (uncompressedSize !== LATER && compressedSize !== LATER) return [uncompressedSize, compressedSize]
  const data = parseExtraFields(extraField).find(({ id }) => id === ZIP64)?.data
  if (data === undefined || data.length < 16) return malformed('a header without sizes', 16, data?.length ?? 0)
  return [Number(data.readBigUInt64LE(0)), Number(data.readBigUInt64LE(8))]
}

/** The length of what a writer that could not seek has put behind an entry; 0 without one. */
function descriptorBytes (entry: Entry, rest: Buffer): number {
  if ((entry.generalPurposeBitFlag & FLAGS.DESCRIPTOR) === 0) return 0
  const signature = Buffer.from('504b0708', 'hex')
  const [checksum, packed, whole] = [entry.crc32, entry.compressedSize, entry.uncompressedSize].map((value) => {
    const eight = Buffer.alloc(8)
    eight.writeBigUInt64LE(BigInt(value))
    return eight
  }) as [Buffer, Buffer, Buffer]
  for (const width of [8, 4]) {
    const plain = Buffer.concat([checksum.subarray(0, 4), packed.subarray(0, width), whole.subarray(0, width)])
    for (const descriptor of [Buffer.concat([signature, plain]), plain]) {
      if (rest.subarray(0, descriptor.length).equals(descriptor)) return descriptor.length
    }
  }
  return malformed(`what follows "${clip(entry.fileName)}" says something else than the directory`, 'the same', 'another')
}

async function contentOf (entry: Entry, packed: Buffer): Promise<Buffer> {
  const { fileName, uncompressedSize, compressionMethod } = entry
  const name = clip(fileName)
  let content = packed
  if (compressionMethod === METHODS.DEFLATED) {
    const { buffer, engine } = await inflate(packed, { maxOutputLength: Math.max(1, uncompressedSize), info: true })
    if (engine.bytesWritten !== packed.length) malformed(`"${name}" has bytes left over`, packed.length, engine.bytesWritten)
    content = buffer
  }
  if (content.length !== uncompressedSize) malformed(`"${name}" has another size than it says`, uncompressedSize, content.length)
  const checksum = crc32(content)
  if (checksum !== entry.crc32) malformed(`"${name}" is damaged`, entry.crc32, checksum)
  return content
}

/** With `info`, Node gives the engine as well, whose `bytesWritten` is the length of the input that it has used. */
const inflate = promisify(inflateRaw) as unknown as (
  bytes: InputType, options: ZlibOptions
) => Promise<{ buffer: Buffer, engine: { bytesWritten: number } }>

function parseNpy (name: string, bytes: Buffer): NpyArray {
  const [major, minor] = [bytes[6] ?? 0, bytes[7]]
  if (bytes.toString('latin1', 0, 6) !== MAGIC || bytes.length < 12 || minor !== 0 || major < 1 || major > 3) {
    malformed(`"${clip(name)}" is no npy array of version 1.0, 2.0 or 3.0`, MAGIC, bytes.toString('hex', 0, 8))
  }
  const begin = major === 1 ? 10 : 12
  const length = major === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8)
  const room = Math.min(HEADER_BYTES_MAX, bytes.length - begin)
  if (length > room) malformed(`the header of "${clip(name)}" is longer than the array or the limit`, room, length)
  const { dtype, isFortran, shape } = parseHeader(name, bytes.toString('latin1', begin, begin + length))
  if (!DTYPE.test(dtype)) {
    const what = dtype.includes('O') ? 'holds pickled objects, which are never read' : `has the type ${clip(dtype)}`
    throw unsupported(clip(name), what, 'numbers', clip(dtype))
  }
  const content = bytes.subarray(begin + length)
  const expected = tensorBytes(shape, Number(dtype.slice(2)))
  if (content.length !== expected) malformed(`"${clip(name)}" has another size than its shape says`, expected, content.length)
  return { dtype, isFortran, shape, bytes: content }
}

/** A Python literal of exactly three fields, in any order. */
function parseHeader (name: string, text: string): Pick<NpyArray, 'dtype' | 'isFortran' | 'shape'> {
  const refused = () => malformed(
    `the header of "${clip(name)}" is refused`, "{'descr': …, 'fortran_order': …, 'shape': …}", clip(text)
  )
  if (/'descr'\s*:\s*\[/.test(text)) throw unsupported(clip(name), 'is made of records', 'numbers', clip(text))
  const fields: { descr?: string, fortran_order?: string, shape?: string } = {}
  FIELD.lastIndex = text.startsWith('{') ? 1 : text.length
  let end = FIELD.lastIndex
  for (let match = FIELD.exec(text); match !== null; match = FIELD.exec(text)) {
    const [, field, dtype, boolean, shape] = match as unknown as [string, keyof typeof fields, ...string[]]
    const value = { descr: dtype, fortran_order: boolean, shape }[field]
    if (value === undefined || fields[field] !== undefined) return refused()
    fields[field] = value
    end = FIELD.lastIndex
  }
  const { descr, fortran_order: order, shape } = fields
  if (descr === undefined || order === undefined || shape === undefined) return refused()
  if (!/^\s*\}\s*$/.test(text.slice(end)) || !SHAPE.test(shape)) return refused()
  const dims = shape.split(',').filter((dim) => dim.trim() !== '')
  return { dtype: descr, isFortran: order === 'True', shape: dims.map(Number) }
}

/** The values of an array of floats, of any rank, row by row. */
function floatsOf (name: string, { dtype, shape, isFortran, bytes }: NpyArray): Float32Array | Float64Array {
  if (!FLOATS.includes(dtype)) throw unsupported(clip(name), `is ${dtype}, but statistics must be floats`, FLOATS, dtype)
  if (isFortran && shape.filter((dim) => dim > 1).length > 1) {
    throw unsupported(clip(name), 'lies column by column', 'a vector', shape)
  }
  const copy = Buffer.from(new Uint8Array(bytes).buffer)
  const isSwapped = dtype.startsWith('>')
  switch (dtype.slice(1)) {
    case 'f2': return Float32Array.from(new Uint16Array((isSwapped ? copy.swap16() : copy).buffer), float16ToNumber)
    case 'f4': return new Float32Array((isSwapped ? copy.swap32() : copy).buffer)
    default: return new Float64Array((isSwapped ? copy.swap64() : copy).buffer)
  }
}

function clip (text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

function malformed (message: string, expected: unknown, received: unknown): never {
  throw npzErrors.NPZ_MALFORMED(`the npz file is refused: ${message}`, { expected, received })
}

function unsupported (array: string, what: string, expected: unknown, received: unknown): Error {
  return npzErrors.NPZ_UNSUPPORTED(`array "${array}" ${what}`, { array, expected, received })
}
