/**
 * A domain's signature: how the features of its images are spread, and how far images of it lie that the spread was not
 * made of.
 *
 *   mean, covariance   of the features, the covariance drawn towards its diagonal by a prior of a tenth as many images
 *                      as there are features: positive definite for any number of images, and hardly changed for many.
 *                      Features are highly correlated, and domains differ where their common part is taken out
 *   score              squared Mahalanobis distance from the mean; larger is stranger
 *   held-back scores   each image's score under the moments of the images that are not of its fold; folds are
 *                      neighbours in the given order, because frames that follow each other are alike, and as many as
 *                      it takes for what is left out not to show: see `foldsOf`
 *   p-value            (1 + held-back scores >= score) / (1 + held-back scores): of images like those it was made of,
 *                      at most a share p gets a p-value of p or less (conformal prediction; Vovk, Gammerman & Shafer
 *                      2005). It is not randomised: ties do not come up among real distances, an answer is the same
 *                      each time, and what it gives away, at most 1 / (1 + n), is on the safe side
 */
import { finish, type Sliced } from '../base/slices.js'
import { signatureErrors } from './errors.js'
import { isFinite } from './features.js'
import { eachWithout, momentsOf, type JointMoments } from './moments.js'
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

const FOLDS_MIN = 10

/** By how much held-back scores may be too large, in standard deviations of the score: see `foldsOf`. */
const SHIFT_MAX = 0.05

/** Images that the diagonal counts as, for each feature. */
const PRIOR_PER_FEATURE = 0.1

/** Of a feature that never changes: its deviation, in units of its channel's own deviation within an image. */
const DEVIATION_MIN = 1e-3

/**
 * The signature of a domain from the features of its images, in the order in which they came. Images whose features are
 * no numbers are left out. Throws SIGNATURE_TOO_FEW_IMAGES.
 */
export function makeSignature (rows: readonly Float64Array[], origin: SignatureOrigin): Signature {
  return finish(signatureInSteps(rows, origin))
}

/** The same, for a thread that others need too. */
export function * signatureInSteps (
  rows: readonly Float64Array[], origin: SignatureOrigin
): Sliced<Signature> {
  const usable = evenly(rows.filter(isFinite), IMAGES_MAX)
  if (usable.length < IMAGES_MIN) {
    throw signatureErrors.SIGNATURE_TOO_FEW_IMAGES('there are too few images for a signature', {
      expected: `at least ${IMAGES_MIN}`, received: usable.length
    })
  }
  const size = usable[0]!.length
  const count = foldsOf(usable.length, size)
  const folds = Array.from({ length: count }, (_, fold) => usable.slice(
    Math.floor(fold * usable.length / count), Math.floor((fold + 1) * usable.length / count)
  ))
  const scores: number[] = []
  for (const [fold, moments] of eachWithout(folds, size)) {
    const others = signatureOf({ ...spreadOf(moments), origin, images: 0, scores: new Float64Array(0) })
    for (const row of fold) scores.push(scoreOf(others, row))
    yield
  }
  return signatureOf({
    ...spreadOf(momentsOf(usable, size)),
    origin,
    images: usable.length,
    scores: Float64Array.from(evenly(scores, SCORES_MAX)).sort()
  })
}

/**
 * Into how many folds n images of F features are parted. Later images are scored under the moments of all n, held-back
 * ones under those of m = n (1 - 1/K), which are less exact: a squared distance under them is F m / (m - F) on average
 * (Hotelling's T2; Anderson, An Introduction to Multivariate Statistical Analysis, chapter 5), so that held-back scores
 * are larger, by some F^2 / (n K), while a score varies by some sqrt(2 F). In these units they are too large by
 *
 *   sqrt(F / 2) min(1, F / n) / K
 *
 * with the prior of the covariance: in simulations of 48 to 256 normal features 0.8 to 1.3 times as much from n = 1.2 F
 * on, and less for fewer images. Where it is 0.4, as for ten folds of 256 images of 128 features, a bound of
 * drift/reference-band.ts was broken for 23 of 24 signatures, where it is 0.1 for 6 of 16, where it is SHIFT_MAX for 5
 * of some 400, and one in twenty is what they promise. No fewer folds than that: the more there are, the more alike are
 * frames that follow each other in different ones. Where single images are not enough, the rest was at most 0.11.
 */
export function foldsOf (images: number, features: number): number {
  const shift = Math.sqrt(features / 2) * Math.min(1, features / images)
  return Math.min(images, Math.max(FOLDS_MIN, Math.ceil(shift / SHIFT_MAX)))
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

/**
 * The largest score whose p-value is not below `fitMin`; undefined where no score has a smaller one, so that nothing
 * shows what does not fit.
 */
export function farthestFitting ({ scores }: Pick<Signature, 'scores'>, fitMin: number): number | undefined {
  const all = 1 + scores.length
  if (1 / all >= fitMin) return undefined
  let asLarge = 1
  while ((1 + asLarge) / all < fitMin) asLarge++
  return scores[scores.length - asLarge]
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
