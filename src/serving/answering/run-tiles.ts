/** A decoded picture through the net in tiles, under one bank, into the canvas of its answer. */
import { enlargeAlpha } from '../../imaging/enlarge-alpha.js'
import { cutTile, hasAlpha, placeTile, type Raster } from '../../imaging/raster.js'
import { tilesOf } from '../../imaging/tiles.js'
import { loneRow } from '../lone-row.js'
import type { ImageToImageManifest } from '../../models/manifest.js'
import type { ColourRules } from '../../models/preprocessing.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankToRun } from '../banks-to-run.js'
import type { Run } from './inference.js'
import type { Progress } from './progress.js'
import type { ReadyModel } from '../model-states.js'

/** What running tiles needs. */
export interface TileNeeds {
  pool: Pick<InferencePool, 'submit'>
  workers: number
}

export interface TileRun {
  needs: TileNeeds
  model: ReadyModel
  manifest: ImageToImageManifest
  colour: ColourRules
  source: Raster
  canvas: Raster
  progress: Progress
  signal: AbortSignal | undefined
  domain: string
  bank: BankToRun
}

export interface TileTimes {
  /** The longest that a tile waited. */
  queueMs: number
  /** Of all tiles; workers run them side by side. */
  inferMs: number
  runs: readonly Run[]
}

/**
 * Lanes take the next tile as each finishes its last. The caller has asked for the room of the first, as any request
 * does, and keeps the pool open; from then on all are, so to speak, in the house already, and a full queue does not
 * throw away what has been done.
 */
export async function runTiles (
  { needs: { pool, workers }, model, manifest, colour, source, canvas, progress, signal: given, domain, bank }: TileRun
): Promise<TileTimes> {
  const { input, output, tiling } = manifest
  const place = { ...output, ...colour }
  const stop = new AbortController()
  const signal = AbortSignal.any([stop.signal, ...(given === undefined ? [] : [given])])
  const times = { queueMs: 0, inferMs: 0 }
  const runs: Run[] = []
  const tiles = tilesOf(source.width, source.height, tiling)
  const lane = async () => {
    for (const tile of tiles) {
      const feeds = { [input.name]: { type: 'float32' as const, ...cutTile(source, tile, colour) } }
      const [result] = await pool.submit([loneRow(model, domain, bank, feeds)], signal, true)
      const { dims, data } = result!.outputs[output.name]!
      placeTile(canvas, tile, { dims: [...dims], data: data as Float32Array<ArrayBuffer> }, place)
      if (hasAlpha(source)) enlargeAlpha(source, canvas, tile, output.scale)
      progress.tilesDone++
      const { queueMs, inferMs, startedAt } = result!
      times.queueMs = Math.max(times.queueMs, queueMs)
      times.inferMs += inferMs
      runs.push({ rows: 1, runRows: 1, queueMs, inferMs, startedAt })
    }
  }
  const lanes = Array.from({ length: Math.min(workers + 1, progress.tilesTotal) }, () => {
    return lane().catch((error: unknown) => {
      stop.abort(error)
      throw error
    })
  })
  await Promise.allSettled(lanes)
  await Promise.all(lanes)
  return { ...times, runs }
}
