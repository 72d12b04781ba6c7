/** How far the statistics of a calibration can be trusted, in words and numbers. */
import { DRIFT_IMAGES_MAX, type PredictionDrift } from './predictions.js'
import type { BatchNormLayer } from '../bank/bank.js'
import type { LayerObserver } from './estimators.js'

export interface LayerConfidence {
  layer: string
  /** Root mean square over channels of standard error / standard deviation. */
  meanError: number
  /** Root mean square over channels of the variance's standard error / variance. */
  varianceError: number
  isSettled: boolean
  /** Channels with hardly any variance: a first deviating pixel would be blown up. */
  deadChannels: number
}

export interface Verdict {
  isSettled: boolean
  /** Images that would settle every layer, if further images are like these. */
  imagesNeeded: number
  text: string
}

export interface Warning {
  code: 'NOT_SETTLED' | 'DEAD_CHANNELS' | 'DUPLICATES' | 'SINGLE_CLASS' | 'LABEL_SHIFT' | 'BROKEN_IMAGES'
  message: string
}

/** Below this share of epsilon, the scale gamma / sqrt(variance + epsilon) hardly depends on the variance any more. */
const DEAD_SHARE = 1e-3

/** An error has no meaning for more than this many times the spread, and JSON knows no infinity. */
const ERROR_MAX = 1e6

export function layerConfidence (layer: BatchNormLayer, observer: LayerObserver, tolerance: number): LayerConfidence {
  const errors = observer.spread.standardErrors()
  const { count, squares } = observer.moments
  let [means, variances, alive] = [0, 0, 0]
  for (let channel = 0; channel < layer.channels; channel++) {
    const variance = squares[channel]! / count
    if (variance <= DEAD_SHARE * layer.epsilon) continue
    alive++
    means += errors.mean[channel]! ** 2 / variance
    variances += (errors.variance[channel]! / variance) ** 2
  }
  const root = (sum: number) => alive === 0 ? 0 : Math.min(ERROR_MAX, Math.sqrt(sum / alive))
  const [meanError, varianceError] = [root(means), root(variances)]
  return {
    layer: layer.key,
    meanError,
    varianceError,
    isSettled: Math.max(meanError, varianceError) <= tolerance,
    deadChannels: layer.channels - alive
  }
}

/** Standard errors fall with the root of the number of images. */
export function verdictOf (layers: readonly LayerConfidence[], images: number, tolerance: number): Verdict {
  const worst = layers.reduce((most, { meanError, varianceError }) => Math.max(most, meanError, varianceError), 0)
  const imagesNeeded = Math.ceil(images * Math.min((worst / tolerance) ** 2, ERROR_MAX))
  const unsettled = layers.filter(({ isSettled }) => !isSettled).map(({ layer }) => layer)
  const isSettled = unsettled.length === 0
  const named = unsettled.length > 5 ? `${unsettled.slice(0, 5).join(', ')} and ${unsettled.length - 5} more` : unsettled.join(', ')
  return {
    isSettled,
    imagesNeeded,
    text: isSettled
      ? `${images} images are enough`
      : `${images} images are not enough: ${named} ${unsettled.length === 1 ? 'is' : 'are'} not settled; about ${imagesNeeded} would be`
  }
}

export interface WarningFacts {
  layers: readonly LayerConfidence[]
  verdict: Verdict
  images: number
  duplicates: number
  broken: number
  drift: PredictionDrift | undefined
}

/** Predictions of a balanced set spread over all classes; fewer than this share of what could be is suspicious. */
const EFFECTIVE_SHARE_MIN = 0.15
const DRIFT_DISTANCE_MAX = 0.5
/** With fewer images a histogram of classes tells nothing. */
const DRIFT_IMAGES_MIN = 16

export function warningsOf ({ layers, verdict, images, duplicates, broken, drift }: WarningFacts): Warning[] {
  const warnings: Warning[] = []
  const warn = (code: Warning['code'], message: string) => warnings.push({ code, message })
  if (!verdict.isSettled) warn('NOT_SETTLED', verdict.text)
  const dead = layers.filter(({ deadChannels }) => deadChannels > 0)
  if (dead.length > 0) {
    const sum = dead.reduce((total, { deadChannels }) => total + deadChannels, 0)
    const most = dead.reduce((a, b) => b.deadChannels > a.deadChannels ? b : a)
    warn('DEAD_CHANNELS', `${sum} channels in ${dead.length} layers do not vary over these images (most in ${most.layer}); ` +
      'a prior keeps them from blowing up what does')
  }
  if (duplicates > 0) warn('DUPLICATES', `${duplicates} images are copies of others and were left out`)
  if (broken > 0) warn('BROKEN_IMAGES', `${broken} images could not be read and were left out`)
  if (drift !== undefined && drift.images >= DRIFT_IMAGES_MIN) {
    const possible = Math.min(drift.after.length, drift.images)
    if (possible > 2 && drift.effectiveClasses < Math.max(1.5, EFFECTIVE_SHARE_MIN * possible)) {
      warn('SINGLE_CLASS', `the images look like ${drift.effectiveClasses.toFixed(1)} of ${drift.after.length} classes; ` +
        'statistics of few classes serve the others badly')
    }
    if (drift.distance > DRIFT_DISTANCE_MAX) {
      warn('LABEL_SHIFT', `${Math.round(100 * drift.distance)} % of the predictions move to other classes with the new ` +
        `bank (of ${Math.min(images, DRIFT_IMAGES_MAX)} images looked at); compare it on labelled images before you trust it`)
    }
  }
  return warnings
}
