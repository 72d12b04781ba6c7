/**
 * What a route asks of its caller. Each route says so where it is defined, by `config.access`; the application does not
 * start with a route that does not.
 */
import assert from 'node:assert/strict'
import type { Scope } from '../../access/caller.js'
import type { Settings } from '../../config/schema.js'
import type { App } from '../app-type.js'
import type { FastifyInstance, FastifyRequest } from 'fastify'

export type RouteAccess = 'health' | 'documents' | 'metrics' | 'administration' | 'listing' | 'inference'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RouteAccess
    /**
     * The model that a request is about, for keys that may use some models only; throws when what it is about is not
     * there. Without it, the model in the path, and where there is none, all models. `nobody` opens the route to every
     * such key: what it tells has no other key.
     */
    concerns?: 'nobody' | ((request: FastifyRequest) => string | undefined | Promise<string | undefined>)
  }
  interface FastifyInstance {
    /** Access of the routes that plugins register here, which cannot say it themselves. */
    accessOfPlugins?: RouteAccess
  }
}

/** Whom an application answers: everybody, or one of two audiences when the admin API has an address of its own. */
export type Audience = 'all' | 'public' | 'admin'

export type AccessSettings = Pick<Settings, 'inferenceKeyed' | 'metricsKeyed'>

const READING = ['GET', 'HEAD']

const SERVED_TO: Readonly<Record<Audience, readonly RouteAccess[]>> = {
  all: ['health', 'documents', 'metrics', 'administration', 'listing', 'inference'],
  public: ['health', 'documents', 'listing', 'inference'],
  admin: ['health', 'documents', 'metrics', 'administration', 'listing']
}

/** Refuses routes without access, by an assertion; to be called before any other hook on routes is added. */
export function requireDeclarations (app: App): void {
  app.addHook('onRoute', function (this: FastifyInstance, route) {
    const access = route.config?.access ?? this.accessOfPlugins
    assert.ok(access !== undefined, `the route ${String(route.method)} ${route.url} does not declare its access`)
    route.config = { ...route.config, access }
  })
}

/** Whether a request has found a route, and it is one of the admin API. */
export function isAdminCall ({ routeOptions }: Pick<FastifyRequest, 'routeOptions'>): boolean {
  return routeOptions.url !== undefined && accessOf(routeOptions) === 'administration'
}

/** The access of a route that was registered, or of the route that a request has found. */
export function accessOf (route: { config?: { access?: RouteAccess } }): RouteAccess {
  const { access } = route.config ?? {}
  assert.ok(access !== undefined)
  return access
}

export function isServed (audience: Audience, access: RouteAccess): boolean {
  return SERVED_TO[audience].includes(access)
}

/** Scopes of which any is enough; none for what is open to everybody. */
export function scopesOf (access: RouteAccess, method: string, settings: AccessSettings): readonly Scope[] {
  switch (access) {
    case 'health':
    case 'documents':
      return []
    case 'metrics':
      return settings.metricsKeyed ? ['read'] : []
    case 'administration':
      return READING.includes(method) ? ['read'] : ['admin']
    case 'listing':
      return settings.inferenceKeyed ? ['infer', 'read'] : []
    case 'inference':
      return settings.inferenceKeyed ? ['infer'] : []
  }
}
