/**
 * Room for pictures: what is decoded, computed and encoded at once is bounded, in number and in bytes.
 *
 * Pictures that take much to decode take turns: in line they hold nothing but their encoded bytes. Small ones pass by.
 */
import { runtimeErrors } from '../../runtime/errors.js'
import { servingErrors } from '../errors.js'

export interface PictureRoomLimits {
  picturesMax: number
  /** Of what decoders hold, pixels and encoded answers. */
  bytesMax: number
}

/** Of the room, for pictures that wait in line; one of them is let in however large it is. */
const DECODING_SHARE = 0.25

/** Up to this a picture passes by the line. */
const SMALL_BYTES = 16 * 2 ** 20

interface Waiting {
  bytes: number
  start (): void
}

export class PictureRoom {
  readonly #limits: PictureRoomLimits
  readonly #line: Waiting[] = []
  #pictures = 0
  #bytes = 0
  /** Of those that stood in line. */
  #decodingBytes = 0

  constructor (limits: PictureRoomLimits) {
    this.#limits = limits
  }

  /** Pictures in the room or in line. */
  get pictures (): number {
    return this.#pictures
  }

  /** Of the pictures in the room. */
  get bytes (): number {
    return this.#bytes
  }

  get bytesMax (): number {
    return this.#limits.bytesMax
  }

  /**
   * Runs `work` while a picture of `bytes` has room. Rejects with PICTURE_TOO_LARGE for what could never have it and
   * QUEUE_FULL for what has none now.
   */
  async hold<T> (bytes: number, work: () => Promise<T>): Promise<T> {
    this.#requireRoom(bytes, this.#bytes + bytes)
    return await this.#counted(async () => await this.#entered(bytes, work))
  }

  /**
   * Runs `work`, which decodes a picture and holds `bytes` meanwhile: at once when that is little, else when its turn
   * comes. Rejects like `hold`, and with the signal's reason.
   */
  async decode<T> (bytes: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (bytes <= SMALL_BYTES) return await this.hold(bytes, work)
    this.#requireRoom(bytes, 0)
    return await this.#counted(async () => {
      await this.#turn(bytes, signal)
      try {
        return await work()
      } finally {
        this.#decodingBytes -= bytes
        this.#bytes -= bytes
        this.#letIn()
      }
    })
  }

  /** Settles when the picture is let in, or with the signal's reason, whereupon it is no longer in line. */
  #turn (bytes: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const leave = () => {
        this.#line.splice(this.#line.indexOf(waiting), 1)
        reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'))
        this.#letIn()
      }
      const start = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const waiting: Waiting = { bytes, start }
      signal?.addEventListener('abort', leave, { once: true })
      this.#line.push(waiting)
      this.#letIn()
    })
  }

  #requireRoom (bytes: number, bytesThen: number): void {
    const { picturesMax, bytesMax } = this.#limits
    if (bytes > bytesMax) {
      throw servingErrors.PICTURE_TOO_LARGE('the picture takes more memory than all pictures may', {
        expected: `at most ${bytesMax} bytes`, received: bytes
      })
    }
    if (this.#pictures < picturesMax && bytesThen <= bytesMax) return
    throw runtimeErrors.QUEUE_FULL('the server has no room for more pictures now', {
      expected: `at most ${picturesMax} pictures of ${bytesMax} bytes in all at once`,
      received: `${this.#pictures + 1} of ${this.#bytes + bytes}`
    })
  }

  async #counted<T> (work: () => Promise<T>): Promise<T> {
    this.#pictures++
    try {
      return await work()
    } finally {
      this.#pictures--
    }
  }

  async #entered<T> (bytes: number, work: () => Promise<T>): Promise<T> {
    this.#bytes += bytes
    try {
      return await work()
    } finally {
      this.#bytes -= bytes
      this.#letIn()
    }
  }

  /** The first in line, and those behind it, as long as there is room. */
  #letIn (): void {
    const { bytesMax } = this.#limits
    for (let [first] = this.#line; first !== undefined; [first] = this.#line) {
      const { bytes, start } = first
      const isTurn = this.#decodingBytes === 0 || this.#decodingBytes + bytes <= DECODING_SHARE * bytesMax
      if (!isTurn || this.#bytes + bytes > bytesMax) return
      this.#line.shift()
      this.#decodingBytes += bytes
      this.#bytes += bytes
      start()
    }
  }
}
