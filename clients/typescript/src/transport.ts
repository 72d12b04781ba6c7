/** Calls on their way to a server: sent, sent again where that is safe, and answered or thrown. */
import { BankswitchError, isErrorBody } from './errors.js'
import { parseRetryAfter, retryWaitMs, waitMs } from './retry.js'
import { targetOf, type Parameter, type Parameters, type Route } from './routes.js'
import type { CallOptions, ClientOptions } from './options.js'

export interface Message extends Parameters {
  header?: Readonly<Record<string, Parameter>> | undefined
  /** What can be sent again; no stream. */
  body?: Uint8Array | Blob | FormData | string | undefined
  /** Of the body; bytes are `application/octet-stream` if not given, and a form knows its own. */
  type?: string | undefined
  /** How long the server may take, in ms; each try is given what is left. */
  timeoutMs?: number | undefined
}

export interface Answer {
  status: number
  headers: Headers
  bytes: Uint8Array
}

const RETRIES = 2
const RETRY_WAIT_MS_MAX = 30_000

/** The server takes 0 for no limit. */
const TIMEOUT_MS_MIN = 1

export class Transport {
  readonly #base: string
  readonly #key: string | undefined
  readonly #retries: number
  readonly #retryWaitMsMax: number
  readonly #fetch: NonNullable<ClientOptions['fetch']>
  readonly wait: NonNullable<ClientOptions['wait']>

  /** Throws a TypeError for what is no URL of HTTP; in a browser one relative to the page is one. */
  constructor (url: string, options: ClientOptions) {
    const page = typeof location === 'undefined' ? undefined : location.href
    const { origin, pathname, protocol } = new URL(url, page)
    if (!/^https?:$/.test(protocol)) throw new TypeError(`"${url}" is no URL of a server: expected http:// or https://`)
    this.#base = `${origin}${pathname}`.replace(/\/+$/, '')
    this.#key = options.key
    this.#retries = options.retries ?? RETRIES
    this.#retryWaitMsMax = options.retryWaitMsMax ?? RETRY_WAIT_MS_MAX
    this.#fetch = options.fetch ?? ((...given) => fetch(...given))
    this.wait = options.wait ?? waitMs
  }

  /** Rejects with a BankswitchError, the signal's reason, or a TypeError for what cannot be sent. */
  async send (route: Route, message: Message, { signal, requestId }: CallOptions): Promise<Answer> {
    const { method, target } = targetOf(route, message)
    const headers = this.#headers(message, requestId)
    const begin = performance.now()
    for (let tries = 1; ; tries++) {
      signal?.throwIfAborted()
      const leftMs = message.timeoutMs === undefined ? Infinity : message.timeoutMs - (performance.now() - begin)
      if (leftMs < Infinity) headers.set('x-timeout-ms', String(Math.max(TIMEOUT_MS_MIN, Math.ceil(leftMs))))
      const body = (message.body ?? null) as BodyInit | null
      const init = { method, headers, body, ...(signal === undefined ? {} : { signal }) }
      const outcome = await this.#try(`${this.#base}${target}`, init)
      if (!(outcome instanceof BankswitchError)) return outcome
      const waitMs = tries > this.#retries ? undefined : retryWaitMs(outcome, route, tries)
      if (waitMs === undefined || waitMs > this.#retryWaitMsMax || waitMs >= leftMs) throw outcome
      await this.wait(waitMs, signal)
    }
  }

  #headers ({ header = {}, body, type }: Message, requestId: string | undefined): Headers {
    const headers = new Headers()
    const isBytes = body instanceof Uint8Array || body instanceof Blob
    const all = {
      'content-type': type ?? (isBytes ? 'application/octet-stream' : undefined),
      authorization: this.#key === undefined ? undefined : `Bearer ${this.#key}`,
      'x-request-id': requestId,
      ...header
    }
    for (const [name, value] of Object.entries(all)) if (value !== undefined) headers.set(name, String(value))
    return headers
  }

  /** Rejects only with the reason of an aborted signal. */
  async #try (url: string, init: RequestInit): Promise<Answer | BankswitchError> {
    try {
      const response = await this.#fetch(url, init)
      const { status, headers } = response
      const answer = { status, headers, bytes: new Uint8Array(await response.arrayBuffer()) }
      return response.ok ? answer : errorOf(answer)
    } catch (cause) {
      init.signal?.throwIfAborted()
      return new BankswitchError(`no whole answer came from ${url}`, { code: 'CONNECTION_FAILED', cause })
    }
  }
}

/** The JSON of an answer. Throws ANSWER_UNREADABLE. */
export function jsonOf (answer: Answer, bytes: Uint8Array = answer.bytes): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw unreadable(answer, 'is not JSON', cause)
  }
}

export function unreadable ({ status, headers }: Answer, what: string, cause?: unknown): BankswitchError {
  return new BankswitchError(`the answer, with status ${status}, ${what}`, {
    code: 'ANSWER_UNREADABLE', status, requestId: headers.get('x-request-id') ?? undefined, cause
  })
}

function errorOf (answer: Answer): BankswitchError {
  const { status, headers } = answer
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'))
  let body: unknown
  try {
    body = jsonOf(answer)
  } catch {
    // Told below, as JSON of another form is.
  }
  if (isErrorBody(body)) {
    const { error, code, requestId, details } = body
    return new BankswitchError(error, { code, status, details, requestId, retryAfterMs })
  }
  const { message, code, requestId } = unreadable(answer, 'is no error of bankswitch; look at what stands between')
  return new BankswitchError(message, { code, status, requestId, retryAfterMs })
}
