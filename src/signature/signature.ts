/**
 * A domain's signature: how the features of its images are spread, and how far images of it lie that the spread was not
 * made of.
 *
 *   mean, covariance   of the features, the covariance drawn towards its diagonal by a prior of a tenth as many images
 *                      as there are features: positive definite for any number of images, and hardly changed for many.
 *                      Features are highly correlated, and domains differ where their common part is taken out
 *   score              squared Mahalanobis distance from the mean; larger is stranger
 *   held-back scores   each image's score under the moments of the nine tenths of the images that it is not among; the
 *                      tenths are neighbours in the given order, because frames that follow each other are alike
 *   p-value            (1 + held-back scores >= score) / (1 + held-back scores): of images like those it was made of,
 *                      at most a share p gets a p-value of p or less (conformal prediction; Vovk, Gammerman & Shafer
 *                      2005). It is not randomised: ties do not come up among real distances, an answer is the same
 *                      each time, and what it gives away, at most 1 / (1 + n), is on the safe side
 */
import { signatureErrors } from './errors.js'
import { isFinite } from './features.js'
import { mergeMoments, momentsOf, noMoments, type JointMoments } from './moments.js'
import { choleskyOf, diagonalAt, squaredDistance } from './symmetric.js'

/** What a signature was made with: features of another origin mean something else. */
export interface SignatureOrigin {
  /** Digest of the graph that reads the features, which stands for the network and how its positions are sampled. */
  readonly stem: string
  /** How images became tensors, as text that is equal for equal preparation: size, colour, mean, deviation. */
  readonly preparation: string
}

export interface SignatureParts {
  readonly origin: SignatureOrigin
  /** Images that it is made of. */
  readonly images: number
  /** Of F features. */
  readonly mean: Float64Array
  /** Packed, F x F; positive definite. */
  readonly covariance: Float64Array
  /** Held-back scores in ascending order. */
  readonly scores: Float64Array
}

export interface Signature extends SignatureParts {
  /** Cholesky factor of the covariance, packed. */
  readonly factor: Float64Array
}

/** Fewer say nothing of a covariance. */
export const IMAGES_MIN = 32
/** Images that it is made of at most, evenly chosen. */
export const IMAGES_MAX = 4096
/** Held-back scores at most, evenly chosen: beyond, a p-value gains digits that nobody acts on. */
export const SCORES_MAX = 1024

const FOLDS = 10

/** Images that the diagonal counts as, for each feature. */
const PRIOR_PER_FEATURE = 0.1

/** Of a feature that never changes: its deviation, in units of its channel's own deviation within an image. */
const DEVIATION_MIN = 1e-3

/**
 * The signature of a domain from the features of its images, in the order in which they came. Images whose features are
 * no numbers are left out. Throws SIGNATURE_TOO_FEW_IMAGES.
 */
export function makeSignature (rows: readonly Float64Array[], origin: SignatureOrigin): Signature {
  const usable = evenly(rows.filter(isFinite), IMAGES_MAX)
  if (usable.length < IMAGES_MIN) {
    throw signatureErrors.SIGNATURE_TOO_FEW_IMAGES('there are too few images for a signature', {
      expected: `at least ${IMAGES_MIN}`, received: usable.length
    })
  }
  const size = usable[0]!.length
  const folds = Array.from({ length: FOLDS }, (_, fold) => usable.slice(
    Math.floor(fold * usable.length / FOLDS), Math.floor((fold + 1) * usable.length / FOLDS)
  ))
  const moments = folds.map((fold) => momentsOf(fold, size))
  const without = (left: number) => moments.reduce((sum, one, fold) => {
    return fold === left ? sum : mergeMoments(sum, one)
  }, noMoments(size))
  const scores = folds.flatMap((fold, at) => {
    const others = signatureOf({ ...spreadOf(without(at)), origin, images: 0, scores: new Float64Array(0) })
    return fold.map((row) => scoreOf(others, row))
  })
  const all = mergeMoments(without(0), moments[0]!)
  return signatureOf({
    ...spreadOf(all), origin, images: usable.length, scores: Float64Array.from(evenly(scores, SCORES_MAX)).sort()
  })
}

/** Throws SIGNATURE_INVALID where the covariance is not positive definite. */
export function signatureOf (parts: SignatureParts): Signature {
  const factor = choleskyOf(parts.covariance, parts.mean.length)
  if (factor !== undefined) return { ...parts, factor }
  throw signatureErrors.SIGNATURE_INVALID('the covariance of the signature is not positive definite')
}

/** Squared Mahalanobis distance of the features from the signature's mean; Infinity for what is no number. */
export function scoreOf ({ mean, factor }: Signature, features: Float64Array): number {
  return squaredDistance(factor, features, mean)
}

/** In (0, 1]: the share of held-back scores, with the given one among them, that are as large as it. */
export function pValueOf ({ scores }: Pick<Signature, 'scores'>, score: number): number {
  let [low, high] = [0, scores.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (scores[middle]! >= score) high = middle
    else low = middle + 1
  }
  return (1 + scores.length - low) / (1 + scores.length)
}

/** By how many of the domain's standard deviations each feature differs from its mean. */
export function deviationsOf ({ mean, covariance }: Signature, features: Float64Array): Float64Array {
  return features.map((value, at) => (value - mean[at]!) / Math.sqrt(covariance[diagonalAt(at)]!))
}

function spreadOf ({ count, mean, products }: JointMoments): Pick<SignatureParts, 'mean' | 'covariance'> {
  const size = mean.length
  const channels = size / 2
  const covariance = products.map((sum) => sum / (count + PRIOR_PER_FEATURE * size))
  for (let at = 0; at < size; at++) {
    const unit = at < channels ? Math.exp(mean[channels + at]!) : 1
    covariance[diagonalAt(at)] = products[diagonalAt(at)]! / count + DEVIATION_MIN ** 2 * unit
  }
  return { mean, covariance }
}

/** At most `most` of them, evenly spaced. */
function evenly<T> (all: readonly T[], most: number): readonly T[] {
  if (all.length <= most) return all
  return Array.from({ length: most }, (_, at) => all[Math.floor(at * all.length / most)]!)
}
