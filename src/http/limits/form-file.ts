/**
 * Multipart forms: bounded as a whole, whatever their bytes are (parts, their headers, what comes before and behind
 * them); files counted against the budget of all bodies as they come; and what the parser throws.
 */
import { httpErrors } from '../errors.js'
import { endWith } from './exchange-end.js'
import type { BodyShare } from './body-budget.js'
import type { MultipartFile } from '@fastify/multipart'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'

/** The parser's own errors have no code, only their words. */
const PARSER_FAULT = /multipart|boundary|malformed|part terminated/i

/** A part besides its content: boundary, headers. */
export const BYTES_PER_PART = 512

/**
 * Reads a form, or a body that is none and was read before. A form that fails before all of it has come ends its
 * connection, for the rest is not read. Rejects with what `read` throws, REQUEST_TOO_LARGE for a form above `bytesMax`,
 * and REQUEST_INVALID for what is no form.
 */
export async function readingForm<T> (
  request: FastifyRequest, reply: FastifyReply, bytesMax: number, read: () => Promise<T>
): Promise<T> {
  if (!request.isMultipart()) return await read()
  const { raw } = request
  try {
    return await within(bytesMax, raw, read)
  } catch (thrown) {
    stop(raw, reply)
    if (!(thrown instanceof Error) || 'code' in thrown || !PARSER_FAULT.test(thrown.message)) throw thrown
    throw httpErrors.REQUEST_INVALID(`the form is broken: ${thrown.message}`, {
      expected: 'multipart/form-data', received: thrown.message
    }, thrown)
  }
}

function stop (raw: IncomingMessage, reply: FastifyReply): void {
  raw.unpipe()
  if (raw.complete) {
    raw.resume()
    return
  }
  raw.pause()
  endWith(raw, reply)
}

/** `read` must begin to read before it first waits. */
async function within<T> (bytesMax: number, raw: IncomingMessage, read: () => Promise<T>): Promise<T> {
  const tooLarge = (received: number) => httpErrors.REQUEST_TOO_LARGE('the form is too large', {
    expected: `at most ${bytesMax} bytes`, received
  })
  const announced = Number(raw.headers['content-length'] ?? 0)
  if (announced > bytesMax) throw tooLarge(announced)
  let count: ((chunk: Buffer) => void) | undefined
  try {
    const reading = read()
    return await Promise.race([reading, new Promise<never>((_resolve, reject) => {
      let received = 0
      raw.on('data', count = ({ length }) => {
        received += length
        if (received > bytesMax) reject(tooLarge(received))
      })
    })])
  } finally {
    if (count !== undefined) raw.off('data', count)
  }
}

/** Rejects with BODIES_FULL, and REQUEST_TOO_LARGE for a file above the form's limit. */
export async function readFormFile ({ file }: MultipartFile, share: BodyShare): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of file as AsyncIterable<Buffer>) {
    share.add(chunk.length)
    chunks.push(chunk)
  }
  if (file.truncated) throw httpErrors.REQUEST_TOO_LARGE('the file is too large')
  return Buffer.concat(chunks)
}
