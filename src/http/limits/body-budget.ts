/**
 * How many bytes of request bodies are in memory, of all requests together, from their arrival to their answer.
 *
 * A flood of one owner's bodies leaves room for the others: an owner of several requests may hold only a share of what
 * is still free.
 */
import { httpErrors } from '../errors.js'
import { leavingSignal, whenOver } from './exchange-end.js'
import { OwnedBytes, type Owner } from './owned-bytes.js'
import type { FastifyRequest } from 'fastify'
import type { ServerResponse } from 'node:http'

export interface BodyShare {
  /** Counts bytes that have arrived, or that inflating may make. Throws BODIES_FULL. */
  add (bytes: number): void
  /** Of what was added. */
  giveBack (bytes: number): void
  /** Aborts with REQUEST_ABORTED when the client goes away. */
  readonly signal: AbortSignal
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What `shareOf` gives; see request-record.ts for why it is in no WeakMap. */
    bodyShare: BodyShare | undefined
  }
}

type Sharing = Pick<FastifyRequest, 'bodyShare'>
type Exchange = Pick<ServerResponse, 'once' | 'destroyed' | 'writableFinished'>
type Count = (owners: readonly Owner[], bytes: number) => void

/** With less room than this share of the budget no ordinary body finds any. */
const ROOM_SHARE_MIN = 1 / 16

/** What floods and slow clients take comes back sooner than this. */
const FULL_MS_MAX = 60_000

export class BodyBudget {
  readonly #held: OwnedBytes
  readonly #now: () => number
  #fullSince: number | undefined
  readonly #count: Count = (owners, bytes) => {
    this.#held.count(owners, bytes)
    const isFull = this.bytesMax - this.bytes < ROOM_SHARE_MIN * this.bytesMax
    this.#fullSince = isFull ? this.#fullSince ?? this.#now() : undefined
  }

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
  open (request: Sharing, response: Exchange, owners: readonly Owner[]): void {
    request.bodyShare = new OpenShare(this.#held, this.#count, response, owners)
  }

  /** Only for requests that were opened. */
  shareOf ({ bodyShare }: Sharing): BodyShare {
    return bodyShare!
  }
}

/**
 * A class for the sake of its getter: one that an object has of its own makes a shape of its own too, which holds the
 * whole request until the next collection of everything.
 */
class OpenShare implements BodyShare {
  readonly #held: OwnedBytes
  readonly #count: Count
  readonly #response: Exchange
  readonly #owners: readonly Owner[]
  #own = 0
  #isClosed = false
  #signal: AbortSignal | undefined

  constructor (held: OwnedBytes, count: Count, response: Exchange, owners: readonly Owner[]) {
    this.#held = held
    this.#count = count
    this.#response = response
    this.#owners = owners
    whenOver(response, () => {
      this.#isClosed = true
      count(owners, -this.#own)
    })
  }

  get signal (): AbortSignal {
    this.#signal ??= leavingSignal(this.#response)
    return this.#signal
  }

  add (bytes: number): void {
    if (this.#isClosed) return
    if (!this.#held.hasRoom(this.#owners, bytes, this.#own)) {
      throw httpErrors.BODIES_FULL('the server holds as many request bodies as it has room for', {
        expected: `at most ${this.#held.bytesMax} bytes at once`
      })
    }
    this.#own += bytes
    this.#count(this.#owners, bytes)
  }

  giveBack (bytes: number): void {
    if (this.#isClosed) return
    this.#own -= bytes
    this.#count(this.#owners, -bytes)
  }
}
