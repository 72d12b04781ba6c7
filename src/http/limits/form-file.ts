/** Multipart forms: one file, counted against the budget of all bodies as it comes; and what the parser throws. */
import { httpErrors } from '../errors.js'
import type { MultipartFile } from '@fastify/multipart'
import type { BodyShare } from './body-budget.js'

/** The parser's own errors have no code, only their words. */
const PARSER_FAULT = /multipart|boundary|malformed|part terminated/i

/** Reads a form. Rejects with what `read` throws, and with REQUEST_INVALID for what is no form. */
export async function readingForm<T> (read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (thrown) {
    if (!(thrown instanceof Error) || 'code' in thrown || !PARSER_FAULT.test(thrown.message)) throw thrown
    throw httpErrors.REQUEST_INVALID(`the form is broken: ${thrown.message}`, {
      expected: 'multipart/form-data', received: thrown.message
    }, thrown)
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
