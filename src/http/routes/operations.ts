/** For those who run the server. */
import { Type } from '#typebox'
import { errorsOf } from '../schemas.js'
import { httpErrors } from '../errors.js'
import { runtimeErrors } from '../../runtime/errors.js'
import type { App } from '../app-type.js'
import type { BodyBudget } from '../limits/body-budget.js'
import type { Engine } from '../../engine.js'
import type { Metrics } from '../../observability/metrics.js'

export function registerOperationRoutes (
  app: App, engine: Engine, bodies: BodyBudget, limits: ReadinessLimits, metrics: Metrics
): void {
  const { registry } = metrics
  const tags = ['operations']
  app.get('/livez', {
    config: { access: 'health' },
    schema: {
      tags,
      summary: 'Is the process alive, and not beyond help but a restart',
      response: { 200: Type.Object({ live: Type.Boolean() }), ...errorsOf(503) }
    },
    logLevel: 'silent'
  }, async () => liveness(engine))

  app.get('/readyz', {
    config: { access: 'health' },
    schema: {
      tags,
      summary: 'Is every model compiled, proven and warm, and room for bodies',
      response: { 200: Type.Object({ ready: Type.Boolean() }), ...errorsOf(503) }
    },
    logLevel: 'silent'
  }, async () => readiness(engine, bodies, limits))

  app.get('/metrics', {
    config: { access: 'metrics' },
    schema: { tags, summary: 'Metrics for Prometheus', produces: ['text/plain'] },
    logLevel: 'silent'
  }, async (_request, reply) => {
    return reply.header('content-type', registry.contentType).send(await registry.metrics())
  })
}

/** Throws WORKERS_STUCK when only a restart helps. */
export function liveness ({ isLost }: Pick<Engine, 'isLost'>): { live: true } {
  if (!isLost) return { live: true }
  throw runtimeErrors.WORKERS_STUCK('every inference thread is stuck; the server must be restarted')
}

export interface ReadinessLimits {
  /** Whether everybody may know the models. */
  isOpen: boolean
  /** 0 for none. */
  storeAgeMs: number
}

/** Throws SERVER_NOT_READY, which names the models when everybody may know them. */
export function readiness (
  engine: Pick<Engine, 'isReady' | 'models' | 'workers' | 'storeAgeMs'>, bodies: BodyBudget,
  { isOpen, storeAgeMs: ageMsMax }: ReadinessLimits
): { ready: true } {
  if (!engine.isReady) {
    const states = engine.models().map(({ entry, state }) => [entry.manifest.name, state])
    throw httpErrors.SERVER_NOT_READY('not every model is ready, or no inference thread', {
      ...(isOpen ? { models: Object.fromEntries(states) } : {}), workers: engine.workers
    })
  }
  if (ageMsMax > 0 && engine.storeAgeMs > ageMsMax) {
    throw httpErrors.SERVER_NOT_READY('the database of the store has been away for too long', {
      expected: `at most ${ageMsMax} ms`, received: Math.round(engine.storeAgeMs)
    })
  }
  if (bodies.isUsable) return { ready: true }
  throw httpErrors.SERVER_NOT_READY('there has been no room for request bodies for a while', {
    expected: `less than ${bodies.bytesMax} bytes of bodies`, received: bodies.bytes
  })
}
