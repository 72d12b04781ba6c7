/** `night`, `night:3` or `night:active`: a domain, and which version of it. */
import { isName } from '../base/names.js'
import { storeErrors } from '../store/errors.js'
import { servingErrors } from './errors.js'
import type { BankStore, DomainRecord, VersionRecord } from '../store/bank-store.js'

export interface DomainReference {
  domain: string
  /** A version number, or undefined for the active one. */
  version?: number
}

const ACTIVE = 'active'

/** How many known domains an error names. */
const NAMED_MAX = 50

/** Throws DOMAIN_REFERENCE_INVALID. */
export function parseDomainReference (text: string): DomainReference {
  const [domain = '', pin, ...rest] = text.trim().split(':')
  const isNumber = pin !== undefined && /^[1-9]\d{0,8}$/.test(pin)
  if (!isName(domain) || rest.length > 0 || !(pin === undefined || pin === ACTIVE || isNumber)) {
    throw servingErrors.DOMAIN_REFERENCE_INVALID('this is no reference to a domain', {
      expected: 'a name, name:version or name:active', received: text.slice(0, 100)
    })
  }
  return isNumber ? { domain, version: Number(pin) } : { domain }
}

export interface ResolvedDomain {
  record: DomainRecord
  version: VersionRecord
}

/** Throws DOMAIN_NOT_FOUND or VERSION_NOT_FOUND naming the known ones, DOMAIN_INACTIVE when nothing is activated. */
export function resolveDomain (store: BankStore, model: string, reference: DomainReference): ResolvedDomain {
  const record = store.domain(model, reference.domain)
  if (record === undefined) {
    const known = store.domains(model).map(({ domain }) => domain).slice(0, NAMED_MAX)
    throw storeErrors.DOMAIN_NOT_FOUND(
      `model "${model}" has no domain "${reference.domain}"; it has ${known.join(', ') || 'none'}`,
      { expected: known, received: reference.domain }
    )
  }
  return resolveIn(record, reference)
}

/** Throws VERSION_NOT_FOUND or DOMAIN_INACTIVE. */
export function resolveIn (record: DomainRecord, reference: DomainReference): ResolvedDomain {
  const wanted = reference.version ?? record.active
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
