/** Pictures in, labels out. */
import multipart from '@fastify/multipart'
import { Type } from 'typebox'
import { setAnswerHeaders } from '../answer.js'
import { httpErrors } from '../errors.js'
import { patienceOf } from '../limits/deadline.js'
import { refuseEarly, requestedModel } from '../request-domain.js'
import { BinaryBody, InferenceHeaders, errorsOf, ModelParameter, PredictionsSchema, PredictQuery } from '../schemas.js'
import type { App } from '../app-type.js'
import type { BodyBudget, BodyShare } from '../limits/body-budget.js'
import type { BodyReader } from '../limits/request-body.js'
import type { Engine } from '../../engine.js'
import type { FastifyRequest } from 'fastify'

const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/webp']

export async function registerPredictRoutes (
  app: App, engine: Engine, bodies: BodyBudget, bodyBytesMax: number, readBody: BodyReader
): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(IMAGE_TYPES, readBody)
  await app.register(multipart, {
    limits: { files: 1, fields: 16, fieldSize: 1024, fileSize: bodyBytesMax, parts: 17, headerPairs: 64 }
  })
  app.post('/v1/models/:model/predict', {
    onRequest: async (request) => refuseEarly(engine, request, request.params.model),
    schema: {
      tags: ['inference'],
      summary: 'Classify a picture',
      description: 'The picture is the body (image/jpeg, image/png, image/webp) or the one file of a multipart form.',
      consumes: [...IMAGE_TYPES, 'multipart/form-data'],
      headers: InferenceHeaders,
      params: Type.Object({ model: ModelParameter }),
      body: BinaryBody,
      querystring: PredictQuery,
      response: { 200: PredictionsSchema, ...errorsOf(400, 404, 409, 413, 415, 429, 500, 503, 504) }
    }
  }, async (request, reply) => {
    const { model, reference } = requestedModel(engine, request, request.params.model)
    const image = await readImage(request, bodies.shareOf(request.raw))
    const result = await engine.predict(model, reference, image, request.query.top, patienceOf(request, reply))
    setAnswerHeaders(reply, result)
    return { model, domain: result.domain, version: result.version, predictions: result.predictions }
  })
}

async function readImage (request: FastifyRequest, share: BodyShare): Promise<Uint8Array> {
  if (request.isMultipart()) {
    const file = await request.file()
    if (file === undefined) {
      throw httpErrors.REQUEST_INVALID('the form holds no file', { expected: 'one file', received: 'none' })
    }
    const chunks: Buffer[] = []
    for await (const chunk of file.file as AsyncIterable<Buffer>) {
      share.add(chunk.length)
      chunks.push(chunk)
    }
    if (file.file.truncated) throw httpErrors.REQUEST_TOO_LARGE('the file is too large')
    return Buffer.concat(chunks)
  }
  if (request.body instanceof Uint8Array && request.body.length > 0) return request.body
  throw httpErrors.REQUEST_INVALID('the body is empty', { expected: 'a picture', received: 'nothing' })
}
