/** Open Inference Protocol v2: inference. */
import { Type } from 'typebox'
import { setAnswerHeaders } from '../answer.js'
import { patienceOf } from '../limits/deadline.js'
import { RowEstimates } from '../limits/row-estimates.js'
import { parseInferenceRequest, RequestSchema } from '../open-inference/parse-request.js'
import { writeInferenceResponse } from '../open-inference/write-response.js'
import { modelOf, refuseEarly, requestedModel } from '../request-domain.js'
import { InferenceHeaders, errorsOf, ModelParameter, rawBody } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { Tensors } from '../../ort/rows.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const HEADER_LENGTH = 'inference-header-content-length'

export function registerInferRoutes (app: App, engine: Engine): void {
  const estimates = new RowEstimates()
  const schema = {
    tags: ['inference'],
    summary: 'Infer (Open Inference Protocol v2, JSON or binary tensors)',
    description: 'The domain is taken from X-Domain, else parameters.domain, else model@domain, else the default.',
    headers: InferenceHeaders,
    body: rawBody(RequestSchema),
    response: errorsOf(400, 404, 409, 413, 429, 500, 501, 503, 504)
  }
  app.post('/v2/models/:model/infer', {
    onRequest: async (request) => refuseEarly(engine, request, request.params.model, estimates),
    schema: { ...schema, params: Type.Object({ model: ModelParameter }) }
  }, async (request, reply) => {
    return await answer(engine, estimates, request, reply, request.params.model)
  })
  app.post('/v2/models/:model/versions/:version/infer', {
    onRequest: async (request) => refuseEarly(engine, request, request.params.model, estimates),
    schema: { ...schema, params: Type.Object({ model: ModelParameter, version: Type.String() }) }
  }, async (request, reply) => {
    const { model, version } = request.params
    return await answer(engine, estimates, request, reply, model, version)
  })
}

async function answer (
  engine: Engine, estimates: RowEstimates, request: FastifyRequest, reply: FastifyReply, path: string, version?: string
): Promise<FastifyReply> {
  engine.readyModel(modelOf(path))
  const headerLength = request.headers[HEADER_LENGTH]
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0)
  const message = parseInferenceRequest(body, typeof headerLength === 'string' ? headerLength : undefined)
  const { model, reference } = requestedModel(request, path, version, message.parameters.domain)
  const signal = patienceOf(request, reply, message.parameters.timeout)
  const result = await engine.infer(model, reference, message.feeds, signal)
  estimates.observe(model, body.length, rowsOf(message.feeds))
  const response = writeInferenceResponse(model, message, result)
  setAnswerHeaders(reply, result)
  if (response.headerLength !== undefined) reply.header(HEADER_LENGTH, response.headerLength)
  return reply.header('content-type', response.contentType).send(response.body)
}

function rowsOf (feeds: Tensors): number {
  return Object.values(feeds)[0]?.dims[0] ?? 1
}
