/** `night`, `night:3`, `night:stable` or `night:active`: a domain, and which version of it. */
import { createHash } from 'node:crypto'
import { BankswitchError } from '../base/errors.js'
import { ACTIVE_LABEL, isLabel, isName } from '../base/names.js'
import { storeErrors } from '../store/errors.js'
import { servingErrors } from './errors.js'
import type { BankStore, DomainRecord, VersionRecord } from '../store/bank-store.js'

export interface DomainReference {
  domain: string
  /** The version that it pins by number. */
  version?: number
  /** The version that it pins by label, `active` for the active one. Without a pin the canary gets its share. */
  label?: string
}

/** In place of a domain's name: the domain that the picture itself looks like. No domain has this name. */
export const AUTO = 'auto'

/** How many known domains an error names. */
const NAMED_MAX = 50

/** Throws DOMAIN_REFERENCE_INVALID. */
export function parseDomainReference (text: string): DomainReference {
  const [domain = '', pin, ...rest] = text.trim().split(':')
  const isNumber = pin !== undefined && /^[1-9]\d{0,8}$/.test(pin)
  const isPin = pin === undefined || pin === ACTIVE_LABEL || isNumber || isLabel(pin)
  if (!isName(domain) || rest.length > 0 || !isPin) {
    throw servingErrors.DOMAIN_REFERENCE_INVALID('this is no reference to a domain', {
      expected: 'a name, name:version, name:label or name:active', received: text.slice(0, 100)
    })
  }
  if (pin === undefined) return { domain }
  return isNumber ? { domain, version: Number(pin) } : { domain, label: pin }
}

export interface ResolvedDomain {
  record: DomainRecord
  version: VersionRecord
}

/**
 * With a `canaryKey` a reference without a pin may resolve to the canary, the same key always to the same version.
 * Throws DOMAIN_NOT_FOUND, VERSION_NOT_FOUND or LABEL_NOT_FOUND naming the known ones, DOMAIN_INACTIVE when nothing is
 * activated, and DOMAIN_REFERENCE_INVALID for "auto".
 */
export function resolveDomain (
  store: Pick<BankStore, 'domain' | 'domains'>, model: string, reference: DomainReference, canaryKey?: string
): ResolvedDomain {
  const record = store.domain(model, reference.domain)
  if (record === undefined) {
    const known = store.domains(model).map(({ domain }) => domain).slice(0, NAMED_MAX)
    if (reference.domain === AUTO) {
      throw servingErrors.DOMAIN_REFERENCE_INVALID(
        `"${AUTO}" stands for the active version of the domain that a picture looks like; it cannot be pinned or be a ` +
        'part of a blend, and where nothing is recognised a domain has to be named', { expected: known, received: AUTO }
      )
    }
    throw storeErrors.DOMAIN_NOT_FOUND(
      `model "${model}" has no domain "${reference.domain}"; it has ${known.join(', ') || 'none'}`,
      { expected: known, received: reference.domain }
    )
  }
  return resolveIn(record, reference, canaryKey)
}

/** What another process may have changed a moment ago. */
const MAYBE_NEWS: ReadonlySet<unknown> = new Set([
  'DOMAIN_NOT_FOUND', 'VERSION_NOT_FOUND', 'LABEL_NOT_FOUND', 'DOMAIN_INACTIVE'
])

/** What `resolve` finds, with another look at the store before something is said not to be there. Rejects likewise. */
export async function withNews<T> (store: Pick<BankStore, 'catchUp'>, resolve: () => T): Promise<T> {
  try {
    return resolve()
  } catch (error) {
    if (!(error instanceof BankswitchError) || !MAYBE_NEWS.has(error.code)) throw error
    await store.catchUp()
    return resolve()
  }
}

/** Throws VERSION_NOT_FOUND, LABEL_NOT_FOUND or DOMAIN_INACTIVE. */
export function resolveIn (record: DomainRecord, reference: DomainReference, canaryKey?: string): ResolvedDomain {
  const wanted = reference.version ?? labelled(record, reference.label) ?? unpinned(record, canaryKey)
  if (wanted === null) {
    throw servingErrors.DOMAIN_INACTIVE(`no version of domain "${record.domain}" is active; activate one`, {
      expected: record.versions.map(({ version }) => version), received: null
    })
  }
  const version = record.versions.find((candidate) => candidate.version === wanted)
  if (version !== undefined) return { record, version }
  throw storeErrors.VERSION_NOT_FOUND(`domain "${record.domain}" has no version ${wanted}`, {
    expected: record.versions.slice(-NAMED_MAX).map((known) => known.version), received: wanted
  })
}

/** Undefined where the active version is meant. */
function labelled ({ domain, labels = {}, active }: DomainRecord, label: string | undefined): number | undefined {
  if (label === undefined) return undefined
  if (label === ACTIVE_LABEL) return active ?? undefined
  if (Object.hasOwn(labels, label)) return labels[label]
  throw storeErrors.LABEL_NOT_FOUND(`domain "${domain}" has no label "${label}"`, {
    expected: Object.keys(labels).slice(0, NAMED_MAX), received: label
  })
}

/** A domain that is switched off has no canary either. */
function unpinned ({ domain, active, canary }: DomainRecord, canaryKey: string | undefined): number | null {
  if (active === null || canary === undefined || canaryKey === undefined) return active
  return shareOf(domain, canaryKey) < canary.percent ? canary.version : active
}

/**
 * Where a key falls in 0 to 100, uniform and the same in every process. A share that grows keeps the keys that it has;
 * the domain is part of it, so that a key is not in the canary of every domain at once.
 */
export function shareOf (domain: string, key: string): number {
  return createHash('sha256').update(`${domain}/${key}`).digest().readUInt32BE() / 2 ** 32 * 100
}
