/**
 * Which of several domains an image belongs to: the likeliest, its features spread normally in each, under covariances
 * that are drawn towards the one that all domains share (regularised discriminant analysis; Friedman 1989):
 *
 *   covariance      0.9 of the shared one and 0.1 of the domain's own. With more of their own, images are drawn towards
 *                   the domains that vary most; with none, a domain that varies little draws too many
 *   log-likelihood  -1/2 (squared Mahalanobis distance + log determinant of the covariance), but for a constant
 *   prior           the default domain counts as twice as likely as any other: it is what the network was trained for,
 *                   and a picture that might be either loses least there
 *
 * How well the image fits a domain is told by that domain's own signature. Where the likeliest one does not fit and
 * others do, the likeliest of those is chosen: a domain that varies little draws what lies far from it.
 */
import assert from 'node:assert'
import { farthestFitting, pValueOf, scoreOf, signatureOf, type Signature } from './signature.js'
import { choleskyOf, diagonalAt, difference, squaredDistance, squaredLength, whitened } from './symmetric.js'
import type { Sliced } from '../base/slices.js'

export interface DomainChoice {
  readonly domain: string
  /** The next likeliest, or the likeliest where that does not fit; undefined where there is but one domain. */
  readonly runnerUp: string | undefined
  /** By how much it is likelier than the runner-up, in nats; negative where it is not, 0 for what is no number. */
  readonly margin: number | undefined
  /** Under the chosen domain's signature; Infinity for what is no number. */
  readonly score: number
  /** Conformal p-value under the chosen domain, in (0, 1]; never NaN. */
  readonly p: number
}

interface Candidate {
  readonly domain: string
  readonly signature: Signature
  /** Under the shared covariance, from that of the first domain. */
  readonly mean: Float64Array
  /** Of the covariance that is partly its own. */
  readonly factor: Float64Array
  /** Twice the log-likelihood at its mean, with the prior. */
  readonly most: number
  /** The largest score that fits; undefined where the signature has too few scores for anything not to fit. */
  readonly farthest: number | undefined
}

interface Ranked {
  readonly domain: string
  readonly signature: Signature
  /** Minus twice the log-likelihood, but for a constant. */
  readonly distance: number
}

export interface DiscriminantOptions {
  /** It need not be among the signatures. */
  readonly defaultDomain?: string | undefined
  /** What has a smaller p-value does not fit a domain; 0 unless given, which everything fits. */
  readonly fitMin?: number
}

/** See above; best, or within 0.3 points of it, on held-back training pictures of the shipped models. */
const OWN_SHARE = 0.1

const DEFAULT_PRIOR = 2

/** Only so many, the nearest under the shared covariance, are compared by covariances of their own. */
const COMPARED_MAX = 8

export class Discriminant {
  readonly #candidates: readonly Candidate[]
  readonly #shared: Signature
  readonly #fitMin: number

  /** See `makeDiscriminant`. */
  constructor (candidates: readonly Candidate[], shared: Signature, fitMin: number) {
    this.#candidates = candidates
    this.#shared = shared
    this.#fitMin = fitMin
  }

  /** Undefined for a domain that is not among those to choose. */
  signatureOf (domain: string): Signature | undefined {
    return this.#candidates.find((candidate) => candidate.domain === domain)?.signature
  }

  /** By domain, the conformal p-value under its own signature, in (0, 1]; never NaN. */
  pValues (features: Float64Array): Map<string, number> {
    return new Map(this.#candidates.map(({ domain, signature }) => {
      return [domain, fitOf({ signature }, features).p]
    }))
  }

  /** One hard choice; the same for the same features. */
  choose (features: Float64Array): DomainChoice {
    const candidates = this.#nearest(features)
    const [best, next] = likeliestTwo(candidates, features)
    const fit = fitOf(best, features)
    if (fit.p < this.#fitMin) {
      const others = candidates.filter((other) => isProvenFit(other, features))
      if (others.length > 0) {
        const [fitting] = likeliestTwo(others, features)
        return choiceOf(fitting, best, fitOf(fitting, features))
      }
    }
    return choiceOf(best, next, fit)
  }

  /** In the order of the signatures. */
  #nearest (features: Float64Array): readonly Candidate[] {
    if (this.#candidates.length <= COMPARED_MAX) return this.#candidates
    const place = whitened(this.#shared.factor, difference(features, this.#shared.mean))
    const distances = this.#candidates.map((candidate) => {
      const distance = squaredLength(difference(place, candidate.mean))
      return { candidate, distance: Number.isNaN(distance) ? Infinity : distance }
    })
    distances.sort((a, b) => a.distance === b.distance ? 0 : a.distance - b.distance)
    const nearest = new Set(distances.slice(0, COMPARED_MAX).map(({ candidate }) => candidate))
    return this.#candidates.filter((candidate) => nearest.has(candidate))
  }
}

/**
 * Of the signatures by domain: at least one, all of one origin. The first one wins where domains are equally likely. To
 * factor a covariance of 256 features takes some milliseconds, and there may be hundreds.
 */
export function * makeDiscriminant (
  signatures: ReadonlyMap<string, Signature>, { defaultDomain, fitMin = 0 }: DiscriminantOptions = {}
): Sliced<Discriminant> {
  const [first] = signatures.values()
  assert(first !== undefined, 'there is a domain to choose')
  const all = [...signatures.values()]
  const size = first.mean.length
  const images = all.reduce((sum, one) => sum + one.images, 0)
  const covariance = new Float64Array(first.covariance.length)
  for (const one of all) {
    assert(one.mean.length === size, 'signatures of one origin have one number of features')
    for (let at = 0; at < covariance.length; at++) covariance[at]! += one.covariance[at]! * (one.images / images)
    yield
  }
  const shared = signatureOf({ ...first, covariance })
  const candidates: Candidate[] = []
  for (const [domain, signature] of signatures) {
    const mixed = covariance.map((value, at) => (1 - OWN_SHARE) * value + OWN_SHARE * signature.covariance[at]!)
    const factor = choleskyOf(mixed, size)
    assert(factor !== undefined, 'a mixture of positive definite matrices is one')
    const prior = domain === defaultDomain ? DEFAULT_PRIOR : 1
    candidates.push({
      domain,
      signature,
      mean: whitened(shared.factor, difference(signature.mean, first.mean)),
      factor,
      most: 2 * Math.log(prior) - logDeterminant(factor, size),
      farthest: farthestFitting(signature, fitMin)
    })
    yield
  }
  return new Discriminant(candidates, shared, fitMin)
}

/** The likeliest and the next; at least one of them is given, and of equally likely ones the first wins. */
function likeliestTwo (
  candidates: readonly Candidate[], features: Float64Array
): [best: Ranked, next: Ranked | undefined] {
  let best: Ranked | undefined
  let next: Ranked | undefined
  for (const { domain, signature, factor, most } of candidates) {
    // What is further than the runner-up need not be known to the end.
    const enough = next === undefined ? Infinity : next.distance + most
    const distance = squaredDistance(factor, features, signature.mean, enough) - most
    const one = { domain, signature, distance }
    if (best === undefined || distance < best.distance) [best, next] = [one, best]
    else if (next === undefined || distance < next.distance) next = one
  }
  return [best!, next]
}

/** What lies far off is known to after a few features. */
function isProvenFit ({ signature: { factor, mean }, farthest }: Candidate, features: Float64Array): boolean {
  return farthest !== undefined && squaredDistance(factor, features, mean, farthest) <= farthest
}

function choiceOf (
  chosen: Ranked, other: Ranked | undefined, { score, p }: Pick<DomainChoice, 'score' | 'p'>
): DomainChoice {
  const margin = other === undefined ? undefined : (other.distance - chosen.distance) / 2
  return {
    domain: chosen.domain,
    runnerUp: other?.domain,
    margin: margin === undefined || Number.isFinite(margin) ? margin : 0,
    score,
    p
  }
}

function fitOf (
  { signature }: Pick<Candidate, 'signature'>, features: Float64Array
): Pick<DomainChoice, 'score' | 'p'> {
  const score = scoreOf(signature, features)
  return { score, p: pValueOf(signature, score) }
}

/** Of L Lᵀ. */
function logDeterminant (factor: Float64Array, size: number): number {
  let sum = 0
  for (let row = 0; row < size; row++) sum += Math.log(factor[diagonalAt(row)]!)
  return 2 * sum
}
