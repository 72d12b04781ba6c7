/**
 * The way of every large body into memory: inflated when its Content-Encoding says so, limited after inflating (a
 * small body may inflate to a large one), and counted against the budget of all bodies as it comes, not as announced.
 *
 * A body is laid down so that the tensors behind the JSON of a binary request are aligned: they are used in place.
 */
import { createGunzip, createInflate } from 'node:zlib'
import { BankswitchError } from '../../base/errors.js'
import { httpErrors } from '../errors.js'
import type { BodyBudget } from './body-budget.js'
import type { FastifyRequest } from 'fastify'
import type { Readable, Transform } from 'node:stream'

/** Each piece is a turn of the event loop. */
const PIECES = { chunkSize: 2 ** 16 }

/** The protocol's deflate is the zlib format (RFC 1950), as HTTP's is (RFC 9110, 8.4.1.2). */
const INFLATERS: Readonly<Record<string, () => Transform>> = {
  gzip: () => createGunzip(PIECES), 'x-gzip': () => createGunzip(PIECES), deflate: () => createInflate(PIECES)
}

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
export function createBodyReader (budget: BodyBudget, bytesMaxOf: (request: FastifyRequest) => number): BodyReader {
  return async (request, payload) => {
    const bytesMax = bytesMaxOf(request)
    const inflate = inflaterOf(request.headers['content-encoding'])
    const announced = Number(request.headers['content-length'] ?? 0)
    if (announced > bytesMax) throw tooLarge(bytesMax, announced)
    const share = budget.shareOf(request.raw)
    const body = new GrowingBody(Number(request.headers['inference-header-content-length'] ?? 0), announced)
    await readAll(payload, inflate?.(), (chunk) => {
      if (body.length + chunk.length > bytesMax) throw tooLarge(bytesMax, body.length + chunk.length)
      share.add(chunk.length)
      body.append(chunk)
    })
    return body.view()
  }
}

/** The request's own stream is never destroyed, which would cut the connection: its refusal has to be sent yet. */
function readAll (payload: Readable, inflater: Transform | undefined, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const source = inflater === undefined ? payload : payload.pipe(inflater)
    const fail = (error: unknown) => {
      source.off('data', onData)
      payload.unpipe().pause()
      inflater?.destroy()
      reject(translate(error))
    }
    const onData = (chunk: Buffer) => {
      try {
        take(chunk)
      } catch (error) {
        fail(error)
      }
    }
    source.on('data', onData).once('end', resolve).on('error', fail)
    if (source !== payload) payload.on('error', fail)
    payload.once('close', () => {
      if (!payload.readableEnded) fail(new Error('the connection was closed'))
    })
  })
}

function inflaterOf (header: string | undefined): (() => Transform) | undefined {
  const encoding = header?.trim().toLowerCase() ?? ''
  if (encoding === '' || encoding === 'identity') return undefined
  if (Object.hasOwn(INFLATERS, encoding)) return INFLATERS[encoding]
  throw httpErrors.CONTENT_ENCODING_UNSUPPORTED('the content encoding is not supported', {
    expected: ['gzip', 'deflate'], received: encoding.slice(0, 50)
  })
}

/** Bytes one after another in one buffer, which at least doubles when it is full. */
class GrowingBody {
  readonly #begin: number
  readonly #announced: number
  #buffer: Buffer
  #end: number

  constructor (jsonLength: number, announced: number) {
    this.#begin = jsonLength > 0 ? (ALIGNMENT - jsonLength % ALIGNMENT) % ALIGNMENT : 0
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

function tooLarge (expected: number, received: number): BankswitchError {
  return httpErrors.REQUEST_TOO_LARGE('the request body is too large', {
    expected: `at most ${expected} bytes`, received
  })
}

function translate (error: unknown): unknown {
  if (error instanceof BankswitchError) return error
  const { code = '', message } = error as NodeJS.ErrnoException
  if (code.startsWith('Z_')) {
    return httpErrors.CONTENT_ENCODING_INVALID('the body is not what its Content-Encoding says', {
      received: message
    }, error)
  }
  return httpErrors.REQUEST_ABORTED(`the body ended early: ${message}`, {}, error)
}
