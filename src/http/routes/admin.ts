/** The admin API: registering, activating, removing. */
import { Type } from '#typebox'
import { parsePreprocessingText } from '../../bank/formats/format.js'
import { BANK_FORMATS, BANK_MEDIA_TYPES, formatOfBody } from '../../bank/formats/table.js'
import { BankswitchError } from '../../base/errors.js'
import { parseStrictJson } from '../../base/strict-json.js'
import { httpErrors } from '../errors.js'
import { noteSubject, type Subject } from '../request-record.js'
import {
  ActivateBody, BinaryBody, BlendBody, DomainSchema, errorsOf, NameParameter, RegisteredSchema, RegisterQuery,
  VersionParameter, VersionSchema
} from '../schemas.js'
import { describeDomain, etagOf } from './models.js'
import type { App } from '../app-type.js'
import type { BodyReader } from '../limits/request-body.js'
import type { Engine } from '../../engine.js'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ExpectedRevision, DomainRecord } from '../../store/bank-store.js'

export const DomainParams = Type.Object({ model: NameParameter, domain: NameParameter })
const VersionParams = Type.Object({ model: NameParameter, domain: NameParameter, version: VersionParameter })

const BODY_DEPTH_MAX = 8
const SMALL_BODY_BYTES = 4096

/** `If-Match: "7"` expects that revision, `*` any (RFC 9110, 13.1.1); `If-None-Match: *` that there is none. */
export const PreconditionHeaders = Type.Object({
  'if-match': Type.Optional(Type.String({
    description: 'The ETag that the domain must have; * for a domain that must exist'
  })),
  'if-none-match': Type.Optional(Type.String({ description: '* for a domain that must not exist yet' }))
})

export async function registerAdminRoutes (app: App, engine: Engine, readBody: BodyReader): Promise<void> {
  await app.register(async (scope) => registerBankUpload(scope as App, engine, readBody))
  await app.register(async (scope) => registerVersionRoutes(scope as App, engine))
  await app.register(async (scope) => registerPointerRoutes(scope as App, engine))
  await app.register(async (scope) => registerBlendRoute(scope as App, engine))
}

function registerBankUpload (app: App, engine: Engine, readBody: BodyReader): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser([...BANK_MEDIA_TYPES], readBody)
  app.put('/admin/models/:model/domains/:domain', {
    config: { access: 'administration' },
    schema: {
      tags: ['admin'],
      summary: 'Register a new version of a domain, or a new domain',
      description: `A bank: ${BANK_FORMATS.map(({ summary }) => summary).join('; or ')}. What the Content-Type leaves open is ` +
        'told from the bytes. Missing gamma and beta come from the model.',
      consumes: [...BANK_MEDIA_TYPES],
      headers: PreconditionHeaders,
      params: DomainParams,
      body: BinaryBody,
      querystring: RegisterQuery,
      response: { 201: RegisteredSchema, ...errorsOf(400, 401, 404, 409, 412, 413, 415, 429, 500, 503) }
    }
  }, async (request, reply) => {
    const { model, domain } = request.params
    if (!(request.body instanceof Uint8Array) || request.body.length === 0) {
      throw httpErrors.REQUEST_INVALID('the body is empty', { expected: 'a bank', received: 'nothing' })
    }
    const format = formatOfBody(request.headers['content-type'], request.body)
    const { record, version, ignored, warnings } = await named(request, { model, domain }, engine.admin.register(
      model, domain, format, request.body,
      { isActivated: request.query.activate, expected: expectedRevision(request), ...preprocessingOf(request.query) }
    ))
    reply.code(201).header('etag', etagOf(record))
    reply.header('location', `/admin/models/${model}/domains/${domain}/versions/${version.version}`)
    return {
      model,
      domain,
      version: version.version,
      digest: version.digest,
      active: record.active === version.version,
      ...(ignored.length === 0 ? {} : { ignored }),
      ...(warnings.length === 0 ? {} : { warnings })
    }
  })
}

function registerVersionRoutes (app: App, engine: Engine): void {
  app.get('/admin/models/:model/domains/:domain/versions', {
    config: { access: 'administration' },
    schema: {
      tags: ['admin'],
      summary: 'All versions of a domain',
      params: DomainParams,
      response: { 200: Type.Object({ versions: Type.Array(VersionSchema) }), ...errorsOf(400, 401, 404) }
    }
  }, async (request, reply) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    const record = engine.domain(model, domain)
    reply.header('etag', etagOf(record))
    return { versions: describe(engine, model, record).versions }
  })

  app.get('/admin/models/:model/domains/:domain/versions/:version', {
    config: { access: 'administration' },
    schema: {
      tags: ['admin'],
      summary: 'Download a version as safetensors',
      produces: ['application/octet-stream'],
      params: VersionParams,
      response: { 200: BinaryBody, ...errorsOf(400, 401, 404, 500, 503) }
    }
  }, async (request, reply) => {
    const { model, domain, version } = request.params
    noteSubject(request, { model, domain, version })
    const { file, version: record } = await engine.admin.download(model, domain, version)
    reply.header('content-type', 'application/octet-stream')
    reply.header('content-disposition', `attachment; filename="${model}-${domain}-${version}.safetensors"`)
    reply.header('etag', `"${record.digest}"`)
    return await (reply as FastifyReply).send(Buffer.from(file.buffer, file.byteOffset, file.length))
  })

  app.delete('/admin/models/:model/domains/:domain/versions/:version', {
    config: { access: 'administration' },
    schema: {
      tags: ['admin'],
      summary: 'Remove a version that is not active',
      headers: PreconditionHeaders,
      params: VersionParams,
      response: { 200: DomainSchema, ...errorsOf(400, 401, 404, 409, 412, 413, 415, 503) }
    }
  }, async (request, reply) => {
    const { model, domain, version } = request.params
    noteSubject(request, { model, domain, version })
    const record = await engine.admin.removeVersion(model, domain, version, expectedRevision(request))
    return changed(engine, reply, model, record)
  })
}

/** Bodies are small JSON objects, or nothing. */
export function takeSmallJson (app: App): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json', { parseAs: 'buffer', bodyLimit: SMALL_BODY_BYTES },
    async (_request: FastifyRequest, body: Buffer) => {
      return body.length === 0 ? undefined : parseStrictJson(body, { depthMax: BODY_DEPTH_MAX })
    }
  )
}

function registerPointerRoutes (app: App, engine: Engine): void {
  takeSmallJson(app)
  const response = { 200: DomainSchema, ...errorsOf(400, 401, 404, 409, 412, 413, 415, 503) }
  const common = { tags: ['admin'], headers: PreconditionHeaders, params: DomainParams }

  app.post('/admin/models/:model/domains/:domain/activate', {
    config: { access: 'administration' },
    schema: { ...common, summary: 'Make a version the active one', body: ActivateBody, response }
  }, async (request, reply) => {
    const { model, domain } = request.params
    const { version } = request.body
    noteSubject(request, { model, domain, version })
    return changed(engine, reply, model, await engine.admin.activate(model, domain, version, expectedRevision(request)))
  })

  app.post('/admin/models/:model/domains/:domain/rollback', {
    config: { access: 'administration' },
    schema: { ...common, summary: 'Return to the version that was active before', response }
  }, async (request, reply) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    const record = await engine.admin.rollBack(model, domain, expectedRevision(request))
    if (record.active !== null) noteSubject(request, { version: record.active })
    return changed(engine, reply, model, record)
  })

  app.delete('/admin/models/:model/domains/:domain', {
    config: { access: 'administration' },
    schema: {
      ...common,
      summary: 'Remove a domain with all its versions',
      response: { 204: Type.Null(), ...errorsOf(400, 401, 404, 409, 412, 413, 415, 503) }
    }
  }, async (request, reply) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    await engine.admin.removeDomain(model, domain, expectedRevision(request))
    return reply.code(204).send(null)
  })
}

function registerBlendRoute (app: App, engine: Engine): void {
  takeSmallJson(app)
  app.post('/admin/models/:model/domains/:domain/blend', {
    config: { access: 'administration' },
    schema: {
      tags: ['admin'],
      summary: 'Register a blend of other domains as a new version of a domain, or a new domain',
      description: 'The bank that X-Domain with the same shares is answered under, bit for bit.',
      headers: PreconditionHeaders,
      params: DomainParams,
      body: BlendBody,
      querystring: Type.Pick(RegisterQuery, ['activate'], { additionalProperties: false }),
      response: {
        201: Type.Intersect([RegisteredSchema, Type.Object({
          blend: Type.String({ description: 'The parts with their versions and shares, as X-Domain takes them' })
        })]),
        ...errorsOf(400, 401, 404, 409, 412, 413, 415, 429, 500, 503)
      }
    }
  }, async (request, reply) => {
    const { params: { model, domain }, body: { blend: text, description }, query: { activate } } = request
    const { record, version: { version, digest }, blend } = await named(request, { model, domain }, (
      engine.admin.registerBlend(model, domain, text, {
        isActivated: activate,
        expected: expectedRevision(request),
        ...(description === undefined ? {} : { description })
      })
    ))
    reply.code(201).header('etag', etagOf(record))
    reply.header('location', `/admin/models/${model}/domains/${domain}/versions/${version}`)
    return { model, domain, version, digest, active: record.active === version, blend }
  })
}

function describe (engine: Engine, model: string, record: DomainRecord) {
  return describeDomain(record, engine.model(model).entry.manifest.defaultDomain)
}

/** The answer to a change of a domain. */
export function changed (engine: Engine, reply: FastifyReply, model: string, record: DomainRecord) {
  reply.header('etag', etagOf(record))
  return describe(engine, model, record)
}

/**
 * What `registering` gives, having named the version that it has stored. One that its gate keeps from being activated
 * is named by the error alone.
 */
export async function named<Stored extends { version: { version: number } }> (
  request: FastifyRequest, subject: Subject, registering: Promise<Stored>
): Promise<Stored> {
  noteSubject(request, subject)
  try {
    const stored = await registering
    noteSubject(request, { version: stored.version.version })
    return stored
  } catch (error) {
    const isStored = error instanceof BankswitchError && error.code === 'GATE_FAILED'
    if (isStored) noteSubject(request, { version: error.details.version as number })
    throw error
  }
}

function preprocessingOf ({ preprocessing }: { preprocessing?: string }): { preprocessing?: unknown } {
  return preprocessing === undefined ? {} : { preprocessing: parsePreprocessingText(preprocessing) }
}

/** Throws PRECONDITION_INVALID for a header that is no ETag of ours. */
export function expectedRevision ({ headers }: FastifyRequest): ExpectedRevision {
  const ifMatch = headers['if-match']
  if (headers['if-none-match'] === '*') return 0
  if (ifMatch === undefined || ifMatch === '*') return ifMatch
  const [, revision] = /^"(\d{1,15})"$/.exec(ifMatch) ?? []
  if (revision !== undefined) return Number(revision)
  throw httpErrors.PRECONDITION_INVALID('If-Match is no ETag of a domain', {
    expected: '"<revision>"', received: ifMatch.slice(0, 100)
  })
}
