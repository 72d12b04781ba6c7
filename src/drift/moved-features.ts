/** What of the last pictures tells where they have gone: features that moved, and the domains that they are near to. */

/** Pictures that still count, roughly. */
const SMOOTHING = 1 / 256

/** In standard deviations; no picture counts for more. */
const SHIFT_MAX = 10

/** Domains counted at once; a rarer one goes when another comes up. */
const DOMAINS_MAX = 64

export interface MovedFeature {
  /** Its number among the signature's features. */
  feature: number
  /** Of the mean of the last pictures, in standard deviations of one picture. */
  shift: number
}

export class MovedFeatures {
  #sums = new Float64Array(0)
  #weight = 0

  /** Finite features of a picture, in standard deviations from the domain's mean; always as many. */
  add (z: Float64Array): void {
    if (this.#weight === 0) this.#sums = new Float64Array(z.length)
    this.#weight += SMOOTHING * (1 - this.#weight)
    for (let at = 0; at < z.length; at++) {
      const shift = Math.max(-SHIFT_MAX, Math.min(SHIFT_MAX, z[at]!))
      this.#sums[at]! += SMOOTHING * (shift - this.#sums[at]!)
    }
  }

  /** The `count` that moved most, farthest first; none before the first picture. */
  most (count: number): MovedFeature[] {
    return [...this.#sums]
      .map((sum, feature) => ({ feature, shift: sum / this.#weight }))
      .sort((a, b) => Math.abs(b.shift) - Math.abs(a.shift))
      .slice(0, count)
  }
}

export class NearestDomains {
  readonly #weights = new Map<string, number>()

  /** Of the next picture. */
  add (domain: string): void {
    for (const [known, weight] of this.#weights) this.#weights.set(known, weight * (1 - SMOOTHING))
    this.#weights.set(domain, (this.#weights.get(domain) ?? 0) + SMOOTHING)
    if (this.#weights.size > DOMAINS_MAX) this.#weights.delete(this.#ranked.at(-1)!)
  }

  /** That of most of the last pictures. */
  get most (): string | undefined {
    return this.#ranked[0]
  }

  get #ranked (): string[] {
    return [...this.#weights].sort(([, a], [, b]) => b - a).map(([domain]) => domain)
  }
}
