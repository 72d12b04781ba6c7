/** What all inference answers have in common. */
import { httpErrors } from './errors.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** Who answered, and how long each stage took, for the headers and the log. */
export interface AnswerFacts {
  domain: string
  version: number | string
  queueMs: number
  inferMs: number
  decodeMs?: number
}

export function setAnswerHeaders (reply: FastifyReply, facts: AnswerFacts): void {
  const stages = { decode: facts.decodeMs, queue: facts.queueMs, infer: facts.inferMs }
  reply.header('x-domain', facts.domain)
  reply.header('x-domain-version', facts.version)
  reply.header('server-timing', Object.entries(stages).flatMap(([stage, ms]) => {
    return ms === undefined ? [] : [`${stage};dur=${ms.toFixed(3)}`]
  }).join(', '))
}

/** Aborts when the client goes away before its answer is written. */
export function clientSignal (request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  const abort = () => controller.abort(httpErrors.REQUEST_ABORTED('the client went away'))
  if (request.raw.socket.destroyed) abort()
  reply.raw.once('close', () => { if (!reply.raw.writableFinished) abort() })
  return controller.signal
}
