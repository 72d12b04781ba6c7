/** Open Inference Protocol v2: inference. */
import { Type } from '#typebox'
import { SlicedWork } from '../../base/slices.js'
import { usualShape } from '../../models/manifest.js'
import { chosenEncoding, compress } from '../compress.js'
import { httpErrors } from '../errors.js'
import { patienceOf } from '../limits/deadline.js'
import { leavingSignal } from '../limits/exchange-end.js'
import { RowEstimates } from '../limits/row-estimates.js'
import { RequestSchema, type InferenceTerms } from '../open-inference/parse-request.js'
import { parseRawRequest } from '../open-inference/raw-request.js'
import { InferAnswer } from '../open-inference/schemas.js'
import { planAnswer, type WireResponse } from '../open-inference/write-response.js'
import { modelOf, refuseEarly, requestedModel, type RequestedModel } from '../request-domain.js'
import { noteAnswer, noteRead, noteStage } from '../request-record.js'
import { InferenceHeaders, errorsOf, ModelParameter, rawBody, VersionText } from '../schemas.js'

import type { App } from '../app-type.js'
import type { BodyThread } from '../open-inference/body-thread.js'
import type { AnswerBudget } from '../limits/answer-budget.js'
import type { Engine } from '../../engine.js'
import type { InferenceRequest, MixedResult } from '../../serving/answering/answering.js'
import type { ResolvedDomain } from '../../serving/domain-reference.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const HEADER_LENGTH = 'inference-header-content-length'

/** With this length there is no JSON: the body is the tensor. */
const RAW = '0'

/** An input that is no tensor of the model: BYTES of shape [rows], the domain of each row. */
const DOMAIN_INPUT = '__domain__'

const URL_INFER = '/v2/models/:model/infer'
const URL_INFER_VERSION = '/v2/models/:model/versions/:version/infer'

interface InferRoutes {
  engine: Engine
  estimates: RowEstimates
  answers: AnswerBudget
  thread: BodyThread
  /** Answers that are being written. */
  writing: SlicedWork
  /** The smallest answer worth compressing. */
  compressBytes: number
}

/** The needs of these routes, but for what they have themselves. */
export type InferNeeds = Pick<InferRoutes, 'answers' | 'thread' | 'compressBytes'>

export function registerInferRoutes (app: App, engine: Engine, needs: InferNeeds): void {
  const routes: InferRoutes = { engine, estimates: new RowEstimates(), writing: new SlicedWork(), ...needs }
  const schema = {
    tags: ['inference'],
    summary: 'Infer (Open Inference Protocol v2, JSON or binary tensors)',
    description: 'The domain is taken from X-Domain, else parameters.domain, else model@domain, else the default; ' +
      'the BYTES input __domain__ of shape [rows] gives each row its own.',
    headers: InferenceHeaders,
    body: rawBody(RequestSchema),
    response: { 200: InferAnswer, ...errorsOf(400, 404, 409, 413, 415, 429, 500, 501, 503, 504) }
  }
  const onRequest = (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
    const { model } = request.params as { model: string }
    refuseEarly(engine, request, model, routes.estimates)
    done()
  }
  app.post(URL_INFER, {
    config: { access: 'inference' },
    onRequest,
    schema: { ...schema, params: Type.Object({ model: ModelParameter }) }
  }, async (request, reply) => await answer(routes, request, reply, request.params.model))
  app.post(URL_INFER_VERSION, {
    config: { access: 'inference' },
    onRequest,
    schema: { ...schema, params: Type.Object({ model: ModelParameter, version: VersionText }) }
  }, async (request, reply) => await answer(routes, request, reply, request.params.model, request.params.version))
}

async function answer (
  routes: InferRoutes, request: FastifyRequest, reply: FastifyReply, path: string, version?: string
): Promise<FastifyReply> {
  const { engine, estimates, answers, thread, writing } = routes
  noteRead(request)
  const ready = engine.readyModel(modelOf(path))
  const begin = performance.now()
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0)
  const header = request.headers[HEADER_LENGTH]
  const headerLength = typeof header === 'string' ? header.trim() : undefined
  const bodyBytes = body.length
  const client = leavingSignal(reply.raw)
  const message = headerLength === RAW ? rawMessage(request) : await thread.inference(body, headerLength, client)
  const requested = requestedModel(engine, request, path, version, message.parameters.domain)
  const { model, wish } = requested
  const feeds = message.feeds ?? rawFeeds(engine, requested, body)
  const signal = patienceOf(request, reply, message.parameters.timeout, client)
  const inputMs = performance.now() - begin
  noteStage(request, 'decode', inputMs)
  const result = await run(engine, model, { wish, feeds, signal, inputMs })
  estimates.observe(model, bodyBytes, result.runs.reduce((sum, { rows }) => sum + rows, 0))
  const encodeBegin = performance.now()
  const planned = planAnswer(model, message, result, ready.entry.labels)
  const held = answers.hold(request, reply, planned.bytesMax)
  const response = await writing.run(planned.write(), client)
  const sent = await compressed(routes, request, reply, response)
  held.settle(sent.length)
  const encodeMs = performance.now() - encodeBegin
  const { answeredBy, queueMs, inferMs, runs, recognised } = result
  noteAnswer(request, reply, {
    domain: answeredBy.map((one) => one.domain).join(),
    version: answeredBy.map((one) => one.version).join(),
    queueMs,
    inferMs,
    runs,
    encodeMs,
    ...(recognised === undefined ? {} : { recognised })
  })
  engine.answering.observeEncoding(model, answeredBy, encodeMs)
  return reply.send(sent)
}

/** With an input of domains each row has its own; an empty one is the request's. */
async function run (engine: Engine, model: string, request: InferenceRequest): Promise<MixedResult> {
  const { [DOMAIN_INPUT]: domains, ...feeds } = typeof request.feeds === 'function' ? {} : request.feeds
  if (domains === undefined) {
    return await engine.answering.inferRows(model, request)
  }
  if (domains.type !== 'string' || domains.dims.length !== 1) {
    throw httpErrors.PROTOCOL_INVALID(`the input "${DOMAIN_INPUT}" is no list of domains`, {
      expected: 'BYTES of shape [rows]', received: `${domains.type} of shape [${domains.dims.join()}]`
    })
  }
  return await engine.answering.inferMixed(model, { ...request, feeds, rows: domains.data as string[] })
}

/** What a request says whose body is nothing but the tensor. */
function rawMessage (request: FastifyRequest): InferenceTerms & { feeds?: undefined } {
  const isJsonWanted = request.headers.accept?.split(',').some((type) => type.trim().startsWith('application/json'))
  return { parameters: {}, isBinaryByDefault: isJsonWanted !== true }
}

/**
 * Reads a body that is nothing but the tensor: once the version is chosen, whose pictures have a size; where what
 * was sent chooses the domain, as one of the default domain's.
 */
function rawFeeds (
  engine: Engine, { model, wish, named }: RequestedModel, body: Uint8Array
): InferenceRequest['feeds'] {
  const { artefact: { inputs }, entry: { manifest } } = engine.readyModel(model)
  const feedsOf = ({ record: { domain }, version: { preprocessing } }: ResolvedDomain) => {
    return parseRawRequest(body, inputs, usualShape(manifest, domain, preprocessing))
  }
  const isBySize = manifest.task === 'classification' && manifest.domainFrom === 'inputSize'
  const isChosen = (named === undefined && isBySize) || engine.answering.isAutomatic(model, wish)
  return isChosen ? feedsOf(engine.answering.resolve(model, wish)) : feedsOf
}

async function compressed (
  { compressBytes }: InferRoutes, request: FastifyRequest, reply: FastifyReply, response: WireResponse
): Promise<Buffer> {
  reply.header('content-type', response.contentType)
  if (response.headerLength !== undefined) reply.header(HEADER_LENGTH, response.headerLength)
  if (response.body.length < compressBytes) return response.body
  reply.header('vary', 'accept-encoding')
  const encoding = chosenEncoding(request.headers['accept-encoding'])
  if (encoding === undefined) return response.body
  reply.header('content-encoding', encoding)
  return await compress(response.body, encoding)
}
