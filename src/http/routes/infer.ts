/** Open Inference Protocol v2: inference. */
import { Type } from 'typebox'
import { usualShape } from '../../models/manifest.js'
import { parseDomainReference, resolveIn } from '../../serving/domain-reference.js'
import { chosenEncoding, compress } from '../compress.js'
import { httpErrors } from '../errors.js'
import { patienceOf } from '../limits/deadline.js'
import { RowEstimates } from '../limits/row-estimates.js'
import { parseInferenceRequest, RequestSchema, type InferenceMessage } from '../open-inference/parse-request.js'
import { parseRawRequest } from '../open-inference/raw-request.js'
import { InferAnswer } from '../open-inference/schemas.js'
import { writeInferenceResponse, type WireResponse } from '../open-inference/write-response.js'
import { modelOf, refuseEarly, requestedModel, type RequestedModel } from '../request-domain.js'
import { noteAnswer, noteRead, noteStage } from '../request-record.js'
import { InferenceHeaders, errorsOf, ModelParameter, rawBody, VersionText } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { Tensors } from '../../ort/rows.js'
import type { InferOptions } from '../../serving/answering/answering.js'
import type { MixedResult } from '../../serving/answering/mixed-inference.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const HEADER_LENGTH = 'inference-header-content-length'

/** With this length there is no JSON: the body is the tensor. */
const RAW = '0'

/** An input that is no tensor of the model: BYTES of shape [rows], the domain of each row. */
const DOMAIN_INPUT = '__domain__'

const URL_INFER = '/v2/models/:model/infer'
const URL_INFER_VERSION = '/v2/models/:model/versions/:version/infer'

interface Parts {
  engine: Engine
  estimates: RowEstimates
  /** The smallest answer worth compressing. */
  compressBytes: number
}

export function registerInferRoutes (app: App, engine: Engine, compressBytes: number): void {
  const parts: Parts = { engine, estimates: new RowEstimates(), compressBytes }
  const schema = {
    tags: ['inference'],
    summary: 'Infer (Open Inference Protocol v2, JSON or binary tensors)',
    description: 'The domain is taken from X-Domain, else parameters.domain, else model@domain, else the default; ' +
      'the BYTES input __domain__ of shape [rows] gives each row its own.',
    headers: InferenceHeaders,
    body: rawBody(RequestSchema),
    response: { 200: InferAnswer, ...errorsOf(400, 404, 409, 413, 415, 429, 500, 501, 503, 504) }
  }
  app.post(URL_INFER, {
    config: { access: 'inference' },
    onRequest: async (request) => refuseEarly(engine, request, request.params.model, parts.estimates),
    schema: { ...schema, params: Type.Object({ model: ModelParameter }) }
  }, async (request, reply) => {
    return await answer(parts, request, reply, request.params.model)
  })
  app.post(URL_INFER_VERSION, {
    config: { access: 'inference' },
    onRequest: async (request) => refuseEarly(engine, request, request.params.model, parts.estimates),
    schema: { ...schema, params: Type.Object({ model: ModelParameter, version: VersionText }) }
  }, async (request, reply) => {
    return await answer(parts, request, reply, request.params.model, request.params.version)
  })
}

async function answer (
  parts: Parts, request: FastifyRequest, reply: FastifyReply, path: string, version?: string
): Promise<FastifyReply> {
  const { engine, estimates } = parts
  noteRead(request)
  const ready = engine.readyModel(modelOf(path))
  const begin = performance.now()
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0)
  const message = readMessage(engine, request, body, path, version)
  const requested = requestedModel(engine, request, path, version, message.parameters.domain)
  const { model } = requested
  const signal = patienceOf(request, reply, message.parameters.timeout)
  const inputMs = performance.now() - begin
  noteStage(request, 'decode', inputMs)
  const result = await run(engine, requested, message.feeds, { signal, inputMs, canaryKey: request.id })
  estimates.observe(model, body.length, rowsOf(message.feeds))
  const encodeBegin = performance.now()
  const response = writeInferenceResponse(model, message, result, ready.entry.labels)
  const sent = await compressed(parts, request, reply, response)
  const encodeMs = performance.now() - encodeBegin
  const domain = result.answeredBy.map((one) => one.domain).join()
  const answeredVersion = result.answeredBy.map((one) => one.version).join()
  noteAnswer(request, reply, { ...result, domain, version: answeredVersion, encodeMs })
  engine.answering.observeEncoding(model, result.answeredBy, encodeMs)
  return reply.send(sent)
}

/** With an input of domains each row has its own; an empty one is the request's. */
async function run (
  engine: Engine, { model, reference }: RequestedModel, { [DOMAIN_INPUT]: domains, ...feeds }: Tensors,
  options: InferOptions
): Promise<MixedResult> {
  if (domains === undefined) {
    const result = await engine.answering.infer(model, reference, feeds, options)
    return { ...result, answeredBy: [result] }
  }
  if (domains.type !== 'string' || domains.dims.length !== 1) {
    throw httpErrors.PROTOCOL_INVALID(`the input "${DOMAIN_INPUT}" is no list of domains`, {
      expected: 'BYTES of shape [rows]', received: `${domains.type} of shape [${domains.dims.join()}]`
    })
  }
  const references = (domains.data as string[]).map((text) => text === '' ? reference : parseDomainReference(text))
  return await engine.answering.inferMixed(model, references, feeds, options)
}

function readMessage (
  engine: Engine, request: FastifyRequest, body: Uint8Array, path: string, version: string | undefined
): InferenceMessage {
  const header = request.headers[HEADER_LENGTH]
  const headerLength = typeof header === 'string' ? header.trim() : undefined
  if (headerLength !== RAW) return parseInferenceRequest(body, headerLength)
  const requested = requestedModel(engine, request, path, version)
  const { artefact, entry: { manifest } } = engine.readyModel(requested.model)
  const { reference = { domain: manifest.defaultDomain } } = requested
  const record = engine.domain(manifest.name, reference.domain)
  const { version: { preprocessing } } = resolveIn(record, reference, request.id)
  const usual = usualShape(manifest, reference.domain, preprocessing)
  const isJsonWanted = request.headers.accept?.split(',').some((type) => type.trim().startsWith('application/json'))
  return parseRawRequest(body, artefact.inputs, usual, isJsonWanted !== true)
}

async function compressed (
  { compressBytes }: Parts, request: FastifyRequest, reply: FastifyReply, response: WireResponse
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

function rowsOf (feeds: Tensors): number {
  return Object.values(feeds)[0]?.dims[0] ?? 1
}
