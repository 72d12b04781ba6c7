/** The test part of the German traffic signs, as `gtsrb32.npz` has it (training/README.md), for networks that read them. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inflateRaw } from 'node:zlib'
import { fromBufferPromise } from 'yauzl'

/** As training/gtsrb.py has them. */
const [MEAN, STD] = [0.5, 0.25]
const [DAY_LUMA_MIN, LOWLIGHT_LUMA_MAX] = [80, 50]

const SIDE = 32
export const PICTURE_VALUES = 3 * SIDE * SIDE

export interface Pictures {
  /** RGB, interleaved, a picture after another. */
  pixels: Uint8Array
  labels: Uint8Array
  /** Mean luma of each, 0 to 255. */
  luma: Float32Array
}

/** By the light that a picture was taken in; `between` are those that no domain was trained on. */
export type Light = 'day' | 'between' | 'lowlight'

export async function readTestPictures (folder: string): Promise<Pictures> {
  const file = await readFile(join(folder, 'gtsrb32.npz'))
  const zip = await fromBufferPromise(file)
  const arrays = new Map<string, Buffer>()
  for await (const entry of zip.eachEntry()) {
    if (!entry.fileName.startsWith('test_')) continue
    const start = entry.relativeOffsetOfLocalHeader + 30 + file.readUInt16LE(entry.relativeOffsetOfLocalHeader + 26) +
      file.readUInt16LE(entry.relativeOffsetOfLocalHeader + 28)
    const packed = file.subarray(start, start + entry.compressedSize)
    const npy = entry.compressionMethod === 0 ? packed : await promisify(inflateRaw)(packed)
    // Magic, version and a header of a length that stands in it: numpy/lib/format.py.
    arrays.set(entry.fileName, Buffer.from(npy.subarray(10 + npy.readUInt16LE(8))))
  }
  const [pixels, labels, luma] = ['test_x.npy', 'test_y.npy', 'test_luma.npy'].map((name) => arrays.get(name)!)
  return { pixels: pixels!, labels: labels!, luma: new Float32Array(luma!.buffer, luma!.byteOffset, luma!.length / 4) }
}

/** Which pictures were taken in this light. */
export function inLight ({ luma }: Pictures, light: Light): number[] {
  return Array.from(luma.keys()).filter((at) => {
    if (light === 'day') return luma[at]! > DAY_LUMA_MIN
    return light === 'lowlight' ? luma[at]! < LOWLIGHT_LUMA_MAX : luma[at]! >= LOWLIGHT_LUMA_MAX && luma[at]! <= DAY_LUMA_MIN
  })
}

export function meanLuma ({ luma }: Pictures, places: readonly number[]): number {
  return places.reduce((sum, at) => sum + luma[at]!, 0) / places.length
}

/**
 * Pictures as the network takes them, NCHW, exposed to a share of their light and rounded to the 8 bits that a camera
 * gives.
 */
export function inputsOf ({ pixels }: Pictures, places: readonly number[], exposure: number): Float32Array {
  const inputs = new Float32Array(places.length * PICTURE_VALUES)
  const area = SIDE * SIDE
  for (const [row, at] of places.entries()) {
    for (let value = 0; value < PICTURE_VALUES; value++) {
      const exposed = Math.round(exposure * pixels[at * PICTURE_VALUES + value]!)
      inputs[row * PICTURE_VALUES + (value % 3) * area + Math.floor(value / 3)] = (exposed / 255 - MEAN) / STD
    }
  }
  return inputs
}
