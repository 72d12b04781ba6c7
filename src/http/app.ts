/**
 * The HTTP application: plugins, hooks and routes around an engine. It opens no port; see server.ts.
 *
 * Every answer carries X-Request-Id; every error has the form of schemas.ts; JSON is sent as exactly
 * `application/json`, because clients of the Open Inference Protocol compare the string.
 */
import { randomUUID } from 'node:crypto'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { Ajv, type Options } from 'ajv'
import Fastify, { LogController, type FastifyReply, type FastifyRequest } from 'fastify'
import { httpErrors } from './errors.js'
import { isOverload, sendError } from './error-map.js'
import { BodyBudget } from './limits/body-budget.js'
import { HeldRefusals } from './limits/held-refusals.js'
import { createBodyReader } from './limits/request-body.js'
import { registerAdminRoutes } from './routes/admin.js'
import { registerCalibrationRoutes } from './routes/calibrations.js'
import { registerInferRoutes } from './routes/infer.js'
import { registerModelRoutes } from './routes/models.js'
import { registerOpenInferenceRoutes } from './routes/open-inference.js'
import { registerOperationRoutes } from './routes/operations.js'
import { registerPredictRoutes } from './routes/predict.js'
import { registerRepositoryRoutes } from './routes/repository.js'
import { isRawBody } from './schemas.js'
import type { App } from './app-type.js'
import type { Settings } from '../config/schema.js'
import type { Engine } from '../engine.js'
import type { Logger } from '../observability/logger.js'
import type { Metrics } from '../observability/metrics.js'

export interface AppOptions {
  engine: Engine
  settings: Pick<Settings, 'bodyBytes' | 'bodiesBytes' | 'compressBytes' | 'connections' | 'refusalHoldMs'>
  adminKey: string
  logger: Logger
  metrics: Metrics
  version: string
}

/** Model names may carry `@domain:version`. */
const PARAMETER_LENGTH_MAX = 256

const KEEP_ALIVE_MS = 72_000
const HEADERS_MS = 15_000
const REQUEST_MS = 120_000
/** How often the two limits above are looked at. */
const SLOWNESS_CHECK_MS = 5_000
const IDLE_SWEEP_MS = 50

export async function buildApp (options: AppOptions): Promise<App> {
  const { engine, settings, logger, metrics } = options
  const drainMs = () => engine.drainMs
  const app: App = Fastify({
    // Paths that Fastify refuses before any route has them.
    frameworkErrors: (error, request, reply) => sendError(error, request, reply as FastifyReply, drainMs),
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: settings.bodyBytes,
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX },
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_MS,
    http: { headersTimeout: HEADERS_MS, connectionsCheckingInterval: SLOWNESS_CHECK_MS },
    forceCloseConnections: 'idle'
  }) as unknown as App
  app.setValidatorCompiler(createValidator())
  const methodsAt = trackRoutes(app)
  const bodies = new BodyBudget(settings.bodiesBytes)
  // Before the refusals are let go at the end: they leave bodies unread, and their connections must close.
  letConnectionsGo(app)
  const refusals = limitLoad(app, settings, bodies)
  app.setErrorHandler(async (error, request, reply) => {
    if (isOverload(error) && !await refusals.hold(reply.raw)) reply.header('connection', 'close')
    return sendError(error, request, reply, drainMs)
  })
  app.setNotFoundHandler((request, reply) => sendError(notFound(request, methodsAt(request)), request, reply, drainMs))
  addHooks(app, metrics)
  await addDocuments(app, options.version)
  const readBody = createBodyReader(bodies, settings.bodyBytes)
  const limits = { bodies, bodyBytesMax: settings.bodyBytes, readBody }
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', readBody)
    registerInferRoutes(scope as App, engine, settings.compressBytes)
  })
  await app.register(async (scope) => registerPredictRoutes(scope as App, engine, limits))
  await app.register(async (scope) => registerAdminRoutes(scope as App, engine, options.adminKey, readBody))
  await app.register(async (scope) => registerCalibrationRoutes(scope as App, engine, options.adminKey, limits))
  await app.register(async (scope) => registerRepositoryRoutes(scope as App, engine, options.adminKey))
  registerOpenInferenceRoutes(app, engine, options.version)
  registerModelRoutes(app, engine)
  registerOperationRoutes(app, engine, metrics)
  return app
}

/**
 * Bodies are taken as they are; path, query and headers are text that may stand for numbers and booleans. A body whose
 * schema is marked as raw is documented by it, but reaches the handler as bytes.
 */
function createValidator (): Parameters<App['setValidatorCompiler']>[0] {
  const common: Options = { allErrors: false, useDefaults: true, removeAdditional: false, strictSchema: false }
  const body = new Ajv(common)
  const text = new Ajv({ ...common, coerceTypes: true })
  return ({ schema, httpPart }) => {
    if (httpPart === 'body' && isRawBody(schema)) return () => true
    return (httpPart === 'body' ? body : text).compile(schema as object)
  }
}

/** Bounds what all clients together can take: connections, bytes of bodies, and the pace of those that are refused. */
function limitLoad (app: App, settings: AppOptions['settings'], bodies: BodyBudget): HeldRefusals {
  app.server.maxConnections = settings.connections
  app.addHook('onRequest', async (request, reply) => bodies.open(request.raw, reply.raw))
  const refusals = new HeldRefusals(settings.refusalHoldMs, Math.ceil(settings.connections / 2))
  app.addHook('preClose', async () => refusals.release())
  return refusals
}

function addHooks (app: App, metrics: Metrics): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.header('x-content-type-options', 'nosniff')
  })
  app.addHook('onSend', async (_request, reply) => {
    if (reply.getHeader('content-type') === 'application/json; charset=utf-8') {
      reply.header('content-type', 'application/json')
    }
  })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? '(none)'
    metrics.countRequest(route, request.method, reply.statusCode, reply.elapsedTime / 1000)
    request.log.info({
      method: request.method,
      url: request.url.slice(0, 200),
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 1000) / 1000,
      domain: reply.getHeader('x-domain'),
      domainVersion: reply.getHeader('x-domain-version'),
      timing: reply.getHeader('server-timing')
    }, 'request')
  })
}

/**
 * Once the server closes, kept-alive connections must not hold it open: answers under way ask the client to close, and
 * connections that fall idle all the same are closed from here.
 */
function letConnectionsGo (app: App): void {
  let sweep: NodeJS.Timeout | undefined
  app.addHook('preClose', async () => {
    sweep = setInterval(() => app.server.closeIdleConnections(), IDLE_SWEEP_MS)
  })
  app.addHook('onSend', async (_request, reply) => {
    if (sweep !== undefined) reply.header('connection', 'close')
  })
  app.addHook('onClose', async () => clearInterval(sweep))
}

async function addDocuments (app: App, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'bankswitch',
        version,
        description: 'One convolutional network, one bank of batch-norm statistics per input domain.'
      },
      components: { securitySchemes: { adminKey: { type: 'http', scheme: 'bearer' } } }
    }
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  app.get('/openapi.json', { schema: { hide: true }, logLevel: 'silent' }, async () => app.swagger())
}

/** Which methods a path answers to, to tell a wrong method from a wrong path. */
function trackRoutes (app: App): (request: FastifyRequest) => string[] {
  const routes: Array<{ pattern: RegExp, method: string }> = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/:\w+/g, '[^/]+')}$`)
    for (const one of [method].flat()) routes.push({ pattern, method: one })
  })
  return ({ url }) => {
    const [path = ''] = url.split('?')
    return [...new Set(routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))]
  }
}

function notFound ({ method, url }: FastifyRequest, allowed: string[]): Error {
  if (allowed.length > 0) {
    return httpErrors.METHOD_NOT_ALLOWED(`this path does not answer to ${method}`, { expected: allowed, received: method })
  }
  return httpErrors.ROUTE_NOT_FOUND('there is nothing at this path; see /docs', { received: url.slice(0, 200) })
}
