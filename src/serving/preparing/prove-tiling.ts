/**
 * Is the overlap of a manifest's tiling large enough? A small picture of noise, which shows every dependence on a
 * neighbour, is run whole and in small tiles of the same overlap: how far an output pixel sees does not depend on the
 * tile's size. A model whose tiles would show is refused at start, not found out by a customer.
 */
import { sampleFeeds } from '../../compiler/sample-inputs.js'
import { canvasFor } from '../../imaging/encode.js'
import { cutTile, placeTile, type Raster } from '../../imaging/raster.js'
import { tilesOf, type Tile, type Tiling } from '../../imaging/tiles.js'
import { modelErrors } from '../../models/errors.js'
import { channelsOf, rulesOf } from '../../models/preprocessing.js'
import { ownBankOf } from '../banks-to-run.js'
import { loneRow } from '../lone-row.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { ReadyModel } from '../model-states.js'

const SEED = 13

/** The rounding of float32 may turn a pixel by one; a wrong overlap turns them by tens. */
const PIXEL_DIFFERENCE_MAX = 1

/** Windows of a row or column of the trial picture, at least. */
const STEPS = 2

/** Does nothing for other tasks. Rejects with MANIFEST_INVALID, and what running throws. */
export async function proveTiling (pool: Pick<InferencePool, 'submit'>, model: ReadyModel): Promise<void> {
  const { manifest } = model.entry
  if (manifest.task !== 'image-to-image') return
  const { input, output, tiling: { overlap, multipleOf } } = manifest
  const step = multipleOf * Math.ceil(4 / multipleOf)
  const tile = Math.min(manifest.tiling.tile, multipleOf * Math.ceil(2 * overlap / multipleOf) + step)
  const side = tile + STEPS * step
  const rules = rulesOf(manifest, manifest.defaultDomain)
  const source = noise(side, channelsOf(rules))
  const bank = ownBankOf(model)
  const computed = async (tiling: Tiling): Promise<Raster> => {
    const canvas = canvasFor(source, output.scale)
    for (const part of tilesOf(side, side, tiling)) await place(part, canvas)
    return canvas
  }
  const place = async (part: Tile, canvas: Raster): Promise<void> => {
    const feeds = { [input.name]: { type: 'float32' as const, ...cutTile(source, part, rules) } }
    const [result] = await pool.submit([loneRow(model, '', bank, feeds)])
    const { dims, data } = result!.outputs[output.name]!
    placeTile(canvas, part, { dims: [...dims], data: data as Float32Array<ArrayBuffer> }, { ...output, ...rules })
  }
  const whole = await computed({ tile: side, overlap, multipleOf })
  const tiled = await computed({ tile, overlap, multipleOf })
  const difference = whole.data.reduce((largest, value, at) => Math.max(largest, Math.abs(value - tiled.data[at]!)), 0)
  if (difference <= PIXEL_DIFFERENCE_MAX) return
  throw modelErrors.MANIFEST_INVALID(
    `the tiles of "${manifest.name}" would show: an overlap of ${overlap} is less than its output pixels see`,
    { expected: `a difference of at most ${PIXEL_DIFFERENCE_MAX} of 255`, received: difference }
  )
}

/** Seeded, uniform enough, over the whole range. */
function noise (side: number, channels: 1 | 3): Raster {
  const dims = [1, channels, side, side]
  const { data } = sampleFeeds([{ name: 'x', type: 'float32', dims }], { x: dims }, 1, SEED).x!
  return {
    width: side,
    height: side,
    channels,
    data: Uint8ClampedArray.from(data as Float32Array, (value) => 128 + 64 * value)
  }
}
