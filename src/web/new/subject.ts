/** What a bank is to be registered as. */
import { isName } from '../../base/names.js'
import type { Domain, Model } from '../../../clients/typescript/src/index.js'

export interface Subject {
  model: Model
  domain: string
  /** Undefined for a domain that is not there yet. */
  existing: Domain | undefined
  /** To be told while something is under way that the subject must not change under. */
  onBusy: (isBusy: boolean) => void
}

export function isNamed ({ domain }: Pick<Subject, 'domain'>): boolean {
  return isName(domain)
}

/** What activating does to requests. */
export function consequence ({ model, domain, existing }: Subject): string {
  const name = `${model.name}/${domain}`
  if (existing === undefined) return `${name} is new: requests may name it once a version is active.`
  const { active } = existing
  return active === null
    ? `${name} has no active version; activated, the new one answers its requests.`
    : `Activated, the new version answers requests for ${name} in the place of version ${active}.`
}
