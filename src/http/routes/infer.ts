/** Open Inference Protocol v2: inference. */
import { Type } from 'typebox'
import { runtimeErrors } from '../../runtime/errors.js'
import { clientSignal, setAnswerHeaders } from '../answer.js'
import { parseInferenceRequest, RequestSchema } from '../open-inference/parse-request.js'
import { writeInferenceResponse } from '../open-inference/write-response.js'
import { modelOf, refuseEarly, requestedModel } from '../request-domain.js'
import { DomainHeader, errorsOf, ModelParameter, rawBody } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const HEADER_LENGTH = 'inference-header-content-length'

export function registerInferRoutes (app: App, engine: Engine): void {
  const schema = {
    tags: ['inference'],
    summary: 'Infer (Open Inference Protocol v2, JSON or binary tensors)',
    description: 'The domain is taken from X-Domain, else parameters.domain, else model@domain, else the default.',
    headers: DomainHeader,
    body: rawBody(RequestSchema),
    response: errorsOf(400, 404, 409, 413, 429, 500, 501, 503, 504)
  }
  app.post('/v2/models/:model/infer', {
    onRequest: async (request) => refuseEarly(engine, request, request.params.model),
    schema: { ...schema, params: Type.Object({ model: ModelParameter }) }
  }, async (request, reply) => {
    return await answer(engine, request, reply, request.params.model)
  })
  app.post('/v2/models/:model/versions/:version/infer', {
    onRequest: async (request) => refuseEarly(engine, request, request.params.model),
    schema: { ...schema, params: Type.Object({ model: ModelParameter, version: Type.String() }) }
  }, async (request, reply) => {
    const { model, version } = request.params
    return await answer(engine, request, reply, model, version)
  })
}

async function answer (
  engine: Engine, request: FastifyRequest, reply: FastifyReply, path: string, version?: string
): Promise<FastifyReply> {
  engine.readyModel(modelOf(path))
  const headerLength = request.headers[HEADER_LENGTH]
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0)
  const message = parseInferenceRequest(body, typeof headerLength === 'string' ? headerLength : undefined)
  const { model, reference } = requestedModel(request, path, version, message.parameters.domain)
  const signals = [clientSignal(request, reply), ...deadlineSignal(message.parameters.timeout)]
  const result = await engine.infer(model, reference, message.feeds, AbortSignal.any(signals))
  const response = writeInferenceResponse(model, message, result)
  setAnswerHeaders(reply, result)
  if (response.headerLength !== undefined) reply.header(HEADER_LENGTH, response.headerLength)
  return reply.header('content-type', response.contentType).send(response.body)
}

/** The protocol's `timeout` parameter: microseconds that a request may wait. 0 means no limit. */
function deadlineSignal (timeout: string | number | boolean | undefined): AbortSignal[] {
  const microseconds = Number(timeout)
  if (timeout === undefined || !(microseconds > 0)) return []
  const controller = new AbortController()
  setTimeout(() => {
    controller.abort(runtimeErrors.DEADLINE_EXCEEDED('the request waited longer than its timeout', {
      expected: `${microseconds} microseconds`
    }))
  }, microseconds / 1000).unref()
  return [controller.signal]
}
