/** One picture under several banks at once. */
import { Type } from '#typebox'
import { acceptedType, requireWithout } from '../answer.js'
import { patienceOf } from '../limits/deadline.js'
import { PICTURE_BODY_TYPES, readPictureBody, takePictureBodies } from '../picture-body.js'
import { noteAnswer, noteRead, noteSubject, type AnswerFacts } from '../request-record.js'
import {
  BinaryBody, CompareHeaders, CompareQuery, ComparisonSchema, errorsOf, NameParameter, TOP_DEFAULT
} from '../schemas.js'
import type { App } from '../app-type.js'
import type { AnswerBudget } from '../limits/answer-budget.js'
import type { BodyLimits } from '../limits/request-body.js'
import type { Engine } from '../../engine.js'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ComparedPictures, CompareRequest } from '../../serving/answering/answering.js'
import type { Static } from '#typebox'

/** The first is the answer to whoever takes any. */
const ANSWER_TYPES = ['application/json', 'image/png'] as const

type Query = Static<typeof CompareQuery>

export async function registerCompareRoutes (
  app: App, engine: Engine, limits: BodyLimits, answers: AnswerBudget
): Promise<void> {
  await takePictureBodies(app, limits)
  app.post('/v1/models/:model/compare', {
    config: { access: 'inference' },
    onRequest: async (request) => {
      const { model } = request.params
      noteSubject(request, { model })
      await engine.answering.requireRoomToCompare(model, referencesOf(request.query.domains))
      answerType(engine, request, model)
    },
    schema: {
      tags: ['inference'],
      summary: 'One picture under several banks: how far they agree',
      description: 'The body is a picture, as for predict. Models for classification answer with the predictions of ' +
        'each bank, how undecided each is, and what most say; those for image-to-image with how far the pictures lie ' +
        'apart, or, for `Accept: image/png`, with the pictures side by side, in the order that X-Domain and ' +
        'X-Domain-Version tell. How well the picture fits each domain with a signature is told too, with a sheet in ' +
        'X-Domain-Fit and X-Domain-P.',
      consumes: PICTURE_BODY_TYPES,
      produces: [...ANSWER_TYPES],
      headers: CompareHeaders,
      params: Type.Object({ model: NameParameter }),
      body: BinaryBody,
      querystring: CompareQuery,
      response: { 200: ComparisonSchema, ...errorsOf(400, 404, 406, 409, 413, 415, 429, 500, 503, 504) }
    }
  }, async (request, reply) => {
    const { params: { model }, query } = request
    const image = await readPictureBody(request, reply as FastifyReply, limits)
    noteRead(request)
    const picture: CompareRequest = {
      image, references: referencesOf(query.domains), signal: patienceOf(request, reply)
    }
    const { entry: { manifest: { task } } } = engine.readyModel(model)
    if (task === 'classification') return await classes(engine, request, reply as FastifyReply, model, picture)
    const isSheet = answerType(engine, request, model) === 'image/png'
    requireWithout(query, 'top')
    return await pictures(engine, request, reply as FastifyReply, answers, model, picture, isSheet)
  })
}

/** Undefined for all, and for what validation, which comes later, refuses. */
function referencesOf (domains: unknown): string[] | undefined {
  return typeof domains === 'string' ? domains.split(',').map((text) => text.trim()) : undefined
}

/** Throws NOT_ACCEPTABLE and what `readyModel` throws. */
function answerType (engine: Engine, request: FastifyRequest, model: string) {
  const { entry: { manifest: { task } } } = engine.readyModel(model)
  return acceptedType(request, task === 'classification' ? [ANSWER_TYPES[0]] : ANSWER_TYPES)
}

async function classes (
  engine: Engine, request: FastifyRequest, reply: FastifyReply, model: string, picture: CompareRequest
): Promise<FastifyReply> {
  const { top = TOP_DEFAULT } = request.query as Query
  const result = await engine.answering.compareClasses(model, picture, top)
  const { banks, agreement } = result
  const encodeBegin = performance.now()
  const answer = reply.serialize({ model, banks, agreement })
  const encodeMs = performance.now() - encodeBegin
  note(request, reply, { ...result, encodeMs })
  engine.answering.observeEncoding(model, result.answeredBy, encodeMs)
  return reply.header('content-type', 'application/json').send(answer)
}

async function pictures (
  engine: Engine, request: FastifyRequest, reply: FastifyReply, answers: AnswerBudget, model: string,
  picture: CompareRequest, isSheet: boolean
): Promise<FastifyReply> {
  const result = await engine.answering.comparePictures(model, picture, isSheet)
  const { banks, differences, sheet, answeredBy, encodeMs } = result
  note(request, reply, result)
  engine.answering.observeEncoding(model, answeredBy, encodeMs)
  reply.header('vary', 'accept')
  if (sheet === undefined) return reply.send({ model, banks, differences })
  reply.headers(fitHeaders(banks))
  answers.keep(request, reply, sheet.length)
  return reply.header('content-type', 'image/png').send(sheet)
}

/** In the order of the banks, with nothing between the commas where it is not known. */
function fitHeaders (banks: ComparedPictures['banks']): Record<string, string> {
  if (banks.every(({ fit }) => fit === undefined)) return {}
  return {
    'x-domain-fit': banks.map(({ fit }) => fit ?? '').join(),
    'x-domain-p': banks.map(({ p }) => p?.toPrecision(3) ?? '').join()
  }
}

interface Compared extends Omit<AnswerFacts, 'domain' | 'version'> {
  answeredBy: ReadonlyArray<{ domain: string, version: number }>
}

function note (request: FastifyRequest, reply: FastifyReply, { answeredBy, ...facts }: Compared): void {
  const domain = answeredBy.map((one) => one.domain).join()
  noteAnswer(request, reply, { ...facts, domain, version: answeredBy.map(({ version }) => version).join() })
}
