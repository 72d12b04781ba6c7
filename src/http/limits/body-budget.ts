/**
 * How many bytes of request bodies are in memory, of all requests together, from their arrival to their answer.
 *
 * A flood of one owner's bodies leaves room for the others: an owner of several requests may hold only a share of what
 * is still free.
 */
import { isWithinShare } from '../../base/dynamic-threshold.js'
import { httpErrors } from '../errors.js'
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface BodyShare {
  /** Counts bytes that have arrived, or that inflating has made. Throws BODIES_FULL. */
  add (bytes: number): void
}

export class BodyBudget {
  readonly #bytesMax: number
  readonly #shares = new WeakMap<IncomingMessage, BodyShare>()
  readonly #bytesOf = new Map<string, number>()
  #bytes = 0

  constructor (bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes in memory now. */
  get bytes (): number {
    return this.#bytes
  }

  /**
   * Gives a request its share, empty at first; it comes back when the answer is written or the client gone. `owner`
   * says whom a flood of such requests is put down to.
   */
  open (request: IncomingMessage, response: Pick<ServerResponse, 'once'>, owner: string): void {
    let own = 0
    let isClosed = false
    response.once('close', () => {
      isClosed = true
      this.#count(owner, -own)
    })
    this.#shares.set(request, {
      add: (bytes) => {
        if (isClosed) return
        const free = this.#bytesMax - this.#bytes
        const held = this.#bytesOf.get(owner) ?? 0
        if (bytes > free || (held !== own && !isWithinShare(held + bytes, free))) {
          throw httpErrors.BODIES_FULL('the server holds as many request bodies as it has room for', {
            expected: `at most ${this.#bytesMax} bytes at once`
          })
        }
        own += bytes
        this.#count(owner, bytes)
      }
    })
  }

  #count (owner: string, bytes: number): void {
    this.#bytes += bytes
    const held = (this.#bytesOf.get(owner) ?? 0) + bytes
    if (held === 0) this.#bytesOf.delete(owner)
    else this.#bytesOf.set(owner, held)
  }

  /** Only for requests that were opened. */
  shareOf (request: IncomingMessage): BodyShare {
    return this.#shares.get(request)!
  }
}
