/** The sample pictures of a model. */
import { Type } from '#typebox'
import { readSample, sampleNames } from '../../models/samples.js'
import { BinaryBody, errorsOf, NameParameter } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { FastifyReply } from 'fastify'

const tags = ['models']

export function registerSampleRoutes (app: App, engine: Engine): void {
  app.get('/v1/models/:model/samples', {
    config: { access: 'listing' },
    schema: {
      tags,
      summary: 'The names of the sample pictures that a model comes with',
      params: Type.Object({ model: NameParameter }),
      response: { 200: Type.Object({ samples: Type.Array(Type.String()) }), ...errorsOf(400, 404) }
    }
  }, async ({ params: { model } }) => ({ samples: await sampleNames(engine.model(model).entry) }))

  app.get('/v1/models/:model/samples/:sample', {
    config: { access: 'listing' },
    schema: {
      tags,
      summary: 'A sample picture',
      produces: ['image/png', 'image/jpeg', 'image/webp'],
      params: Type.Object({ model: NameParameter, sample: Type.String({ minLength: 1, maxLength: 120 }) }),
      response: { 200: BinaryBody, ...errorsOf(400, 404) }
    }
  }, async ({ params: { model, sample } }, reply) => {
    const { bytes, type } = await readSample(engine.model(model).entry, sample)
    return await (reply as FastifyReply).header('content-type', type).send(bytes)
  })
}
