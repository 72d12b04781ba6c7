/**
 * What the last pictures of a stream were taken for: a camera does not go from day to night and back within a second.
 *
 * A stream belongs to its caller, under whatever name: nobody moves another's, nor makes it forgotten by naming many,
 * for each caller has its own number of streams, of which the longest unheard goes first; and so do callers.
 */
import { LRUCache } from 'lru-cache'
import type { Sender } from '../version-wish.js'

export interface StreamOptions {
  /** Pictures that have a vote, the present one among them. */
  last: number
  /** Streams that one caller may have. */
  streams: number
}

/** Callers that are remembered. */
const CALLERS_MAX = 1024

export class Streams {
  readonly #options: StreamOptions
  readonly #callers = new LRUCache<string, LRUCache<string, string[]>>({ max: CALLERS_MAX })

  constructor (options: StreamOptions) {
    this.#options = options
  }

  /**
   * Takes note of what a picture was taken for; returns what most of the last were that may still be chosen, and of
   * equally many the latest. `isChoosable` is true for what the picture itself was taken for.
   */
  settle (
    model: string, { caller, stream }: Sender, domain: string, isChoosable: (domain: string) => boolean = () => true
  ): string {
    const { last, streams } = this.#options
    let own = this.#callers.get(caller)
    if (own === undefined) this.#callers.set(caller, own = new LRUCache<string, string[]>({ max: streams }))
    const key = `${model}/${stream}`
    const votes = [domain, ...own.get(key) ?? []].slice(0, last)
    own.set(key, votes)
    const counts = new Map<string, number>()
    for (const vote of votes) counts.set(vote, (counts.get(vote) ?? 0) + 1)
    return votes.filter(isChoosable).reduce((best, vote) => counts.get(vote)! > counts.get(best)! ? vote : best)
  }

  /** Streams that are remembered. */
  get size (): number {
    return [...this.#callers.values()].reduce((sum, own) => sum + own.size, 0)
  }
}
