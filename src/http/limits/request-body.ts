/**
 * The way of every large body into memory: inflated when its Content-Encoding says so, limited after inflating (a
 * small body may inflate to a large one), and counted against the budget of all bodies as it comes, not as announced;
 * one that is inflated, as it may become before it does.
 *
 * A body is laid down so that the tensors behind the JSON of a binary request are aligned: they are used in place.
 */
import { BankswitchError } from '../../base/errors.js'
import { httpErrors } from '../errors.js'
import { encodingOf, inflateBody, tooLarge, type InflateAside } from './inflate.js'
import type { BodyBudget } from './body-budget.js'
import type { FastifyRequest } from 'fastify'
import type { Readable } from 'node:stream'

/** The widest element of a tensor. */
const ALIGNMENT = 8

/** What is announced of a body's length is trusted with this much memory before it arrives. */
const FIRST_BYTES_MAX = 2 ** 20

/** What has arrived is trusted with so many times as much: buffers that are grown out of are work for the collector. */
const TRUST = 8

/** Reads the body of a request; a content type parser of Fastify. */
export type BodyReader = (request: FastifyRequest, payload: Readable) => Promise<Buffer>

/** What routes that take large bodies share. */
export interface BodyLimits {
  bodies: BodyBudget
  /** Of one body, or of one file of a form. */
  bodyBytesMax: number
  readBody: BodyReader
}

export function isJson ({ headers: { 'content-type': type = '' } }: Pick<FastifyRequest, 'headers'>): boolean {
  return /^application\/json\b/i.test(type.trim())
}

/**
 * The reader rejects with CONTENT_ENCODING_UNSUPPORTED, CONTENT_ENCODING_INVALID for what does not inflate,
 * REQUEST_TOO_LARGE above what the request may have, BODIES_FULL, REQUEST_ABORTED.
 */
export function createBodyReader (
  budget: BodyBudget, aside: InflateAside, bytesMaxOf: (request: FastifyRequest) => number
): BodyReader {
  return async (request, payload) => {
    const bytesMax = bytesMaxOf(request)
    const encoding = encodingOf(request.headers['content-encoding'])
    const announced = Number(request.headers['content-length'] ?? 0)
    if (announced > bytesMax) throw tooLarge(bytesMax, announced)
    const share = budget.shareOf(request)
    const begin = beginFor(Number(request.headers['inference-header-content-length'] ?? 0))
    const body = new GrowingBody(encoding === undefined ? begin : 0, announced)
    await readAll(payload, (chunk) => {
      if (body.length + chunk.length > bytesMax) throw tooLarge(bytesMax, body.length + chunk.length)
      share.add(chunk.length)
      body.append(chunk)
    })
    if (encoding === undefined) return body.view()
    return asBuffer(await inflateBody(encoding, body.view(), { bytesMax, share, begin, aside }))
  }
}

/** Where a body begins in its memory, for the tensors behind so many bytes of JSON to be aligned. */
function beginFor (jsonLength: number): number {
  return jsonLength > 0 ? (ALIGNMENT - jsonLength % ALIGNMENT) % ALIGNMENT : 0
}

function asBuffer ({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

/** The request's own stream is never destroyed, which would cut the connection: its refusal has to be sent yet. */
function readAll (payload: Readable, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      payload.off('data', onData).pause()
      reject(translate(error))
    }
    const onData = (chunk: Buffer) => {
      try {
        take(chunk)
      } catch (error) {
        fail(error)
      }
    }
    payload.on('data', onData).once('end', resolve).on('error', fail).once('close', () => {
      if (!payload.readableEnded) fail(new Error('the connection was closed'))
    })
  })
}

/** Bytes one after another in one buffer, which at least doubles when it is full. */
class GrowingBody {
  readonly #begin: number
  readonly #announced: number
  #buffer: Buffer
  #end: number

  constructor (begin: number, announced: number) {
    this.#begin = begin
    this.#end = this.#begin
    this.#announced = this.#begin + announced
    this.#buffer = Buffer.allocUnsafeSlow(this.#begin + Math.min(announced, FIRST_BYTES_MAX))
  }

  get length (): number {
    return this.#end - this.#begin
  }

  append (chunk: Buffer): void {
    const end = this.#end + chunk.length
    if (end > this.#buffer.length) {
      const { length } = this.#buffer
      const trusted = this.#announced > end ? Math.min(this.#announced, TRUST * length) : 2 * length
      const larger = Buffer.allocUnsafeSlow(Math.max(end, trusted))
      this.#buffer.copy(larger, 0, 0, this.#end)
      this.#buffer = larger
    }
    chunk.copy(this.#buffer, this.#end)
    this.#end = end
  }

  view (): Buffer {
    return this.#buffer.subarray(this.#begin, this.#end)
  }
}

function translate (error: unknown): unknown {
  if (error instanceof BankswitchError) return error
  return httpErrors.REQUEST_ABORTED(`the body ended early: ${(error as Error).message}`, {}, error)
}
