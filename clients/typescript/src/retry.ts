/**
 * When a call is sent again, and after what wait.
 *
 *   |                            | calls that change nothing | calls that change something |
 *   | 429: refused, nothing done | yes                       | yes                         |
 *   | 503                        | yes                       | only MODEL_NOT_READY        |
 *   | no whole answer            | yes                       | no: it may have been done   |
 *
 * Of the server's other codes with 503 some come after the change has been made (AUDIT_UNWRITABLE), and a registration
 * that is repeated is one more version.
 */
import type { BankswitchError } from './errors.js'
import type { Route } from './routes.js'

/** Before the second try, at most; twice as much before each further one. */
const BACKOFF_MS = 500

const TOO_MANY_REQUESTS = 429
const UNAVAILABLE = 503

/** Inference is a POST that changes nothing. */
export function isChange (route: Route): boolean {
  return !/^(GET |POST \/v[12]\/models\/)/.test(route)
}

/**
 * How long to wait before the try after `tries`, in ms: what the server asks for, else half to all of a span that
 * doubles, so that clients who failed together do not come back together. Undefined where another try is not safe.
 */
export function retryWaitMs (
  { code, status, retryAfterMs }: Pick<BankswitchError, 'code' | 'status' | 'retryAfterMs'>, route: Route, tries: number
): number | undefined {
  const isRefused = status === TOO_MANY_REQUESTS || (status === UNAVAILABLE && code === 'MODEL_NOT_READY')
  const isPassing = status === UNAVAILABLE || status === undefined
  if (!isRefused && (isChange(route) || !isPassing)) return undefined
  return retryAfterMs ?? BACKOFF_MS * 2 ** (tries - 1) * (0.5 + Math.random() / 2)
}

/** `Retry-After` in ms from now: seconds or a date (RFC 9110, 10.2.3); undefined where it is neither. */
export function parseRetryAfter (text: string | null, nowMs = Date.now()): number | undefined {
  if (text === null) return undefined
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}

/** Resolves after `ms`, or rejects with the signal's reason. */
export async function waitMs (ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
}
