/** One file of a multipart form, counted against the budget of all bodies as it comes. */
import { httpErrors } from '../errors.js'
import type { MultipartFile } from '@fastify/multipart'
import type { BodyShare } from './body-budget.js'

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
