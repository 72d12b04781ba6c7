/** Domains from unlabelled images: starting, watching and cancelling jobs, and adding up the sums of several sites. */
import multipart from '@fastify/multipart'
import { Type } from '#typebox'
import { OPERATIONS } from '../../calibration/contributions.js'
import { IMAGES_MIN, OptionsSchema, parseOptions } from '../../calibration/options.js'
import { httpErrors } from '../errors.js'
import { BYTES_PER_PART, readFormFile, readingForm } from '../limits/form-file.js'
import { AcceptedSchema, JobSchema } from '../job-schemas.js'
import { noteSubject, type Subject } from '../request-record.js'
import { BinaryBody, errorsOf, rawBody, RegisteredSchema } from '../schemas.js'
import { DomainParams, expectedRevision, named, PreconditionHeaders } from './admin.js'
import { etagOf } from './models.js'
import type { App } from '../app-type.js'
import type { BodyShare } from '../limits/body-budget.js'
import type { BodyLimits, BodyReader } from '../limits/request-body.js'
import type { Engine } from '../../engine.js'
import type { NamedFile } from '../../calibration/archives.js'
import type { JobRecord } from '../../calibration/jobs.js'
import type { Uploads } from '../../serving/calibrating/calibrations.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const FORM = { files: 20_000, fields: 64, parts: 20_064, fieldSize: 65_536, headerPairs: 64 }
/** What a form has besides its files. */
const FORM_BYTES = FORM.parts * BYTES_PER_PART + FORM.fields * FORM.fieldSize

const JobParams = Type.Object({ id: Type.String({ pattern: '^[0-9a-f-]{36}$' }) })

export async function registerCalibrationRoutes (app: App, engine: Engine, limits: BodyLimits): Promise<void> {
  await app.register(async (scope) => await registerUpload(scope as App, engine, limits))
  await app.register(async (scope) => registerContributions(scope as App, engine, limits.readBody))
  registerJobs(app, engine)
}

async function registerUpload (app: App, engine: Engine, { bodies, bodyBytesMax }: BodyLimits): Promise<void> {
  app.removeAllContentTypeParsers()
  await app.register(multipart, { limits: { ...FORM, fileSize: bodyBytesMax } })
  app.post('/admin/models/:model/domains/:domain/calibrations', {
    config: { access: 'administration' },
    onRequest: async ({ params: { model } }) => engine.calibrations.requireRoom(model),
    schema: {
      tags: ['calibration'],
      summary: 'Make a bank for a domain from unlabelled images',
      description: 'A form with files in fields named `images` (pictures, or a tar, tar.gz or zip of them), or one ' +
        'safetensors file in a field named `tensors`; options are further fields. Answers at once with a job.',
      consumes: ['multipart/form-data'],
      headers: PreconditionHeaders,
      params: DomainParams,
      body: rawBody(Type.Object({
        images: Type.Optional(Type.Array(Type.Unsafe<unknown>({ type: 'string', format: 'binary' }))),
        tensors: Type.Optional(Type.Unsafe<unknown>({ type: 'string', format: 'binary' })),
        ...OptionsSchema.properties
      })),
      response: { 202: AcceptedSchema, ...errorsOf(400, 401, 404, 409, 412, 413, 415, 429, 503) }
    }
  }, async (request, reply) => {
    const { model, domain } = request.params
    const expected = expectedRevision(request)
    noteSubject(request, { model, domain })
    const { uploads, fields } = await readingForm(request, reply as FastifyReply, bodyBytesMax + FORM_BYTES, () => {
      return readForm(request, bodyBytesMax, bodies.shareOf(request))
    })
    const { id, state } = await engine.calibrations.start(model, domain, uploads, parseOptions(fields), expected)
    reply.code(202).header('location', `/admin/jobs/${id}`)
    return { id, state }
  })
}

/** Throws REQUEST_INVALID for what is no form or has other files, REQUEST_TOO_LARGE for all together, BODIES_FULL. */
async function readForm (
  request: FastifyRequest, bodyBytesMax: number, share: BodyShare
): Promise<{ uploads: Uploads, fields: Record<string, string> }> {
  if (!request.isMultipart()) {
    throw httpErrors.CONTENT_TYPE_UNSUPPORTED('images come as a form', { expected: 'multipart/form-data' })
  }
  const files: NamedFile[] = []
  const fields = Object.create(null) as Record<string, string>
  let tensors: NamedFile | undefined
  let room = bodyBytesMax
  for await (const part of request.parts()) {
    if (part.type === 'field') {
      fields[part.fieldname] = String(part.value)
      continue
    }
    const bytes = await readFormFile(part, share)
    room -= bytes.length
    if (room < 0) {
      throw httpErrors.REQUEST_TOO_LARGE('the files are too large together', {
        expected: `at most ${bodyBytesMax} bytes`
      })
    }
    const file = { name: part.filename === '' ? `image ${files.length + 1}` : part.filename, bytes }
    if (part.fieldname === 'images') files.push(file)
    else if (part.fieldname === 'tensors' && tensors === undefined) tensors = file
    else throw wrongFile(part.fieldname)
  }
  if (tensors !== undefined && files.length > 0) throw wrongFile('images beside tensors')
  return { uploads: tensors === undefined ? { kind: 'pictures', files } : { kind: 'tensors', file: tensors }, fields }
}

function wrongFile (received: string): Error {
  return httpErrors.REQUEST_INVALID('the form has a file where none is expected', {
    expected: 'files in fields named images, or one in a field named tensors', received: received.slice(0, 100)
  })
}

function registerContributions (app: App, engine: Engine, readBody: BodyReader): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/octet-stream', readBody)
  app.post('/admin/models/:model/domains/:domain/contributions', {
    config: { access: 'administration' },
    schema: {
      tags: ['calibration'],
      summary: 'Merge the sums of a calibrated bank into a domain, or take them out again',
      description: 'The body is a bank that was calibrated in mode fixed or fvcore, as it is downloaded: a version ' +
        'of another server, or what `bankswitch calibrate --out` wrote. Exact, whatever the order.',
      consumes: ['application/octet-stream'],
      headers: PreconditionHeaders,
      params: DomainParams,
      body: BinaryBody,
      querystring: Type.Object({
        operation: Type.Unsafe<typeof OPERATIONS[number]>({ type: 'string', enum: [...OPERATIONS], default: 'merge' }),
        minimumImages: Type.Integer({ minimum: IMAGES_MIN, default: 8 }),
        activate: Type.Boolean({ default: true })
      }, { additionalProperties: false }),
      response: {
        201: Type.Intersect([RegisteredSchema, Type.Object({ images: Type.Integer() })]),
        ...errorsOf(400, 401, 404, 409, 412, 413, 415, 429, 500, 503)
      }
    }
  }, async (request, reply) => {
    const { params: { model, domain }, query: { operation, minimumImages, activate } } = request
    if (!(request.body instanceof Uint8Array) || request.body.length === 0) {
      throw httpErrors.REQUEST_INVALID('the body is empty', { expected: 'a calibrated bank', received: 'nothing' })
    }
    const { record, version, images } = await named(request, { model, domain }, engine.calibrations.contribute(
      model, domain, { operation, file: request.body, minimumImages },
      { isActivated: activate, expected: expectedRevision(request) }
    ))
    reply.code(201).header('etag', etagOf(record))
    const { version: number, digest } = version
    return { model, domain, version: number, digest, active: record.active === number, images }
  })
}

function registerJobs (app: App, engine: Engine): void {
  const common = { tags: ['calibration'] }
  const concerns = async ({ params }: FastifyRequest) => {
    return subjectOf(await engine.calibrations.job((params as { id: string }).id)).model
  }
  app.get('/admin/jobs', {
    config: { access: 'administration' },
    schema: {
      ...common,
      summary: 'All jobs, newest first',
      response: { 200: Type.Object({ jobs: Type.Array(JobSchema) }), ...errorsOf(401) }
    }
  }, async () => {
    const jobs = await engine.calibrations.jobs()
    return { jobs: jobs.map(({ result: _result, ...job }) => job) }
  })

  app.get('/admin/jobs/:id', {
    config: { access: 'administration', concerns },
    schema: {
      ...common,
      summary: 'How a job stands',
      params: JobParams,
      response: { 200: JobSchema, ...errorsOf(400, 401, 404) }
    }
  }, async (request) => {
    const job = await engine.calibrations.job(request.params.id)
    noteSubject(request, subjectOf(job))
    return job
  })

  app.delete('/admin/jobs/:id', {
    config: { access: 'administration', concerns },
    schema: {
      ...common,
      summary: 'Cancel a job; one that has ended stays what it is',
      params: JobParams,
      response: { 200: JobSchema, ...errorsOf(400, 401, 404, 413, 415) }
    }
  }, async (request) => {
    const { id } = request.params
    noteSubject(request, subjectOf(await engine.calibrations.job(id)))
    return await engine.calibrations.cancel(id)
  })
}

/** What a job is about, as far as it says. */
function subjectOf ({ subject: { model, domain } }: JobRecord): Subject {
  return {
    ...(typeof model === 'string' ? { model } : {}),
    ...(typeof domain === 'string' ? { domain } : {})
  }
}
