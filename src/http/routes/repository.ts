/**
 * Open Inference Protocol v2, model repository extension: our models, and `model@domain` as a model whose versions are
 * banks. Loading activates a version, unloading deactivates; both need the scope admin.
 */
import { Type, type Static } from '#typebox'
import { parseStrictJson } from '../../base/strict-json.js'
import { httpErrors } from '../errors.js'
import { repositoryState } from '../open-inference/describe.js'
import { modelOf, wishInPath } from '../request-domain.js'
import { noteSubject } from '../request-record.js'
import { RepositoryBody, RepositoryIndexSchema } from '../open-inference/schemas.js'
import { errorsOf, ModelParameter, rawBody } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { FastifyRequest } from 'fastify'

type IndexEntry = Static<typeof RepositoryIndexSchema>[number]

const BODY_BYTES_MAX = 65_536
const BODY_DEPTH_MAX = 8

const tags = ['open inference protocol']

export async function registerRepositoryRoutes (app: App, engine: Engine): Promise<void> {
  // The protocol's clients send no Content-Type, and often no body.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: BODY_BYTES_MAX }, async (
    _request: FastifyRequest, body: Buffer
  ) => body.length === 0 ? {} : parseStrictJson(body, { depthMax: BODY_DEPTH_MAX }))

  app.post('/v2/repository/index', {
    config: { access: 'listing' },
    schema: {
      tags,
      summary: 'Models, and the versions of each model@domain',
      body: rawBody(RepositoryBody),
      response: { 200: RepositoryIndexSchema, ...errorsOf(400, 413, 415) }
    }
  }, async (request) => {
    const { ready } = bodyOf(request)
    return index(engine).filter(({ state }) => ready !== true || state === 'READY')
  })

  registerLoading(app, engine)
}

function registerLoading (app: App, engine: Engine): void {
  const common = {
    tags,
    params: Type.Object({ model: ModelParameter }),
    body: rawBody(RepositoryBody),
    response: {
      200: Type.Unsafe<string>({ type: 'string', maxLength: 0 }),
      ...errorsOf(400, 401, 404, 409, 413, 415, 500, 501, 503)
    }
  }
  app.post('/v2/repository/models/:model/load', {
    config: { access: 'administration' },
    schema: { ...common, summary: 'Activate model@domain:version, or the newest version of model@domain' }
  }, async (request, reply) => {
    const { parameters = {} } = bodyOf(request)
    const foreign = Object.keys(parameters).find((name) => name === 'config' || name.startsWith('file:'))
    if (foreign !== undefined) {
      throw httpErrors.PROTOCOL_UNSUPPORTED('models and their files come from the models folder, banks by PUT', {
        received: foreign.slice(0, 100)
      })
    }
    const { model: path } = request.params
    const model = modelOf(path)
    const reference = engine.answering.namedInPath(wishInPath(path))
    engine.readyModel(model)
    if (reference !== undefined) {
      const version = engine.admin.versionToLoad(model, reference)
      noteSubject(request, { model, domain: reference.domain, version: String(version) })
      await engine.admin.activate(model, reference.domain, version)
    }
    return await reply.code(200).send('')
  })

  app.post('/v2/repository/models/:model/unload', {
    config: { access: 'administration' },
    schema: { ...common, summary: 'Leave model@domain without an active version' }
  }, async (request, reply) => {
    bodyOf(request)
    const { model: path } = request.params
    const model = modelOf(path)
    const reference = engine.answering.namedInPath(wishInPath(path))
    engine.model(model)
    if (reference === undefined) {
      throw httpErrors.PROTOCOL_UNSUPPORTED('models stay loaded while the server runs; unload model@domain', {
        received: model
      })
    }
    engine.domain(model, reference.domain)
    noteSubject(request, { model, domain: reference.domain })
    await engine.admin.deactivate(model, reference.domain)
    return await reply.code(200).send('')
  })
}

function index (engine: Engine): IndexEntry[] {
  return engine.models().flatMap((model) => {
    const { name } = model.entry.manifest
    const own = repositoryState(model)
    const banks = engine.domains(name).flatMap(({ domain, active, versions }) => versions.map(({ version }) => ({
      name: `${name}@${domain}`,
      version: String(version),
      ...(own.state !== 'READY' || version === active ? own : { state: 'UNAVAILABLE', reason: 'it is not active' })
    })))
    return [{ name, ...own }, ...banks]
  })
}

interface RepositoryRequest {
  ready?: unknown
  parameters?: Record<string, unknown>
}

/** Unknown members are ignored, as everywhere in the protocol. Throws PROTOCOL_INVALID. */
function bodyOf ({ body }: FastifyRequest): RepositoryRequest {
  const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
  const given = (body ?? {}) as RepositoryRequest
  if (isObject(given) && (given.parameters === undefined || isObject(given.parameters))) return given
  throw httpErrors.PROTOCOL_INVALID('the body is no object with parameters', { expected: 'an object, or nothing' })
}
