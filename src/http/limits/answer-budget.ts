/**
 * How many bytes of answers are in memory: of one, and of all together, from before they are written until the client
 * has taken them.
 *
 * Who reads slowly holds a share of what is free and no more, and not for ever.
 */
import { httpErrors } from '../errors.js'
import { senderOf } from '../access/sender.js'
import { whenOver } from './exchange-end.js'
import { OwnedBytes } from './owned-bytes.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

export interface AnswerLimits {
  /** Of one answer. */
  answerBytes: number
  /** Of all together. */
  answersBytes: number
}

/** Answers beyond this must be taken at some pace; smaller ones lie in the system's own buffers. */
const LARGE_BYTES = 2 ** 18

/** What a client has for taking a large answer: this long, and a second more for so many bytes. */
const PATIENCE_MS = 60_000
const BYTES_PER_SECOND_MIN = 2 ** 18

export interface HeldAnswer {
  /** Says how long the answer really is: what was held beyond that is free again, and the client's time begins. */
  settle (bytes: number): void
}

export class AnswerBudget {
  readonly #answerBytes: number
  readonly #held: OwnedBytes

  constructor ({ answerBytes, answersBytes }: AnswerLimits) {
    this.#answerBytes = answerBytes
    this.#held = new OwnedBytes(answersBytes)
  }

  /** Bytes in memory now. */
  get bytes (): number {
    return this.#held.total
  }

  get bytesMax (): number {
    return this.#held.bytesMax
  }

  /**
   * Holds room for an answer of at most so many bytes, until it is sent. Throws ANSWER_TOO_LARGE for what can never
   * have it, ANSWERS_FULL for what has none now.
   */
  hold (request: FastifyRequest, reply: FastifyReply, bytesMax: number): HeldAnswer {
    if (bytesMax > this.#answerBytes) {
      throw httpErrors.ANSWER_TOO_LARGE('the answer could get too long: ask for less of it, or for binary_data', {
        expected: `at most ${this.#answerBytes} bytes`, received: bytesMax
      })
    }
    return this.#enter(request, reply, bytesMax)
  }

  /**
   * Holds room for an answer that is there already, until it is sent; alone it may be however long. Throws
   * ANSWERS_FULL.
   */
  keep (request: FastifyRequest, reply: FastifyReply, bytes: number): void {
    this.#enter(request, reply, bytes).settle(bytes)
  }

  #enter (request: FastifyRequest, { raw: response }: FastifyReply, bytesMax: number): HeldAnswer {
    const { socket } = request.raw
    const owners = [{ name: senderOf(request) }]
    // Alone it may have all, and be longer than that.
    if (this.#held.total > 0 && !this.#held.hasRoom(owners, bytesMax, 0)) {
      throw httpErrors.ANSWERS_FULL('the server holds as many answers as it has room for', {
        expected: `at most ${this.#held.bytesMax} bytes at once`
      })
    }
    let own = bytesMax
    let patience: NodeJS.Timeout | undefined
    this.#held.count(owners, own)
    whenOver(response, () => {
      clearTimeout(patience)
      this.#held.count(owners, -own)
      own = 0
    })
    return {
      settle: (bytes) => {
        if (own === 0) return
        this.#held.count(owners, bytes - own)
        own = bytes
        if (bytes < LARGE_BYTES) return
        patience = setTimeout(() => socket.destroy(), PATIENCE_MS + 1000 * bytes / BYTES_PER_SECOND_MIN).unref()
      }
    }
  }
}
