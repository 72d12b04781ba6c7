/** Calibrating small nets in a test, and comparing statistics. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { floatValues, parseSafetensors } from '#src/bank/formats/safetensors.js'
import { calibrate, type Calibrated, type CalibrationInput } from '#src/calibration/calibrate.js'
import { completeOptions } from '#src/calibration/options.js'
import { StatisticsGraph } from '#src/calibration/statistics-graph.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel } from '#src/onnx/model.js'
import { sliceRows, type Tensors } from '#src/ort/rows.js'
import type { Bank } from '#src/bank/bank.js'
import { ROOT } from './folders.js'

export interface Net {
  model: Uint8Array
  images: Tensors
  /** `<mode>.<layer>.<mean|variance>` */
  golden: Map<string, Float64Array>
}

export const GOLDEN_NETS = ['residual', 'pre-activation'] as const

/** What training/calibration_goldens.py wrote. */
export async function readCalibrationGolden (name: typeof GOLDEN_NETS[number]): Promise<Net> {
  const at = (suffix: string) => readFile(join(ROOT, `test/golden/calibration-${name}.${suffix}`))
  const { tensors } = parseSafetensors(await at('safetensors'))
  const golden = new Map([...tensors].map(([key, tensor]) => [key, Float64Array.from(floatValues(key, tensor))]))
  const { shape } = tensors.get('images')!
  return {
    model: await at('onnx'),
    images: { input: { type: 'float32', dims: shape, data: Float32Array.from(golden.get('images')!) } },
    golden
  }
}

/** `given` are options; `more` replaces parts of the input. */
export async function calibrateNet (
  { model, images }: Pick<Net, 'model' | 'images'>, given: Record<string, unknown> = {}, more: Partial<CalibrationInput> = {}
): Promise<Calibrated> {
  const { layers, ownBank } = readBatchNorms(indexGraph(parseModel(model).graph))
  return await calibrate({
    model,
    fingerprint: new StatisticsGraph(model, new Set()).fingerprint,
    layers,
    base: ownBank,
    options: completeOptions({ minimumImages: 2, ...given }),
    images,
    duplicates: 0,
    broken: 0,
    budgetBytes: 2 ** 30,
    ...more
  })
}

export function takeRows (images: Tensors, rows: readonly number[]): Tensors {
  return Object.fromEntries(Object.entries(images).map(([name, { type, dims }]) => {
    const parts = rows.map((row) => sliceRows(images, row, 1)[name]!.data as Float32Array)
    const data = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      data.set(part, at)
      at += part.length
    }
    return [name, { type, dims: [rows.length, ...dims.slice(1)], data }]
  }))
}

export type Statistics = ReadonlyMap<string, { mean: ArrayLike<number>, variance: ArrayLike<number> }>

/**
 * Largest difference over layers and channels: of variances relative to the variance, of means relative to the standard
 * deviation or the mean, whichever is larger (a mean may be zero).
 */
export function worstDifference (actual: Statistics, expected: Statistics): number {
  let worst = 0
  for (const [key, { mean, variance }] of expected) {
    const { mean: means, variance: variances } = actual.get(key)!
    for (let channel = 0; channel < mean.length; channel++) {
      const scale = Math.max(Math.abs(mean[channel]!), Math.sqrt(variance[channel]!))
      worst = Math.max(worst, Math.abs(means[channel]! - mean[channel]!) / scale)
      worst = Math.max(worst, Math.abs(variances[channel]! - variance[channel]!) / variance[channel]!)
    }
  }
  return worst
}

export function goldenStatistics ({ golden }: Net, mode: string): Statistics {
  const layers = [...golden.keys()].filter((key) => key.startsWith(`${mode}.`) && key.endsWith('.mean'))
  return new Map(layers.map((key) => {
    const layer = key.slice(mode.length + 1, -'.mean'.length)
    return [layer, { mean: golden.get(key)!, variance: golden.get(`${mode}.${layer}.variance`)! }]
  }))
}

/** The statistics that stand in a model. */
export function ownBankOf (model: Uint8Array): Bank {
  return readBatchNorms(indexGraph(parseModel(model).graph)).ownBank
}
