/**
 * The HTTP application: plugins, hooks and routes around an engine. It opens no port; see server.ts.
 *
 * Every answer carries X-Request-Id, the caller's own where it is fit; every error has the form of schemas.ts; JSON is
 * sent as exactly `application/json`, because clients of the Open Inference Protocol compare the string.
 */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { LogController, type FastifyReply, type FastifyRequest } from 'fastify'
import { guardRoutes, routeNotFound } from './access/guard.js'
import {
  accessOf, isAdminCall, isServed, requireDeclarations, type AccessSettings, type Audience
} from './access/route-access.js'
import { isDatabase } from '../config/schema.js'
import { addAudit, type RecentCall } from './audit.js'
import { asDocumented } from './documented.js'
import { httpErrors } from './errors.js'
import { isOverload, sendError } from './error-map.js'
import { AnswerBudget } from './limits/answer-budget.js'
import { BodyBudget } from './limits/body-budget.js'
import { shareBodies } from './limits/body-owners.js'
import { serializerFactory, validatorOf } from './lazy-schemas.js'
import { OpenExchanges } from './limits/exchange-end.js'
import { HeldRefusals } from './limits/held-refusals.js'
import { createBodyReader, isJson } from './limits/request-body.js'
import { BodyThread } from './open-inference/body-thread.js'
import { requestIdOf } from './request-id.js'
import { addRecords } from './request-record.js'
import { registerAdminRoutes } from './routes/admin.js'
import { registerCalibrationRoutes } from './routes/calibrations.js'
import { registerCallerRoute } from './routes/caller.js'
import { registerLifecycleRoutes } from './routes/lifecycle.js'
import { registerCompareRoutes } from './routes/compare.js'
import { registerDriftRoutes } from './routes/drift.js'
import { registerFrontPage } from './routes/front-page.js'
import { registerInferRoutes } from './routes/infer.js'
import { registerModelRoutes } from './routes/models.js'
import { registerOpenInferenceRoutes } from './routes/open-inference.js'
import { registerOperationRoutes } from './routes/operations.js'
import { registerPredictRoutes } from './routes/predict.js'
import { registerRecentRoutes } from './routes/recent.js'
import { registerRepositoryRoutes } from './routes/repository.js'
import { registerSampleRoutes } from './routes/samples.js'
import { registerWebPage } from './routes/web-page.js'
import { SAFETY_HEADERS } from './safety-headers.js'
import { unreadableRequests } from './unreadable-requests.js'
import type { App } from './app-type.js'
import type { KeyRing } from '../access/key-ring.js'
import type { Disk } from '../base/durable-change.js'
import type { Settings } from '../config/schema.js'
import type { Engine } from '../engine.js'
import type { TlsFiles } from './tls.js'
import type { Logger } from '../observability/logger.js'
import type { Metrics } from '../observability/metrics.js'
import type { Tracing } from '../observability/tracing.js'

export interface AppOptions {
  engine: Engine
  settings: AccessSettings & Pick<
    Settings,
    'answerBytes' | 'answersBytes' | 'auditFile' | 'auditLogged' | 'bankCacheBytes' | 'bodyBytes' | 'bodiesBytes' |
    'compressBytes' | 'connections' | 'expressThreads' | 'hotBytes' | 'jsonBytes' | 'queueRows' | 'refusalHoldMs' |
    'requestsPerMinute' | 'store' | 'storeAgeMs' | 'trustedProxies' | 'ui' | 'workers'
  >
  keys: KeyRing
  logger: Logger
  metrics: Metrics
  tracing?: Tracing | undefined
  version: string
  /** Whom it answers; everybody if not given. */
  audience?: Audience
  /** Given when several applications share one. */
  bodies?: BodyBudget
  answers?: AnswerBudget
  /** Writes the audit log. */
  disk?: Disk
  /** Given for HTTPS. */
  tls?: TlsFiles
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
  const { engine, settings, logger, metrics, keys, audience = 'all' } = options
  const node = {
    headersTimeout: HEADERS_MS,
    connectionsCheckingInterval: SLOWNESS_CHECK_MS,
    // Node would refuse in its own words; see addHooks.
    requireHostHeader: false
  }
  const exchanges = new OpenExchanges()
  const drainMs = () => engine.drainMs
  const app: App = Fastify({
    // Paths that Fastify refuses before any route has them.
    frameworkErrors: (error, request, reply) => sendError(error, request, reply as FastifyReply, drainMs),
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIdOf,
    trustProxy: settings.trustedProxies ?? false,
    bodyLimit: settings.bodyBytes,
    schemaController: { compilersFactory: { buildSerializer: serializerFactory } },
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX },
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_MS,
    ...(options.tls === undefined ? { http: node } : { https: { ...node, ...options.tls } }),
    clientErrorHandler: unreadableRequests({ logger, metrics, exchanges }),
    forceCloseConnections: 'idle'
  }) as unknown as App
  app.setValidatorCompiler(validatorOf)
  exchanges.watch(app.server)
  ignoreExpectations(app)
  addRecords(app, metrics, options.tracing)
  requireDeclarations(app)
  const methodsAt = trackRoutes(app, audience)
  const { bodies = new BodyBudget(settings.bodiesBytes), answers = new AnswerBudget(settings) } = options
  metrics.showHeld('body', bodies)
  metrics.showHeld('answer', answers)
  // Before the refusals are let go at the end: they leave bodies unread, and their connections must close.
  letConnectionsGo(app)
  const refusals = limitLoad(app, settings)
  app.setErrorHandler(async (error, request, reply) => {
    if (isOverload(error) && !await refusals.hold(reply.raw)) reply.header('connection', 'close')
    return sendError(error, request, reply, drainMs)
  })
  app.setNotFoundHandler((request, reply) => sendError(notFound(request, methodsAt(request)), request, reply, drainMs))
  addHooks(app)
  await guardRoutes(app, { keys, settings, audience })
  shareBodies(app, engine, bodies)
  const calls = isServed(audience, 'administration') ? await addAdministration(app, options) : () => []
  await addDocuments(app, options.version)
  await addRoutes(app, options, { bodies, answers, calls })
  return app
}

interface Shared {
  bodies: BodyBudget
  answers: AnswerBudget
  calls: () => readonly RecentCall[]
}

async function addRoutes (app: App, options: AppOptions, { bodies, answers, calls }: Shared): Promise<void> {
  const { engine, settings, metrics, audience = 'all' } = options
  const { bodyBytes, compressBytes } = settings
  const jsonBytes = Math.min(settings.jsonBytes, bodyBytes)
  const thread = new BodyThread(jsonBytes)
  app.addHook('onClose', () => thread.close())
  const readBody = createBodyReader(bodies, thread.inflate, (request) => isJson(request) ? jsonBytes : bodyBytes)
  const limits = { bodies, bodyBytesMax: bodyBytes, readBody }
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    // Of any type: without the header that tells where the JSON ends, all is JSON.
    scope.addContentTypeParser('*', createBodyReader(bodies, thread.inflate, ({ headers }) => {
      return headers['inference-header-content-length'] === undefined ? jsonBytes : bodyBytes
    }))
    registerInferRoutes(scope as App, engine, { answers, thread, compressBytes })
  })
  await app.register(async (scope) => registerPredictRoutes(scope as App, engine, limits, answers))
  await app.register(async (scope) => registerCompareRoutes(scope as App, engine, limits, answers))
  await app.register(async (scope) => registerAdminRoutes(scope as App, engine, readBody))
  await app.register(async (scope) => registerLifecycleRoutes(scope as App, engine, readBody, thread))
  await app.register(async (scope) => registerCalibrationRoutes(scope as App, engine, limits))
  await app.register(async (scope) => registerRepositoryRoutes(scope as App, engine))
  const readiness = { isOpen: !settings.inferenceKeyed, storeAgeMs: settings.storeAgeMs }
  registerOpenInferenceRoutes(app, engine, bodies, readiness, options.version)
  registerModelRoutes(app, engine)
  registerDriftRoutes(app, engine)
  registerRecentRoutes(app, { engine, metrics, limits: limitsOf(settings), calls })
  await registerPages(app, options, audience)
  registerOperationRoutes(app, engine, bodies, readiness, metrics)
}

/** Each admin call is recorded, and knows what other servers have changed before it. Gives the last ones. */
async function addAdministration (
  app: App, { engine, settings, disk }: AppOptions
): Promise<() => readonly RecentCall[]> {
  const calls = await addAudit(app, settings.auditFile, settings.auditLogged || isDatabase(settings.store), disk)
  app.addHook('onRequest', (request, _reply, done) => isAdminCall(request) ? engine.catchUp() : done())
  return calls
}

/** What browsers are shown, and what it asks besides. */
async function registerPages (app: App, { engine, settings, version }: AppOptions, audience: Audience): Promise<void> {
  registerSampleRoutes(app, engine)
  registerCallerRoute(app, settings, version, audience)
  registerFrontPage(app, version, audience, settings.ui)
  if (settings.ui) await registerWebPage(app)
}

/** The bounds of what is shown of the last hour. */
function limitsOf (
  { queueRows, workers, expressThreads, bankCacheBytes: cachedBankBytes, hotBytes }: AppOptions['settings']
): Record<string, number> {
  return { queueRows, workersBusy: workers + expressThreads, cachedBankBytes, hotBytes }
}

/** Bounds what all clients together can take: connections, and the pace of those that are refused. */
function limitLoad (app: App, settings: AppOptions['settings']): HeldRefusals {
  app.server.maxConnections = settings.connections
  const refusals = new HeldRefusals(settings.refusalHoldMs, Math.ceil(settings.connections / 2))
  app.addHook('preClose', async () => refusals.release())
  return refusals
}

/** `Expect` with anything but 100-continue, which Node would refuse in its own words (RFC 9110, 10.1.1: it may). */
function ignoreExpectations ({ server }: App): void {
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
}

/** Hooks of every request take a callback: each promise would be a turn of the microtasks more. */
function addHooks (app: App): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    reply.headers(SAFETY_HEADERS)
    // RFC 9112, 3.2.
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined) {
      throw httpErrors.REQUEST_INVALID('a request in HTTP/1.1 names its host', { expected: 'Host' })
    }
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (reply.getHeader('content-type') === 'application/json; charset=utf-8') {
      reply.header('content-type', 'application/json')
    }
    done()
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
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (sweep !== undefined) reply.header('connection', 'close')
    done()
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
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } }
    },
    transform: ({ schema, url }) => ({ schema: asDocumented(schema), url })
  })
  // Browsers would ask for its scripts by https, which only a port with TLS speaks.
  const transformStaticCSP = (policy: string) => policy.replace(/ *upgrade-insecure-requests;?/, '')
  await app.register(async (scope) => {
    scope.decorate('accessOfPlugins', 'documents')
    await scope.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, transformStaticCSP })
  })
  app.get('/openapi.json', {
    config: { access: 'documents' }, schema: { hide: true }, logLevel: 'silent'
  }, async () => app.swagger())
}

/** Which methods a path answers to, to tell a wrong method from a wrong path. */
function trackRoutes (app: App, audience: Audience): (request: FastifyRequest) => string[] {
  const routes: Array<{ pattern: RegExp, method: string }> = []
  app.addHook('onRoute', (route) => {
    if (!isServed(audience, accessOf(route))) return
    const pattern = new RegExp(`^${route.url.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/:\w+/g, '[^/]+')}$`)
    for (const method of [route.method].flat()) routes.push({ pattern, method })
  })
  return ({ url }) => {
    const [path = ''] = url.split('?')
    return [...new Set(routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))]
  }
}

function notFound (request: FastifyRequest, allowed: string[]): Error {
  if (allowed.length === 0) return routeNotFound(request)
  const { method } = request
  return httpErrors.METHOD_NOT_ALLOWED(`this path does not answer to ${method}`, { expected: allowed, received: method })
}
