/** A picture as the body of a request, or as the one file of a form. */
import multipart from '@fastify/multipart'
import { httpErrors } from './errors.js'
import { BYTES_PER_PART, readFormFile, readingForm } from './limits/form-file.js'
import type { App } from './app-type.js'
import type { BodyShare } from './limits/body-budget.js'
import type { BodyLimits } from './limits/request-body.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/webp']

/** For the document. */
export const PICTURE_BODY_TYPES = [...IMAGE_TYPES, 'multipart/form-data']

/** The second file is one too many, and told so. */
const FORM = { files: 2, fields: 16, parts: 18, fieldSize: 1024, headerPairs: 64 }
/** What a form has besides its file. */
const FORM_BYTES = FORM.parts * (BYTES_PER_PART + FORM.fieldSize)

/** Lets the routes of `app` take pictures and nothing else. */
export async function takePictureBodies (app: App, { bodyBytesMax, readBody }: BodyLimits): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(IMAGE_TYPES, readBody)
  await app.register(multipart, { limits: { ...FORM, fileSize: bodyBytesMax } })
}

/** Rejects with REQUEST_INVALID for no picture or several, and what `readingForm` and `readFormFile` reject with. */
export async function readPictureBody (
  request: FastifyRequest, reply: FastifyReply, { bodies, bodyBytesMax }: BodyLimits
): Promise<Uint8Array> {
  const read = () => readImage(request, bodies.shareOf(request))
  return await readingForm(request, reply, bodyBytesMax + FORM_BYTES, read)
}

async function readImage (request: FastifyRequest, share: BodyShare): Promise<Uint8Array> {
  if (request.isMultipart()) return await readOnlyFile(request, share)
  if (request.body instanceof Uint8Array && request.body.length > 0) return request.body
  throw httpErrors.REQUEST_INVALID('the body is empty', { expected: 'a picture', received: 'nothing' })
}

async function readOnlyFile (request: FastifyRequest, share: BodyShare): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined
  for await (const part of request.parts()) {
    if (part.type === 'field') continue
    if (bytes !== undefined) {
      throw httpErrors.REQUEST_INVALID('the form holds several files', { expected: 'one file', received: 'more' })
    }
    bytes = await readFormFile(part, share)
  }
  if (bytes !== undefined) return bytes
  throw httpErrors.REQUEST_INVALID('the form holds no file', { expected: 'one file', received: 'none' })
}
