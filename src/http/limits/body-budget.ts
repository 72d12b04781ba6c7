/** How many bytes of request bodies are in memory, of all requests together, from their arrival to their answer. */
import { httpErrors } from '../errors.js'
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface BodyShare {
  /** Counts bytes that have arrived, or that inflating has made. Throws BODIES_FULL. */
  add (bytes: number): void
}

export class BodyBudget {
  readonly #bytesMax: number
  readonly #shares = new WeakMap<IncomingMessage, BodyShare>()
  #bytes = 0

  constructor (bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes in memory now. */
  get bytes (): number {
    return this.#bytes
  }

  /** Gives a request its share, empty at first; it comes back when the answer is written or the client gone. */
  open (request: IncomingMessage, response: Pick<ServerResponse, 'once'>): void {
    let own = 0
    let isClosed = false
    response.once('close', () => {
      isClosed = true
      this.#bytes -= own
    })
    this.#shares.set(request, {
      add: (bytes) => {
        if (isClosed) return
        if (this.#bytes + bytes > this.#bytesMax) {
          throw httpErrors.BODIES_FULL('the server holds as many request bodies as it has room for', {
            expected: `at most ${this.#bytesMax} bytes at once`
          })
        }
        own += bytes
        this.#bytes += bytes
      }
    })
  }

  /** Only for requests that were opened. */
  shareOf (request: IncomingMessage): BodyShare {
    return this.#shares.get(request)!
  }
}
