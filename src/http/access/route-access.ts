/**
 * What a route asks of its caller, by method and pattern, in one place and denied by default: whatever stands below
 * /admin/ needs a key, and whatever is not named here counts as inference.
 */
import type { Scope } from '../../access/caller.js'
import type { Settings } from '../../config/schema.js'

/** Which routes an application answers: all, or one part when the admin API has a port of its own. */
export type Part = 'all' | 'public' | 'admin'

export type RouteKind = 'health' | 'documents' | 'metrics' | 'administration' | 'listing' | 'inference'

export type AccessSettings = Pick<Settings, 'inferenceKeyed' | 'metricsKeyed'>

const READING = ['GET', 'HEAD']

const KIND_OF: Readonly<Record<string, RouteKind>> = {
  '/livez': 'health',
  '/readyz': 'health',
  '/v2/health/live': 'health',
  '/v2/health/ready': 'health',
  '/metrics': 'metrics',
  '/openapi.json': 'documents',
  '/v2': 'documents',
  '/v2/': 'documents',
  '/v2/repository/index': 'listing'
}

const KINDS_OF_PART: Readonly<Record<Part, readonly RouteKind[]>> = {
  all: ['health', 'documents', 'metrics', 'administration', 'listing', 'inference'],
  public: ['health', 'documents', 'listing', 'inference'],
  admin: ['health', 'documents', 'metrics', 'administration']
}

/** `pattern` is a route's, as `/v1/models/:model`. */
export function kindOf (method: string, pattern: string): RouteKind {
  const known = KIND_OF[pattern]
  if (known !== undefined) return known
  if (/^\/admin(\/|$)/.test(pattern) || pattern.startsWith('/v2/repository/')) return 'administration'
  if (/^\/docs(\/|$)/.test(pattern)) return 'documents'
  if (READING.includes(method) && /^\/v[12]\/models(\/|$)/.test(pattern)) return 'listing'
  return 'inference'
}

export function isServed (part: Part, kind: RouteKind): boolean {
  return KINDS_OF_PART[part].includes(kind)
}

/** Scopes of which any is enough; none for what is open to everybody. */
export function scopesOf (kind: RouteKind, method: string, settings: AccessSettings): readonly Scope[] {
  switch (kind) {
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
