/**
 * Which of several domains an image belongs to: the one whose mean is nearest under the covariance that all share, as
 * the linear discriminant has it (Fisher 1936). Covariances of their own would draw images towards the domains that
 * vary most. How well it fits the domain that was chosen is told by that domain's own signature.
 */
import assert from 'node:assert'
import { deviationsOf, pValueOf, scoreOf, signatureOf, type Signature } from './signature.js'
import { difference, squaredLength, whitened } from './symmetric.js'

export interface DomainChoice {
  readonly domain: string
  /** The next best; undefined where there is but one domain. */
  readonly runnerUp: string | undefined
  /** By how much the domain's log-likelihood is above the runner-up's, in nats; 0 for what is no number. */
  readonly margin: number | undefined
  /** Conformal p-value under the chosen domain, in (0, 1]; never NaN. */
  readonly p: number
  /** The image's features in standard deviations of the chosen domain; one is NaN or infinite if it came so. */
  readonly z: Float64Array
}

interface Candidate {
  domain: string
  signature: Signature
  mean: Float64Array
}

export class Discriminant {
  readonly #candidates: readonly Candidate[]
  readonly #shared: Signature

  /** `signatures` by domain: at least one, all of one origin. The first one wins where domains are equally near. */
  constructor (signatures: ReadonlyMap<string, Signature>) {
    const [first] = signatures.values()
    assert(first !== undefined, 'there is a domain to choose')
    const all = [...signatures.values()]
    const images = all.reduce((sum, one) => sum + one.images, 0)
    const covariance = new Float64Array(first.covariance.length)
    for (const one of all) {
      assert(one.mean.length === first.mean.length, 'signatures of one origin have one number of features')
      for (let at = 0; at < covariance.length; at++) covariance[at]! += one.covariance[at]! * (one.images / images)
    }
    this.#shared = signatureOf({ ...first, covariance })
    this.#candidates = [...signatures].map(([domain, signature]) => {
      return { domain, signature, mean: whitened(this.#shared.factor, difference(signature.mean, first.mean)) }
    })
  }

  /** Undefined for a domain that is not among those to choose. */
  signatureOf (domain: string): Signature | undefined {
    return this.#candidates.find((candidate) => candidate.domain === domain)?.signature
  }

  /** One hard choice; the same for the same features. */
  choose (features: Float64Array): DomainChoice {
    const place = whitened(this.#shared.factor, difference(features, this.#shared.mean))
    const ranked = this.#candidates.map((candidate) => {
      const distance = squaredLength(difference(place, candidate.mean))
      return { ...candidate, distance: Number.isNaN(distance) ? Infinity : distance }
    }).sort((a, b) => a.distance === b.distance ? 0 : a.distance - b.distance)
    const [best, next] = ranked
    const { domain, signature } = best!
    const margin = next === undefined ? undefined : (next.distance - best!.distance) / 2
    return {
      domain,
      runnerUp: next?.domain,
      margin: margin === undefined || Number.isFinite(margin) ? margin : 0,
      p: pValueOf(signature, scoreOf(signature, features)),
      z: deviationsOf(signature, features)
    }
  }
}
