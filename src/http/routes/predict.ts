/** Pictures in, labels or pictures out; the model's task decides. */
import { Type } from '#typebox'
import { acceptedType, requireWithout } from '../answer.js'
import { patienceOf } from '../limits/deadline.js'
import { PICTURE_BODY_TYPES, readPictureBody, takePictureBodies } from '../picture-body.js'
import { modelOf, refuseEarly, requestedModel } from '../request-domain.js'
import { noteAnswer, noteRead } from '../request-record.js'
import {
  BinaryBody, errorsOf, ModelParameter, NameParameter, PredictHeaders, PredictionsSchema, PredictQuery, ProgressSchema,
  TOP_DEFAULT
} from '../schemas.js'
import { modelErrors } from '../../models/errors.js'
import { PICTURE_TASKS } from '../../models/manifest.js'
import type { App } from '../app-type.js'
import type { AnswerBudget } from '../limits/answer-budget.js'
import type { BodyLimits } from '../limits/request-body.js'
import type { Engine } from '../../engine.js'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { EncodedFormat } from '../../imaging/encode.js'
import type { PictureRequest, Recognised } from '../../serving/answering/answering.js'
import type { Static } from '#typebox'

/** The first is the answer to whoever takes any. */
const ANSWER_TYPES = {
  classification: ['application/json'],
  'image-to-image': ['image/png', 'image/jpeg', 'image/webp']
} as const

const QUALITY_DEFAULT = 92

type Query = Static<typeof PredictQuery>

export async function registerPredictRoutes (
  app: App, engine: Engine, limits: BodyLimits, answers: AnswerBudget
): Promise<void> {
  await takePictureBodies(app, limits)
  app.post('/v1/models/:model/predict', {
    config: { access: 'inference' },
    onRequest: (request, _reply, done) => {
      refuseEarly(engine, request, request.params.model)
      answerType(engine, request, modelOf(request.params.model))
      done()
    },
    schema: {
      tags: ['inference'],
      summary: 'Classify a picture, or turn it into another',
      description: 'The picture is the body (image/jpeg, image/png, image/webp) or the one file of a multipart form. ' +
        'Models for classification answer JSON; those for image-to-image a picture in the format that Accept names; ' +
        'those for tensors are asked through /v2.',
      consumes: PICTURE_BODY_TYPES,
      produces: Object.values(ANSWER_TYPES).flat(),
      headers: PredictHeaders,
      params: Type.Object({ model: ModelParameter }),
      body: BinaryBody,
      querystring: PredictQuery,
      response: { 200: PredictionsSchema, ...errorsOf(400, 404, 406, 409, 413, 415, 429, 500, 503, 504) }
    }
  }, async (request, reply) => {
    const { model, wish } = requestedModel(engine, request, request.params.model)
    const image = await readPictureBody(request, reply as FastifyReply, limits)
    noteRead(request)
    const picture = { wish, image, signal: patienceOf(request, reply) }
    const type = answerType(engine, request, model)
    if (type !== 'application/json') {
      const progressKey = request.headers['x-progress-key']
      const { query } = request
      return await transform({
        engine, answers, request, reply: reply as FastifyReply, model, picture, type, query, progressKey
      })
    }
    const { top = TOP_DEFAULT } = requireWithout(request.query, 'quality')
    const result = await engine.answering.classify(model, picture, top)
    const { domain, version, predictions, recognised } = result
    const encodeBegin = performance.now()
    const how = recognised === undefined ? {} : { recognised: withoutDomain(recognised) }
    const answer = reply.serialize({ model, domain, version, predictions, ...how })
    const encodeMs = performance.now() - encodeBegin
    noteAnswer(request, reply, { encodeMs, ...result })
    engine.answering.observeEncoding(model, [result], encodeMs)
    return await (reply as FastifyReply).header('content-type', 'application/json').send(answer)
  })

  app.get('/v1/progress/:key', {
    config: { access: 'inference', concerns: 'nobody' },
    schema: {
      tags: ['inference'],
      summary: 'How far a picture has got',
      description: 'Of a predict request under way that has the key in X-Progress-Key.',
      params: Type.Object({ key: NameParameter }),
      response: { 200: ProgressSchema, ...errorsOf(400, 404) }
    }
  }, async ({ params: { key } }) => engine.answering.progress(key))
}

/** Throws TASK_MISMATCH, NOT_ACCEPTABLE and what `readyModel` throws. */
function answerType (engine: Engine, request: FastifyRequest, model: string) {
  const { entry: { manifest: { task } } } = engine.readyModel(model)
  if (task === 'tensors') {
    throw modelErrors.TASK_MISMATCH(
      `the task of model "${model}" is "tensors", and predict knows ${PICTURE_TASKS.join(', ')}; ` +
      `ask it through /v2/models/${model}/infer`,
      { expected: PICTURE_TASKS, received: task }
    )
  }
  return acceptedType(request, ANSWER_TYPES[task])
}

interface TransformWish {
  engine: Engine
  answers: AnswerBudget
  request: FastifyRequest
  reply: FastifyReply
  model: string
  picture: PictureRequest
  type: string
  query: Query
  progressKey: string | undefined
}

/** Rejects with what transforming rejects with, and with ANSWERS_FULL. */
async function transform (
  { engine, answers, request, reply, model, picture, type, query, progressKey }: TransformWish
): Promise<FastifyReply> {
  const { quality = QUALITY_DEFAULT } = requireWithout(query, 'top')
  const result = await engine.answering.transform(model, {
    ...picture,
    format: type.replace('image/', '') as EncodedFormat,
    quality,
    ...(progressKey === undefined ? {} : { progressKey })
  })
  answers.keep(request, reply, result.picture.length)
  noteAnswer(request, reply, result)
  return reply.header('content-type', type).header('vary', 'accept').send(result.picture)
}

/** The domain stands beside it already. */
function withoutDomain ({ domain: _domain, ...how }: Recognised): Omit<Recognised, 'domain'> {
  return how
}
