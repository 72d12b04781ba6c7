/** Pictures in, labels out. */
import multipart from '@fastify/multipart'
import { Type } from 'typebox'
import { clientSignal, setAnswerHeaders } from '../answer.js'
import { httpErrors } from '../errors.js'
import { refuseEarly, requestedModel } from '../request-domain.js'
import { BinaryBody, DomainHeader, errorsOf, ModelParameter, PredictionsSchema, PredictQuery } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { FastifyRequest } from 'fastify'

const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/webp']

export async function registerPredictRoutes (app: App, engine: Engine, bodyBytesMax: number): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(IMAGE_TYPES, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
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
      headers: DomainHeader,
      params: Type.Object({ model: ModelParameter }),
      body: BinaryBody,
      querystring: PredictQuery,
      response: { 200: PredictionsSchema, ...errorsOf(400, 404, 409, 413, 415, 429, 500, 503) }
    }
  }, async (request, reply) => {
    const { model, reference } = requestedModel(request, request.params.model)
    const image = await readImage(request)
    const result = await engine.predict(model, reference, image, request.query.top, clientSignal(request, reply))
    setAnswerHeaders(reply, result)
    return { model, domain: result.domain, version: result.version, predictions: result.predictions }
  })
}

async function readImage (request: FastifyRequest): Promise<Uint8Array> {
  if (request.isMultipart()) {
    const file = await request.file()
    if (file === undefined) {
      throw httpErrors.REQUEST_INVALID('the form holds no file', { expected: 'one file', received: 'none' })
    }
    return await file.toBuffer()
  }
  if (request.body instanceof Uint8Array && request.body.length > 0) return request.body
  throw httpErrors.REQUEST_INVALID('the body is empty', { expected: 'a picture', received: 'nothing' })
}
