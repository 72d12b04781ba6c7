/** A `fetch` that answers from a list and a wait that takes no time: both tell what they were asked for. */
import type { ClientOptions } from '@bankswitch/client'

export interface Asked {
  method: string
  url: string
  headers: Headers
  body: unknown
}

/** A response, what the connection fails with, or what to do with the signal of the call. */
export type Reply = Response | Error | ((signal: AbortSignal | undefined) => Promise<Response>)

/** Options of a client; `asked` and `waits` fill as it works. Fails when it asks more often than there are replies. */
export function fakeFetch (...replies: Reply[]) {
  const asked: Asked[] = []
  const waits: number[] = []
  const fetch: NonNullable<ClientOptions['fetch']> = async (url, { method, headers, body, signal }) => {
    asked.push({ method: method!, url, headers: new Headers(headers), body })
    const reply = replies.shift()
    if (reply === undefined) throw new RangeError('asked more often than expected')
    if (reply instanceof Error) throw reply
    return typeof reply === 'function' ? await reply(signal ?? undefined) : reply
  }
  const wait = async (ms: number, signal?: AbortSignal) => {
    signal?.throwIfAborted()
    waits.push(ms)
  }
  return { asked, waits, options: { fetch, wait } }
}

/** An answer as the server writes them. */
export function answer (status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } })
}

/** An error answer. */
export function refusal (status: number, code: string, headers: Record<string, string> = {}): Response {
  return answer(status, { error: `no: ${code}`, code, requestId: 'r1', details: { expected: 1 } }, headers)
}
