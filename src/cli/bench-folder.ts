/**
 * `bankswitch bench folder`: every ONNX file of a folder through preparing, compiling, proof and benchmark.
 *
 * NAME.kept.onnx is compared with NAME.folded.onnx too, where that is beside it: the same network, exported with its
 * batch norms kept and with them folded away. A file that fails is a row with its error.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BankswitchError } from '../base/errors.js'
import { prepareSource } from '../compiler/pipeline.js'
import { unreadable } from './command-line.js'
import { benchSwitch, type SwitchBenchmark } from './switch-bench.js'
import type { CompileOptions } from '../compiler/compile-options.js'

const ENDING = '.onnx'
const KEPT = '.kept.onnx'
const FOLDED = '.folded.onnx'

export type FolderRow = { model: string } & (SwitchBenchmark | { error: string, code: string })

export interface FolderEntry {
  /** Name in tables. */
  model: string
  file: string
  /** File that it is compared with too. */
  against?: string
}

/** Which of a folder's files are networks, and what each is compared with; in alphabetical order. */
export function pairFiles (files: readonly string[]): FolderEntry[] {
  const all = new Set(files)
  return [...all].filter((file) => file.endsWith(ENDING)).sort().flatMap((file) => {
    if (file.endsWith(FOLDED) && all.has(file.slice(0, -FOLDED.length) + KEPT)) return []
    if (!file.endsWith(KEPT)) return [{ model: file.slice(0, -ENDING.length), file }]
    const model = file.slice(0, -KEPT.length)
    return [{ model, file, ...(all.has(model + FOLDED) ? { against: model + FOLDED } : {}) }]
  })
}

/** Throws CONFIG_INVALID for a folder that cannot be read. `onFile` is told the file that is next. */
export async function benchFolder (
  folder: string, options: CompileOptions, batch: number, rounds: number, onFile: (file: string) => void = () => {}
): Promise<FolderRow[]> {
  const files = await readdir(folder).catch((cause: unknown) => { throw unreadable(folder, cause) })
  const rows: FolderRow[] = []
  for (const { model, file, against } of pairFiles(files)) {
    onFile(file)
    try {
      const prepared = await prepareSource({ path: join(folder, file), origin: 'graph' })
      const other = against === undefined ? {} : { against: join(folder, against) }
      rows.push({ model, ...await benchSwitch({ prepared, options, ...other }, batch, rounds) })
    } catch (error) {
      const code = error instanceof BankswitchError ? error.code : 'INTERNAL'
      rows.push({ model, error: (error as Error).message, code })
    }
  }
  return rows
}

/** Of all ratios; undefined when nothing was measured. */
export function geometricMean (rows: readonly FolderRow[]): number | undefined {
  const logarithms = rows.flatMap((row) => 'error' in row ? [] : [Math.log(row.ratioToFused)])
  if (logarithms.length === 0) return undefined
  return Math.exp(logarithms.reduce((sum, value) => sum + value, 0) / logarithms.length)
}

export const FOLDER_HEADER = [
  'model', 'BN', 'file ms', 'prepared ms', 'against ms', 'baseline', 'switched ms', 'ratio', 'spread',
  'bytes per domain', 'of the weights', 'error'
]

/** A row under FOLDER_HEADER. */
export function folderCells (row: FolderRow): string[] {
  if ('error' in row) return [row.model, ...Array<string>(FOLDER_HEADER.length - 2).fill('-'), row.code]
  const { file, prepared, against } = row.baselinesMs
  return [
    row.model, String(row.bnLayers), ...[file, prepared, against].map((ms) => ms?.toFixed(2) ?? '-'), row.baseline,
    row.switchedMs.toFixed(2), row.ratioToFused.toFixed(3), `${(100 * row.spread).toFixed(1)} %`,
    row.bytesPerDomain.toLocaleString('en'), `${(100 * row.bytesPerDomain / row.weightBytes).toFixed(2)} %`,
    row.maxRelativeError.toExponential(1)
  ]
}
