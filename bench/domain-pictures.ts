/**
 * The pictures of the shipped domains, made from the data sets that they were trained on as training/gtsrb.py and
 * training/degradations.py make them. Seeded, so that a run can be repeated.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import sharp from 'sharp'
import { fromBufferPromise } from 'yauzl'
import { bytesOf } from '#src/base/bytes.js'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { seededNormal, seededUniform } from '#src/compiler/sample-inputs.js'
import type { Uploads } from '#src/serving/calibrating/calibrations.js'

export const SIGN_DOMAINS = ['day', 'lowlight', 'lowres', 'fog'] as const
export type SignDomain = typeof SIGN_DOMAINS[number]
const SIDE = 32
const VALUES = SIDE * SIDE * 3

/** A picture of values 0 to 255, rows of RGB pixels, and its class. */
export interface Sign {
  side: number
  values: Float32Array
  label: number
}

export interface Signs {
  train: Record<SignDomain, Sign[]>
  test: Record<SignDomain, Sign[]>
}

/** Luma of a track, or of a test picture, that makes it one of `day` or `lowlight`. */
const DAY_MIN = 80
const LOWLIGHT_MAX = 50

/** Reads gtsrb32.npz. */
export async function loadSigns (path: string, seed: number): Promise<Signs> {
  const arrays = await readNpz(await readFile(path))
  const part = (name: string, lumaName: string, offset: number) => {
    const pixels = arrays.get(`${name}_x`)!
    const labels = arrays.get(`${name}_y`)!
    const luma = arrays.get(lumaName)!
    const all = Array.from({ length: labels.length }, (_, at): Sign & { luma: number } => ({
      side: SIDE,
      values: Float32Array.from(pixels.subarray(at * VALUES, (at + 1) * VALUES)),
      label: labels[at]!,
      luma: luma[at]!
    }))
    const day = all.filter((sign) => sign.luma > DAY_MIN)
    return {
      day,
      lowlight: all.filter((sign) => sign.luma < LOWLIGHT_MAX),
      lowres: day.map(halved),
      fog: inFog(day, seed + offset)
    }
  }
  return { train: part('train', 'train_track_luma', 0), test: part('test', 'test_luma', 1) }
}

/** Averages of two by two. */
export function halved ({ side, values, label }: Sign): Sign {
  const half = side / 2
  return {
    side: half,
    label,
    values: Float32Array.from({ length: half * half * 3 }, (_, at) => {
      const [channel, x, y] = [at % 3, Math.floor(at / 3) % half, Math.floor(at / 3 / half)]
      const of = (row: number, column: number) => values[((2 * y + row) * side + 2 * x + column) * 3 + channel]!
      return (of(0, 0) + of(0, 1) + of(1, 0) + of(1, 1)) / 4
    })
  }
}

/** In an order that the seed decides. */
export function shuffled<Item> (items: readonly Item[], seed: number): Item[] {
  const uniform = seededUniform(seed)
  return items.map((item) => ({ item, at: uniform() })).sort((a, b) => a.at - b.at).map(({ item }) => item)
}

/** The usual airlight mixture, one draw per picture. */
function inFog (signs: readonly Sign[], seed: number): Sign[] {
  const uniform = seededUniform(seed)
  return signs.map((sign) => {
    const transmission = 0.25 + 0.35 * uniform()
    const airlight = 200 + 20 * uniform()
    return { ...sign, values: sign.values.map((value) => value * transmission + (1 - transmission) * airlight) }
  })
}

/** As traffic-signs takes it: three planes of (value / 255 - 0.5) / 0.25. */
export function tensorOf ({ side, values }: Sign): Float32Array {
  const area = side * side
  return Float32Array.from({ length: 3 * area }, (_, at) => {
    return (values[at % area * 3 + Math.floor(at / area)]! / 255 - 0.5) / 0.25
  })
}

/** As PNG, in 8 bits; enlarged to `side` where that is another. */
export async function pngOf ({ side: own, values }: Sign, side = own, kernel: 'linear' | 'cubic' | 'nearest' = 'linear'): Promise<Buffer> {
  const raw = { width: own, height: own, channels: 3 as const }
  const image = sharp(Uint8Array.from(values, (value) => Math.round(Math.min(255, Math.max(0, value)))), { raw })
  return await (side === own ? image : image.resize(side, side, { kernel })).png({ compressionLevel: 1 }).toBuffer()
}

/** As many as a signature is made of at most. */
const SIGNATURE_IMAGES = 4096

/** The pictures as the network takes them. */
export function signUploads (signs: readonly Sign[], images = SIGNATURE_IMAGES): Uploads {
  const count = Math.min(signs.length, images)
  const chosen = Array.from({ length: count }, (_, at) => tensorOf(signs[Math.floor(at * signs.length / count)]!))
  const { side } = signs[0]!
  const all = new Float32Array(count * 3 * side * side)
  for (const [at, tensor] of chosen.entries()) all.set(tensor, at * tensor.length)
  const bytes = serializeSafetensors([
    { name: 'input', dtype: 'F32', shape: [count, 3, side, side], bytes: bytesOf(all) }
  ], new Map())
  return { kind: 'tensors', file: { name: 'pictures.safetensors', bytes } }
}

export const DEGRADATIONS = ['bicubic', 'noise', 'jpeg', 'phone'] as const
export type Degradation = typeof DEGRADATIONS[number]
const NOISE_SIGMA = 15
const JPEG_QUALITY = 20

/** A sharp picture, and the same degraded at half its size, as PNG. */
export interface Pair {
  sharp: Buffer
  low: Buffer
}

/** Pairs of the folder `sr`: of `phone` from City100, of the others from the training pictures or from Set14. */
export async function loadPairs (folder: string, part: 'train' | 'test', kind: Degradation, seed: number): Promise<Pair[]> {
  const normal = seededNormal(seed)
  if (kind === 'phone') {
    const place = join(folder, 'city100-phone', part)
    const names = (await readdir(place)).filter((name) => name.endsWith('-sharp.png')).sort()
    return await Promise.all(names.map(async (name) => ({
      sharp: await rgb(join(place, name)), low: await halve(await rgb(join(place, name.replace('sharp', 'phone'))))
    })))
  }
  const place = join(folder, part === 'train' ? 'train' : 'test-set14')
  const pairs: Pair[] = []
  for (const name of (await readdir(place)).sort()) {
    const whole = await even(join(place, name))
    pairs.push({ sharp: whole, low: await degrade(await halve(whole), kind, normal) })
  }
  return pairs
}

/** A picture in all eight positions that squares allow. */
export async function turnedAndFlipped (picture: Buffer): Promise<Buffer[]> {
  return await Promise.all([0, 90, 180, 270].flatMap((angle) => [false, true].map(async (isFlipped) => {
    const turned = await sharp(picture).rotate(angle).png().toBuffer()
    return isFlipped ? await sharp(turned).flop().png().toBuffer() : turned
  })))
}

/** The service's own sharp opens no files. */
async function rgb (path: string): Promise<Buffer> {
  return await sharp(await readFile(path)).toColourspace('srgb').removeAlpha().png().toBuffer()
}

/** Cut to even sides. */
async function even (path: string): Promise<Buffer> {
  const picture = await rgb(path)
  const { width, height } = await sharp(picture).metadata()
  return await sharp(picture).extract({
    left: 0, top: 0, width: width - width % 2, height: height - height % 2
  }).png().toBuffer()
}

async function halve (picture: Buffer): Promise<Buffer> {
  const { width, height } = await sharp(picture).metadata()
  return await sharp(picture).resize(width / 2, height / 2, { kernel: 'cubic', fit: 'fill' }).png().toBuffer()
}

async function degrade (small: Buffer, kind: Degradation, normal: () => number): Promise<Buffer> {
  if (kind === 'jpeg') return await sharp(await sharp(small).jpeg({ quality: JPEG_QUALITY }).toBuffer()).png().toBuffer()
  if (kind !== 'noise') return small
  const { data, info: { width, height } } = await sharp(small).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const noisy = Uint8ClampedArray.from(data, (value) => value + NOISE_SIGMA * normal())
  return await sharp(noisy, { raw: { width, height, channels: 3 } }).png().toBuffer()
}

/** Over all channels of 8-bit pictures, in dB. */
export async function psnrOf (a: Buffer, b: Buffer): Promise<number> {
  const [one, other] = await Promise.all([a, b].map((picture) => {
    return sharp(picture).toColourspace('srgb').removeAlpha().raw().toBuffer()
  })) as [Buffer, Buffer]
  if (one.length !== other.length) throw new Error('pictures of two sizes')
  let sum = 0
  for (let at = 0; at < one.length; at++) sum += (one[at]! - other[at]!) ** 2
  return 10 * Math.log10(255 ** 2 / (sum / one.length))
}

type Numbers = Uint8Array | Float64Array | Float32Array | Int32Array

/** Plain arrays of numbers, as numpy.savez writes them. */
async function readNpz (file: Buffer): Promise<Map<string, Numbers>> {
  const zip = await fromBufferPromise(file, { lazyEntries: true })
  const arrays = new Map<string, Numbers>()
  for await (const entry of zip.eachEntry()) {
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry)
    const packed = file.subarray(fileDataStart, fileDataStart + entry.compressedSize)
    const bytes = entry.compressionMethod === 0 ? packed : inflateRawSync(packed)
    const header = bytes.toString('latin1', 10, 10 + bytes.readUInt16LE(8))
    arrays.set(entry.fileName.replace('.npy', ''), numbersOf(/'descr': '(..\d)'/.exec(header)![1]!, new Uint8Array(bytes.subarray(10 + bytes.readUInt16LE(8)))))
  }
  return arrays
}

function numbersOf (type: string, bytes: Uint8Array<ArrayBuffer>): Numbers {
  switch (type) {
    case '|u1': return bytes
    case '<f8': return new Float64Array(bytes.buffer)
    case '<f4': return new Float32Array(bytes.buffer)
    case '<i4': return new Int32Array(bytes.buffer)
    case '<i8': return Float64Array.from(new BigInt64Array(bytes.buffer), Number)
    case '<i2': return Int32Array.from(new Int16Array(bytes.buffer))
    case '<u2': return Int32Array.from(new Uint16Array(bytes.buffer))
    default: throw new Error(`arrays of type ${type} are not read`)
  }
}
