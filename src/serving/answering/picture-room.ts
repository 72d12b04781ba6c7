/** Room for pictures: what is decoded, computed and encoded at once is bounded, in number and in bytes. */
import { runtimeErrors } from '../../runtime/errors.js'
import { servingErrors } from '../errors.js'

export interface PictureRoomLimits {
  picturesMax: number
  /** Of pixels and encoded answers. */
  bytesMax: number
}

export class PictureRoom {
  readonly #limits: PictureRoomLimits
  #pictures = 0
  #bytes = 0

  constructor (limits: PictureRoomLimits) {
    this.#limits = limits
  }

  get size (): { pictures: number, bytes: number } {
    return { pictures: this.#pictures, bytes: this.#bytes }
  }

  /**
   * Runs `work` while a picture of `bytes` has room. Rejects with PICTURE_TOO_LARGE for what could never have it and
   * QUEUE_FULL for what has none now.
   */
  async hold<T> (bytes: number, work: () => Promise<T>): Promise<T> {
    const { picturesMax, bytesMax } = this.#limits
    if (bytes > bytesMax) {
      throw servingErrors.PICTURE_TOO_LARGE('the picture and its result take more memory than all pictures may', {
        expected: `at most ${bytesMax} bytes`, received: bytes
      })
    }
    if (this.#pictures >= picturesMax || this.#bytes + bytes > bytesMax) {
      throw runtimeErrors.QUEUE_FULL('the server has no room for more pictures now', {
        expected: `at most ${picturesMax} pictures of ${bytesMax} bytes in all at once`,
        received: `${this.#pictures + 1} of ${this.#bytes + bytes}`
      })
    }
    this.#pictures++
    this.#bytes += bytes
    try {
      return await work()
    } finally {
      this.#pictures--
      this.#bytes -= bytes
    }
  }
}
