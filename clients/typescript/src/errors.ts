/** What calls reject with, besides the reason of an aborted signal and a TypeError for what cannot be sent. */
import type { Error as ErrorBody } from './generated/api.js'

export interface Fault {
  code: string
  status?: number | undefined
  details?: Record<string, unknown> | undefined
  requestId?: string | undefined
  retryAfterMs?: number | undefined
  cause?: unknown
}

export class BankswitchError extends Error {
  override readonly name = 'BankswitchError'

  /**
   * One of the server's codes; CONNECTION_FAILED where no whole answer came, ANSWER_UNREADABLE for one that is not the
   * server's, of a proxy for example.
   */
  readonly code: string

  /** Of the HTTP answer; undefined where there was none, and for the error of a job. */
  readonly status: number | undefined

  /** What the server expected and received, and whatever else it tells. */
  readonly details: Record<string, unknown>

  /** Under this the server's log has the request. */
  readonly requestId: string | undefined

  /** The server's wish, in ms from when it was answered. */
  readonly retryAfterMs: number | undefined

  constructor (message: string, { code, status, details = {}, requestId, retryAfterMs, cause }: Fault) {
    super(message, cause === undefined ? {} : { cause })
    this.code = code
    this.status = status
    this.details = details
    this.requestId = requestId
    this.retryAfterMs = retryAfterMs
  }
}

/** True for the form that every error answer of a server has. */
export function isErrorBody (value: unknown): value is ErrorBody {
  const { error, code, requestId } = (value ?? {}) as Partial<ErrorBody>
  return [error, code, requestId].every((text) => typeof text === 'string')
}
