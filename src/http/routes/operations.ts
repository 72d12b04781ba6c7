/** For those who run the server. */
import { Type } from '#typebox'
import { errorsOf } from '../schemas.js'
import { httpErrors } from '../errors.js'
import { runtimeErrors } from '../../runtime/errors.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { Metrics } from '../../observability/metrics.js'

export function registerOperationRoutes (app: App, engine: Engine, { registry }: Metrics): void {
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
      summary: 'Is every model compiled, proven and warm',
      response: { 200: Type.Object({ ready: Type.Boolean() }), ...errorsOf(503) }
    },
    logLevel: 'silent'
  }, async () => {
    if (engine.isReady) return { ready: true }
    const models = Object.fromEntries(engine.models().map(({ entry, state }) => [entry.manifest.name, state]))
    throw httpErrors.SERVER_NOT_READY('not every model is ready, or no inference thread', {
      models, workers: engine.workers
    })
  })

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
