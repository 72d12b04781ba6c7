/** What whoever asks may do here, so that a page shows what will be answered and nothing else. */
import { Type } from '#typebox'
import { holdsAny, requireCurrent, SCOPES } from '../../access/caller.js'
import { isServed, scopesOf, type AccessSettings, type Audience, type RouteAccess } from '../access/route-access.js'
import { httpErrors } from '../errors.js'
import { errorsOf } from '../schemas.js'
import type { App } from '../app-type.js'
import type { Caller } from '../../access/caller.js'

/** What each word asks for. */
const MAY = {
  infer: ['inference', 'POST'],
  list: ['listing', 'GET'],
  observe: ['metrics', 'GET'],
  read: ['administration', 'GET'],
  change: ['administration', 'POST']
} as const satisfies Record<string, readonly [RouteAccess, string]>

const Allowed = Type.Boolean()

const CallerSchema = Type.Object({
  version: Type.String({ description: 'Of the service' }),
  may: Type.Object({ infer: Allowed, list: Allowed, observe: Allowed, read: Allowed, change: Allowed }, {
    description: 'At this address, with this key: infer, see models, see metrics, read the admin API, change domains'
  }),
  key: Type.Optional(Type.Object({
    id: Type.String({ description: 'The public part' }),
    scopes: Type.Array(Type.Unsafe<typeof SCOPES[number]>({ type: 'string', enum: [...SCOPES] })),
    models: Type.Optional(Type.Array(Type.String(), { description: 'The only models that it holds for' })),
    expiresAt: Type.Optional(Type.String())
  }))
}, { title: 'Caller' })

export function registerCallerRoute (app: App, settings: AccessSettings, version: string, audience: Audience): void {
  app.get('/v1/caller', {
    config: { access: 'documents' },
    schema: {
      tags: ['operations'],
      summary: 'What the key of this request may, or a request without one',
      response: { 200: CallerSchema, ...errorsOf(401) }
    }
  }, async ({ caller, headers }) => {
    if (caller === undefined && headers.authorization !== undefined) {
      throw httpErrors.KEY_UNKNOWN('this key is not known', { expected: 'Authorization: Bearer <key>' })
    }
    if (caller !== undefined) requireCurrent(caller, Date.now())
    const allowed = (name: keyof typeof MAY) => {
      const [access, method] = MAY[name]
      const wanted = scopesOf(access, method, settings)
      const isOpen = wanted.length === 0 || (caller !== undefined && holdsAny(caller, wanted))
      return isOpen && isServed(audience, access)
    }
    return {
      version,
      may: {
        infer: allowed('infer'),
        list: allowed('list'),
        observe: allowed('observe'),
        read: allowed('read'),
        change: allowed('change')
      },
      ...(caller === undefined ? {} : { key: described(caller) })
    }
  })
}

function described ({ id, scopes, models, expiresAt }: Caller) {
  return {
    id,
    scopes: SCOPES.filter((scope) => scopes.has(scope)),
    ...(models === undefined ? {} : { models: [...models] }),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() })
  }
}
