/**
 * Who calls, how often, and whether they may: before a route or a body is looked at. Keys come as
 * `Authorization: Bearer` (RFC 6750) and in no other way, least of all in URLs, which are logged.
 */
import rateLimit from '@fastify/rate-limit'
import { requireCurrent, requireModel, requireScope, type Caller } from '../../access/caller.js'
import { httpErrors } from '../errors.js'
import { modelOf, subjectInPath } from '../request-domain.js'
import { noteSubject, recordOf } from '../request-record.js'
import { errorsOf } from '../schemas.js'
import { accessOf, isServed, scopesOf, type AccessSettings, type Audience } from './route-access.js'
import { senderOf } from './sender.js'
import type { App } from '../app-type.js'
import type { KeyRing } from '../../access/key-ring.js'
import type { Settings } from '../../config/schema.js'
import type { FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whoever has sent a key of ours, allowed or not; undefined without one. */
    caller: Caller | undefined
  }
}

const MINUTE_MS = 60_000

/** Callers whose requests are counted at once; beyond, the longest unseen starts afresh. */
const COUNTED_MAX = 50_000

export interface GuardOptions {
  keys: KeyRing
  settings: AccessSettings & Pick<Settings, 'requestsPerMinute'>
  audience: Audience
}

/** Adds the hooks; routes that are registered afterwards are guarded. */
export async function guardRoutes (app: App, options: GuardOptions): Promise<void> {
  const { keys, settings, audience } = options
  app.decorateRequest('caller', undefined)
  app.decorateRequest('sender', undefined)
  app.addHook('onRoute', (route) => {
    const [method = ''] = [route.method].flat()
    const access = accessOf(route)
    const isKeyed = scopesOf(access, method, settings).length > 0
    if (!isServed(audience, access)) route.schema = { ...route.schema, hide: true }
    else if (isKeyed) {
      const response = { ...errorsOf(401, 403), ...route.schema?.response as object | undefined }
      route.schema = { ...route.schema, security: [{ key: [] }], response }
    }
  })
  app.addHook('onRequest', (request, _reply, done) => {
    const key = bearerOf(request)
    if (key !== undefined) request.caller = keys.identify(key)
    if (request.caller !== undefined) recordOf(request).keyId = request.caller.id
    done()
  })
  if (settings.requestsPerMinute > 0) await limitRate(app, settings.requestsPerMinute)
  app.addHook('onRequest', (request, _reply, done) => authorise(request, options) ?? done())
}

function bearerOf ({ headers: { authorization = '' } }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1]
}

/** Counted before anybody is refused, so that guessing keys is counted too. Health is never refused. */
async function limitRate (app: App, requestsPerMinute: number): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    max: requestsPerMinute,
    timeWindow: MINUTE_MS,
    cache: COUNTED_MAX,
    keyGenerator: senderOf,
    allowList: ({ routeOptions }) => routeOptions.url !== undefined && accessOf(routeOptions) === 'health',
    errorResponseBuilder: ({ caller }, { max }) => httpErrors.RATE_LIMITED('too many requests', {
      expected: `at most ${max} a minute of one ${caller === undefined ? 'address' : 'key'}`
    })
  })
  app.addHook('onRequest', app.rateLimit())
}

/**
 * Undefined when all is known at once. Throws ROUTE_NOT_FOUND, AUTHENTICATION_REQUIRED, KEY_UNKNOWN, KEY_EXPIRED and
 * SCOPE_MISSING, and rejects with MODEL_DENIED.
 */
function authorise (request: FastifyRequest, options: GuardOptions): Promise<void> | undefined {
  const { method, caller, routeOptions } = request
  if (routeOptions.url === undefined) return
  const access = accessOf(routeOptions)
  if (!isServed(options.audience, access)) throw routeNotFound(request)
  if (access === 'administration') noteSubject(request, subjectInPath(request.params))
  const wanted = scopesOf(access, method, options.settings)
  if (wanted.length === 0) return
  if (caller === undefined) {
    const expected = 'Authorization: Bearer <key>'
    if (bearerOf(request) === undefined) throw httpErrors.AUTHENTICATION_REQUIRED('this needs a key', { expected })
    throw httpErrors.KEY_UNKNOWN('this key is not known', { expected })
  }
  requireCurrent(caller, Date.now())
  requireScope(caller, wanted)
  return caller.models === undefined ? undefined : requireConcerned(caller, request)
}

/** Rejects with MODEL_DENIED, and what finding the model throws. */
async function requireConcerned (caller: Caller, request: FastifyRequest): Promise<void> {
  const { concerns = modelInPath } = request.routeOptions.config
  if (concerns !== 'nobody') requireModel(caller, await concerns(request))
}

/** Undefined for requests that are about no model in particular. */
function modelInPath ({ params }: FastifyRequest): string | undefined {
  const { model } = params as { model?: string }
  return model === undefined ? undefined : modelOf(model)
}

export function routeNotFound ({ url }: FastifyRequest): Error {
  return httpErrors.ROUTE_NOT_FOUND('there is nothing at this path; see /docs', { received: url.slice(0, 200) })
}
