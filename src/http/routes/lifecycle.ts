/** The life of a domain: labels, canary, shadow, and the gate that versions must pass. */
import { Type } from '#typebox'
import { isLabel } from '../../base/names.js'
import { parseGoldens } from '../../serving/changing/administration.js'
import { httpErrors } from '../errors.js'
import { leavingSignal } from '../limits/exchange-end.js'
import { isJson, type BodyReader } from '../limits/request-body.js'
import { noteSubject } from '../request-record.js'
import { GoldensSchema } from '../open-inference/parse-goldens.js'
import {
  ActivateBody, BinaryBody, CandidateSchema, DomainSchema, errorsOf, GateQuery, LabelParameter, NameParameter, rawBody,
  ShadowSchema
} from '../schemas.js'
import { changed, DomainParams, expectedRevision, PreconditionHeaders, takeSmallJson } from './admin.js'
import type { App } from '../app-type.js'
import type { BodyThread } from '../open-inference/body-thread.js'
import type { Engine } from '../../engine.js'
import type { FastifyReply } from 'fastify'

const LabelParams = Type.Object({ model: NameParameter, domain: NameParameter, label: LabelParameter })

const DOMAIN = '/admin/models/:model/domains/:domain'

const common = { tags: ['admin'] }
const response = { 200: DomainSchema, ...errorsOf(400, 401, 404, 409, 412, 413, 415, 429, 500, 503) }
const change = { ...common, headers: PreconditionHeaders, response }

export async function registerLifecycleRoutes (
  app: App, engine: Engine, readBody: BodyReader, thread: BodyThread
): Promise<void> {
  await app.register(async (scope) => registerLabels(scope as App, engine))
  await app.register(async (scope) => registerCandidates(scope as App, engine))
  await app.register(async (scope) => registerGateUpload(scope as App, engine, readBody, thread))
  registerGate(app, engine)
  registerShadowReport(app, engine)
}

function registerLabels (app: App, engine: Engine): void {
  takeSmallJson(app)
  app.put(`${DOMAIN}/labels/:label`, {
    config: { access: 'administration' },
    schema: { ...change, summary: 'Let a label point to a version', params: LabelParams, body: ActivateBody }
  }, async (request, reply) => {
    const { model, domain, label } = request.params
    if (!isLabel(label)) {
      throw httpErrors.REQUEST_INVALID('this label is taken: it is the active version', {
        expected: 'any other name', received: label
      })
    }
    const { version } = request.body
    noteSubject(request, { model, domain, version })
    const mark = { kind: 'label' as const, label, version }
    return changed(engine, reply, model, await engine.admin.mark(model, domain, mark, expectedRevision(request)))
  })

  app.delete(`${DOMAIN}/labels/:label`, {
    config: { access: 'administration' },
    schema: { ...change, summary: 'Take a label away', params: LabelParams }
  }, async (request, reply) => {
    const { model, domain, label } = request.params
    noteSubject(request, { model, domain })
    const mark = { kind: 'label' as const, label }
    return changed(engine, reply, model, await engine.admin.mark(model, domain, mark, expectedRevision(request)))
  })
}

function registerCandidates (app: App, engine: Engine): void {
  takeSmallJson(app)
  for (const [kind, what] of [
    ['canary', 'a version answer a share of the requests that pin none'],
    ['shadow', 'a version run a share of the requests once more, unseen']
  ] as const) {
    app.put(`${DOMAIN}/${kind}`, {
      config: { access: 'administration' },
      schema: { ...change, summary: `Let ${what}`, params: DomainParams, body: CandidateSchema }
    }, async (request, reply) => {
      const { model, domain } = request.params
      noteSubject(request, { model, domain, version: request.body.version })
      const mark = { kind, candidate: request.body }
      return changed(engine, reply, model, await engine.admin.mark(model, domain, mark, expectedRevision(request)))
    })

    app.delete(`${DOMAIN}/${kind}`, {
      config: { access: 'administration' },
      schema: { ...change, summary: `End the ${kind}`, params: DomainParams }
    }, async (request, reply) => {
      const { model, domain } = request.params
      noteSubject(request, { model, domain })
      return changed(engine, reply, model, await engine.admin.mark(model, domain, { kind }, expectedRevision(request)))
    })
  }
}

function registerShadowReport (app: App, engine: Engine): void {
  app.get(`${DOMAIN}/shadow`, {
    config: { access: 'administration' },
    schema: {
      ...common,
      summary: 'How the shadow compares with the active version',
      params: DomainParams,
      response: { 200: ShadowSchema, ...errorsOf(400, 401, 404, 409) }
    }
  }, async (request) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    const report = engine.admin.shadow(model, domain)
    return { ...report, percent: engine.domain(model, domain).shadow!.percent }
  })
}

function registerGateUpload (app: App, engine: Engine, readBody: BodyReader, thread: BodyThread): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(['application/json', 'application/octet-stream'], readBody)
  app.put(`${DOMAIN}/gate`, {
    config: { access: 'administration' },
    schema: {
      ...change,
      summary: 'Set what versions of the domain must give for golden inputs before requests get them',
      description: 'JSON {"inputs": […], "expected": […]} with tensors as in an inference request, or a safetensors ' +
        'file with tensors inputs.<name> and expected.<name>. An output may be off by absolute + relative * ' +
        '|expected|.',
      consumes: ['application/json', 'application/octet-stream'],
      params: DomainParams,
      querystring: GateQuery,
      body: rawBody(GoldensSchema)
    }
  }, async (request, reply) => {
    const { params: { model, domain }, query: rules } = request
    noteSubject(request, { model, domain })
    const body: unknown = request.body
    if (!(body instanceof Uint8Array) || body.length === 0) {
      throw httpErrors.REQUEST_INVALID('the body is empty', { expected: 'golden inputs', received: 'nothing' })
    }
    const goldens = isJson(request)
      ? await thread.goldens(body, leavingSignal(reply.raw))
      : parseGoldens(body)
    const record = await engine.admin.setGate(model, domain, goldens, rules, expectedRevision(request))
    return changed(engine, reply, model, record)
  })
}

function registerGate (app: App, engine: Engine): void {
  app.get(`${DOMAIN}/gate`, {
    config: { access: 'administration' },
    schema: {
      ...common,
      summary: 'Download the gate as safetensors',
      produces: ['application/octet-stream'],
      params: DomainParams,
      response: { 200: BinaryBody, ...errorsOf(400, 401, 404, 500, 503) }
    }
  }, async (request, reply) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    const file = await engine.admin.gate(model, domain)
    reply.header('content-type', 'application/octet-stream')
    reply.header('content-disposition', `attachment; filename="${model}-${domain}-gate.safetensors"`)
    return await (reply as FastifyReply).send(Buffer.from(file.buffer, file.byteOffset, file.length))
  })

  app.delete(`${DOMAIN}/gate`, {
    config: { access: 'administration' },
    schema: { ...change, summary: 'Remove the gate', params: DomainParams }
  }, async (request, reply) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    return changed(engine, reply, model, await engine.admin.removeGate(model, domain, expectedRevision(request)))
  })
}
