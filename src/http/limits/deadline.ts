/** How long a request may wait: by header in ms, by the protocol's `timeout` in microseconds; the less counts. */
import { httpErrors } from '../errors.js'
import { leavingSignal } from './exchange-end.js'
import { runtimeErrors } from '../../runtime/errors.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

export const TIMEOUT_HEADER = 'x-timeout-ms'

/** Beyond this (eleven days) a limit is none; Node's timers would wrap around at 2^31 ms. */
const MS_MAX = 1e9

/**
 * Aborts with `client`, which tells when the client leaves, or with DEADLINE_EXCEEDED when so much time is over since
 * the request arrived. 0 means no limit. Throws REQUEST_INVALID for a limit that is no number.
 */
export function patienceOf (
  request: FastifyRequest, reply: FastifyReply, timeoutUs?: string | number | boolean,
  client = leavingSignal(reply.raw)
): AbortSignal {
  const header = request.headers[TIMEOUT_HEADER]
  const limits = [
    millisecondsOf(`the header ${TIMEOUT_HEADER}`, header, 1), millisecondsOf('the parameter timeout', timeoutUs, 1000)
  ].filter((ms) => ms !== undefined)
  if (limits.length === 0) return client
  const limitMs = Math.min(...limits)
  const controller = new AbortController()
  const timer = setTimeout(() => {
    controller.abort(runtimeErrors.DEADLINE_EXCEEDED('the request waited longer than it allowed', {
      expected: `${limitMs} ms`
    }))
  }, Math.max(0, limitMs - reply.elapsedTime))
  reply.raw.once('close', () => clearTimeout(timer))
  return AbortSignal.any([client, controller.signal])
}

function millisecondsOf (name: string, value: unknown, perMillisecond: number): number | undefined {
  if (value === undefined) return undefined
  const number = typeof value === 'boolean' || String(value).trim() === '' ? NaN : Number(value)
  if (!(number >= 0)) {
    throw httpErrors.REQUEST_INVALID(`${name} is no time`, {
      expected: 'a number, 0 for no limit', received: String(value).slice(0, 50)
    })
  }
  const ms = number / perMillisecond
  return number === 0 || ms > MS_MAX ? undefined : ms
}
