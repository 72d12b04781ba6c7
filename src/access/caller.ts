/** Who calls, and what they may do. */
import { accessErrors } from './errors.js'

/** infer: inference and what describes models; read: GET of the admin API, metrics; admin: all of the admin API. */
export const SCOPES = ['infer', 'read', 'admin'] as const
export type Scope = typeof SCOPES[number]

export interface Caller {
  /** Public part of the key, for the log and the rate limit. */
  readonly id: string
  readonly scopes: ReadonlySet<Scope>
  /** Absent for a key that holds for all models. */
  readonly models?: ReadonlySet<string>
  /** In ms since 1970; absent for a key that does not expire. */
  readonly expiresAt?: number
}

/** Throws KEY_EXPIRED. */
export function requireCurrent ({ expiresAt }: Caller, now: number): void {
  if (expiresAt === undefined || now < expiresAt) return
  throw accessErrors.KEY_EXPIRED('this key has expired', { received: new Date(expiresAt).toISOString() })
}

/** Whether any of the scopes is there; admin holds read. */
export function holdsAny ({ scopes }: Caller, wanted: readonly Scope[]): boolean {
  return wanted.some((scope) => scopes.has(scope) || (scope === 'read' && scopes.has('admin')))
}

/** Throws SCOPE_MISSING. */
export function requireScope (caller: Caller, wanted: readonly Scope[]): void {
  const { scopes } = caller
  if (holdsAny(caller, wanted)) return
  throw accessErrors.SCOPE_MISSING('this key has not the scope that this needs', {
    expected: wanted, received: [...scopes]
  })
}

/** `model` is undefined for what concerns all models. Throws MODEL_DENIED for a key that is limited to others. */
export function requireModel ({ models }: Caller, model: string | undefined): void {
  if (models === undefined || (model !== undefined && models.has(model))) return
  const [why, received] = model === undefined
    ? ['this concerns all models, this key is limited to some', 'all models']
    : ['this key is limited to other models', model.slice(0, 100)]
  throw accessErrors.MODEL_DENIED(why, { expected: [...models], received })
}
