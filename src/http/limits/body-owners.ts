/** Whom a flood of bodies is put down to. */
import { BankswitchError } from '../../base/errors.js'
import { accessOf } from '../access/route-access.js'
import { senderOf } from '../access/sender.js'
import { DOMAIN_HEADER, modelOf, wishInPath } from '../request-domain.js'
import { isAutoReference } from '../../serving/version-wish.js'
import type { App } from '../app-type.js'
import type { BodyBudget } from './body-budget.js'
import type { Owner } from './owned-bytes.js'
import type { Engine } from '../../engine.js'
import type { FastifyRequest } from 'fastify'

/**
 * More than a domain has: many clients may share an address, and the flood of one domain must leave room for what the
 * others ask of other domains.
 */
const SENDER_SHARE = 16

/** For what is not there. */
const UNKNOWN = '(unknown)'

/** Gives each request its share of the room for bodies; behind the guard, which knows whose request it is. */
export function shareBodies (app: App, engine: Engine, bodies: BodyBudget): void {
  app.decorateRequest('bodyShare', undefined)
  app.addHook('onRequest', (request, reply, done) => {
    bodies.open(request, reply.raw, ownersOf(engine, request))
    done()
  })
}

/**
 * Who sends a request, and the domain that it is for, both as they are and not as they are written: all that name a
 * domain which is not there are one, and so are the ways to write one path.
 */
export function ownersOf (engine: Pick<Engine, 'answering' | 'domain'>, request: FastifyRequest): Owner[] {
  const { routeOptions } = request
  const isInference = routeOptions.url !== undefined && accessOf(routeOptions) === 'inference'
  return [
    { name: senderOf(request), share: SENDER_SHARE },
    { name: isInference ? `inference ${domainOf(engine, request)}` : `route ${routeOptions.url ?? ''}` }
  ]
}

function domainOf (engine: Pick<Engine, 'answering' | 'domain'>, { params, headers }: FastifyRequest): string {
  const { model: path, version } = params as { model?: string, version?: string }
  if (path === undefined) return UNKNOWN
  const model = modelOf(path)
  const header = headers[DOMAIN_HEADER]
  const wish = { header: typeof header === 'string' ? header : undefined, ...wishInPath(path, version) }
  try {
    const named = engine.answering.named(model, wish)
    if (named !== undefined && !isAutoReference(named)) engine.domain(model, named.domain)
    return `${model} ${named?.domain ?? ''}`
  } catch (error) {
    if (error instanceof BankswitchError) return UNKNOWN
    throw error
  }
}
