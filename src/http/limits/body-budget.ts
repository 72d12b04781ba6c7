/**
 * How many bytes of request bodies are in memory, of all requests together, from their arrival to their answer.
 *
 * A flood of one owner's bodies leaves room for the others: an owner of several requests may hold only a share of what
 * is still free.
 */
import { httpErrors } from '../errors.js'
import { leavingSignal, whenOver } from './exchange-end.js'
import { OwnedBytes, type Owner } from './owned-bytes.js'
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface BodyShare {
  /** Counts bytes that have arrived, or that inflating may make. Throws BODIES_FULL. */
  add (bytes: number): void
  /** Of what was added. */
  giveBack (bytes: number): void
  /** Aborts with REQUEST_ABORTED when the client goes away. */
  readonly signal: AbortSignal
}

/** With less room than this share of the budget no ordinary body finds any. */
const ROOM_SHARE_MIN = 1 / 16

/** What floods and slow clients take comes back sooner than this. */
const FULL_MS_MAX = 60_000

export class BodyBudget {
  readonly #held: OwnedBytes
  readonly #now: () => number
  readonly #shares = new WeakMap<IncomingMessage, BodyShare>()
  #fullSince: number | undefined

  /** `now` in ms. */
  constructor (bytesMax: number, now: () => number = () => performance.now()) {
    this.#held = new OwnedBytes(bytesMax)
    this.#now = now
  }

  /** Bytes in memory now. */
  get bytes (): number {
    return this.#held.total
  }

  get bytesMax (): number {
    return this.#held.bytesMax
  }

  /** False once there has been next to no room for a minute on end: then nobody can send a body. */
  get isUsable (): boolean {
    return this.#fullSince === undefined || this.#now() - this.#fullSince < FULL_MS_MAX
  }

  /**
   * Gives a request its share, empty at first; it comes back when the answer is written or the client gone, which the
   * response tells (see exchange-end.ts). `owners` are those whom a flood of such requests is put down to.
   */
  open (
    request: IncomingMessage, response: Pick<ServerResponse, 'once' | 'destroyed' | 'writableFinished'>,
    owners: readonly Owner[]
  ): void {
    let own = 0
    let isClosed = false
    let signal: AbortSignal | undefined
    whenOver(response, () => {
      isClosed = true
      this.#count(owners, -own)
    })
    this.#shares.set(request, {
      get signal () {
        signal ??= leavingSignal(response)
        return signal
      },
      add: (bytes) => {
        if (isClosed) return
        if (!this.#held.hasRoom(owners, bytes, own)) {
          throw httpErrors.BODIES_FULL('the server holds as many request bodies as it has room for', {
            expected: `at most ${this.bytesMax} bytes at once`
          })
        }
        own += bytes
        this.#count(owners, bytes)
      },
      giveBack: (bytes) => {
        if (isClosed) return
        own -= bytes
        this.#count(owners, -bytes)
      }
    })
  }

  #count (owners: readonly Owner[], bytes: number): void {
    this.#held.count(owners, bytes)
    const isFull = this.bytesMax - this.bytes < ROOM_SHARE_MIN * this.bytesMax
    this.#fullSince = isFull ? this.#fullSince ?? this.#now() : undefined
  }

  /** Only for requests that were opened. */
  shareOf (request: IncomingMessage): BodyShare {
    return this.#shares.get(request)!
  }
}
