/**
 * From images to a bank, with what there is to know about it. Pure but for the runs: it opens no file and knows no
 * domain. It holds its thread for as long as it takes; see calibration-thread.ts.
 */
import { sliceRows, type Tensors } from '../ort/rows.js'
import { StatisticsGraph } from './statistics-graph.js'
import { calibrationErrors } from './errors.js'
import { bytesOfAll, observe, rowsOf, type Observed, type Subject } from './forward.js'
import {
  layerConfidence, verdictOf, warningsOf, type LayerConfidence, type Verdict, type Warning
} from './confidence.js'
import { selectLayers, type CalibrationOptions } from './options.js'
import { predictionDrift, type PredictionDrift } from './predictions.js'
import type { Bank, BatchNormLayer } from '../bank/bank.js'
import type { Moments } from './moments.js'
import type { Prior } from './priors.js'

export interface CalibrationInput {
  model: Uint8Array
  /** That the model must have. */
  fingerprint: string
  layers: readonly BatchNormLayer[]
  base: Bank
  options: CalibrationOptions
  /** The output whose largest value is the class, where there is one. */
  classOutput?: string
  /** Distinct images, one tensor a model input, in an order that is as good as random. */
  images: Tensors
  /** How many copies and unreadable images were left out. */
  duplicates: number
  broken: number
  /** Bytes that images and activations may take. */
  budgetBytes: number
  onProgress? (share: number): void
}

export interface CalibrationReport {
  mode: CalibrationOptions['mode']
  /** Images that the statistics are made of. */
  images: number
  /** Work per image in forward runs. */
  forwardRuns: number
  verdict: Verdict
  layers: LayerConfidence[]
  warnings: Warning[]
  predictions?: PredictionDrift
}

export interface Calibrated {
  bank: Bank
  /** Pooled sums of the adapted layers. */
  moments: Map<string, Moments>
  report: CalibrationReport
}

const EARLY_STOP_FIRST = 64

/**
 * Throws CALIBRATION_TOO_FEW_IMAGES, CALIBRATION_IMAGES_IDENTICAL, CALIBRATION_TOO_LARGE, CALIBRATION_LAYER_UNKNOWN,
 * CALIBRATION_MODEL_CHANGED and what `observe` throws.
 */
export async function calibrate (input: CalibrationInput): Promise<Calibrated> {
  const { model, layers, base, options, classOutput, duplicates, broken, onProgress = () => {} } = input
  const total = rowsOf(input.images)
  checkAmount(input, total)
  if (new StatisticsGraph(model, new Set()).fingerprint !== input.fingerprint) {
    throw calibrationErrors.CALIBRATION_MODEL_CHANGED('the model file is not the one that is served; restart')
  }
  const subject: Subject = { model, layers, base, adapted: selectLayers([...base.keys()], options.layers) }
  let images = options.stopEarly ? Math.min(EARLY_STOP_FIRST, total) : total
  for (let done = 0; ; images = Math.min(2 * images, total)) {
    const batches = batchesOf(input.images, images, options.batchSize)
    const observed = await observeImages(input, subject, batches, images, (share) => {
      onProgress((done + share * images) / Math.max(total, done + images))
    })
    done += images
    const confidence = layers.filter(({ key }) => observed.observers.has(key)).map((layer) => {
      return layerConfidence(layer, observed.observers.get(layer.key)!, options.tolerance)
    })
    const verdict = verdictOf(confidence, images, options.tolerance)
    if (!verdict.isSettled && images < total) continue
    const drift = classOutput === undefined
      ? undefined
      : await predictionDrift(model, classOutput, batches, base, observed.bank)
    const facts = { layers: confidence, verdict, images, duplicates, broken, drift }
    return {
      bank: observed.bank,
      moments: new Map([...observed.observers].map(([key, { moments }]) => [key, moments])),
      report: {
        mode: options.mode,
        images,
        forwardRuns: observed.forwardRuns,
        verdict,
        layers: confidence,
        warnings: warningsOf(facts),
        ...(drift === undefined ? {} : { predictions: drift })
      }
    }
  }
}

function observeImages (
  { options, images: all, budgetBytes }: CalibrationInput, subject: Subject, batches: readonly Tensors[],
  images: number, onProgress: (share: number) => void
): Promise<Observed> {
  const { priorImages, priorKind } = options
  const prior: Prior | undefined = priorImages > 0 ? { kind: priorKind, images: priorImages } : undefined
  return observe({ subject, batches, images, options, prior, budgetBytes: budgetBytes - bytesOfAll(all), onProgress })
}

function checkAmount ({ options, images, duplicates, budgetBytes }: CalibrationInput, total: number): void {
  if (total === 1 && duplicates > 0) {
    throw calibrationErrors.CALIBRATION_IMAGES_IDENTICAL('all images are the same', {
      expected: `${options.minimumImages} different images`, received: `${duplicates + 1} copies of one`
    })
  }
  if (total < options.minimumImages) {
    throw calibrationErrors.CALIBRATION_TOO_FEW_IMAGES('there are too few different, readable images', {
      expected: `at least ${options.minimumImages}`, received: total
    })
  }
  if (bytesOfAll(images) > budgetBytes) {
    throw calibrationErrors.CALIBRATION_TOO_LARGE('the images take more memory than a calibration may', {
      expected: `at most ${Math.floor(budgetBytes / (bytesOfAll(images) / total))} images`, received: total
    })
  }
}

function batchesOf (images: Tensors, count: number, size: number): Tensors[] {
  const batches: Tensors[] = []
  for (let first = 0; first < count; first += size) {
    batches.push(sliceRows(images, first, Math.min(size, count - first)))
  }
  return batches
}
