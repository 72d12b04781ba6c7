/**
 * Which pictures of a stream count: a camera's frames follow each other, and ten frames of one moment are no ten
 * pictures.
 *
 * How much neighbours differ is averaged along the stream, on scales where pictures that do not depend on each other
 * differ by 1 on average: their features, in variances of the domain; and some of their values, in variances of the
 * pictures themselves. From the features follows how many pictures are passed over until what is left of the likeness
 * is LIKENESS_LEFT. Where neighbours have values that are nothing alike, as those of noise, none is passed over,
 * however little their features vary. That number depends on pictures that are past, never on the one that it lets in:
 * in-domain pictures that do not depend on each other are thinned without a preference, and the detector's promise
 * holds for them exactly. On top of it a picture that is the last counted one again (SAME) never counts, however long a
 * camera stands still.
 */

/** Features that are compared; a stem may have a thousand channels, and a few tell frames apart. */
export const COMPARED_MAX = 64

const SMOOTHING = 1 / 16

/** No pair of neighbours counts for more; pictures from anywhere may differ by any amount. */
const DIFFERENCE_MAX = 4

/** Before anything is known of a stream: every eighth picture. */
const DIFFERENCE_AT_FIRST = 0.25

const LIKENESS_LEFT = 0.1

export const GAP_MAX = 256

/** Differences of features and values below which two pictures are one: noise of a sensor or of JPEG makes less. */
const SAME = { features: 0.01, values: 0.03 }

/** Average difference of values from which on neighbours have nothing in common; frames of one camera have half. */
const UNLIKE = 0.9

/** What pictures are compared by: as many numbers for each. */
export interface Compared {
  /** In standard deviations from the domain's mean. */
  readonly features: Float32Array
  /** Some of the picture's values, from the same places. */
  readonly values: Float32Array
}

export interface Thinning {
  /** The picture before, and the one that counted last. */
  before: Compared | undefined
  counted: Compared | undefined
  /** Average differences of neighbours. */
  byFeatures: number
  byValues: number
  /** Pictures to pass over. */
  wait: number
}

export function newThinning (): Thinning {
  return {
    before: undefined, counted: undefined, byFeatures: DIFFERENCE_AT_FIRST, byValues: DIFFERENCE_AT_FIRST, wait: 0
  }
}

/**
 * Takes note of the next picture, by finite features in standard deviations from the domain's mean and by some of its
 * values; tells whether it counts.
 */
export function counts (state: Thinning, z: ArrayLike<number>, values: Float32Array): boolean {
  const size = Math.min(z.length, COMPARED_MAX)
  const now = { features: Float32Array.from({ length: size }, (_, at) => z[at]!), values }
  const { before } = state
  state.before = now
  if (before !== undefined) {
    state.byFeatures += SMOOTHING * (featuresApart(before, now) - state.byFeatures)
    state.byValues += SMOOTHING * (valuesApart(before, now) - state.byValues)
  }
  const isUnlike = state.byValues >= UNLIKE
  if (state.wait > 0) {
    state.wait--
    return false
  }
  if (state.counted !== undefined && isSame(state.counted, now, isUnlike)) return false
  state.counted = now
  state.wait = isUnlike ? 0 : gapOf(state.byFeatures) - 1
  return true
}

/** Of how many pictures one counts: the likeness falls by the same factor with each. */
export function gapOf (difference: number): number {
  const likeness = 1 - difference
  if (likeness <= LIKENESS_LEFT) return 1
  if (likeness >= 1) return GAP_MAX
  return Math.min(GAP_MAX, Math.ceil(Math.log(LIKENESS_LEFT) / Math.log(likeness)))
}

function isSame (a: Compared, b: Compared, isUnlike: boolean): boolean {
  return featuresApart(a, b) < SAME.features && (!isUnlike || valuesApart(a, b) < SAME.values)
}

function featuresApart (a: Compared, b: Compared): number {
  return Math.min(DIFFERENCE_MAX, meanSquare(a.features, b.features) / 2)
}

/** Pictures of one colour each are the same or have nothing in common; what is no number is taken for the same. */
function valuesApart (a: Compared, b: Compared): number {
  const apart = meanSquare(a.values, b.values) / (varianceOf(a.values) + varianceOf(b.values))
  return apart > 0 ? Math.min(DIFFERENCE_MAX, apart) : 0
}

/** 0 for none. */
function varianceOf (values: Float32Array): number {
  let [mean, squares] = [0, 0]
  for (const value of values) mean += value / values.length
  for (const value of values) squares += (value - mean) ** 2 / values.length
  return squares
}

/** 0 for none. */
function meanSquare (a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let at = 0; at < a.length; at++) sum += (a[at]! - b[at]!) ** 2
  return a.length === 0 ? 0 : sum / a.length
}
