/**
 * What a request says of the version that is to answer it, in its own words: a header, a parameter, its path. Each
 * place is read by a function of its own; NAMED is the order in which they count.
 */
import { parseDomainReference, type DomainReference } from './domain-reference.js'
import { servingErrors } from './errors.js'

export interface VersionWish {
  /** Of one row among rows of several domains; goes before what the request says as a whole. */
  readonly row?: string | undefined
  /** The header X-Domain. */
  readonly header?: string | undefined
  /** The parameter `domain` of the body. */
  readonly parameter?: string | undefined
  /** What stands behind the @ in the path. */
  readonly path?: string | undefined
  /** The version segment of the path; it pins the version of whichever domain is chosen. */
  readonly pathVersion?: string | undefined
  /** Decides whether a canary answers; without one it does not. */
  readonly canaryKey?: string | undefined
}

/** One place where a domain may be named; undefined when it is not. Throws DOMAIN_REFERENCE_INVALID. */
export type NamingPlace = (wish: VersionWish, defaultDomain: string) => DomainReference | undefined

const byRow: NamingPlace = ({ row }) => row === undefined ? undefined : parseDomainReference(row)
const byHeader: NamingPlace = ({ header }) => header === undefined ? undefined : parseDomainReference(header)
const byParameter: NamingPlace = ({ parameter }) => {
  return parameter === undefined ? undefined : parseDomainReference(parameter)
}
const byPath: NamingPlace = ({ path }) => path === undefined ? undefined : parseDomainReference(path)
/** A version without a domain is one of the default domain. */
const byVersionSegment: NamingPlace = ({ pathVersion }, domain) => pathVersion === undefined ? undefined : { domain }

/** The first that names a domain counts. */
export const NAMED: readonly NamingPlace[] = [byRow, byHeader, byParameter, byPath, byVersionSegment]

/**
 * The domain that the request names, pinned where its path pins it; undefined where it leaves the choice to the model.
 * Throws DOMAIN_REFERENCE_INVALID, also when two places pin different versions.
 */
export function namedReference (wish: VersionWish, defaultDomain: string): DomainReference | undefined {
  for (const place of NAMED) {
    const reference = place(wish, defaultDomain)
    if (reference !== undefined) return pinned(reference, wish)
  }
  return undefined
}

/** The reference as the path pins it; it does not pin rows of their own. Throws like `namedReference`. */
export function pinned (reference: DomainReference, { row, pathVersion }: VersionWish): DomainReference {
  if (pathVersion === undefined || row !== undefined) return reference
  const wanted = parseDomainReference(`${reference.domain}:${pathVersion}`)
  const pinOf = (one: DomainReference) => one.version ?? one.label
  if (pinOf(reference) === undefined || pinOf(reference) === pinOf(wanted)) return wanted
  throw servingErrors.DOMAIN_REFERENCE_INVALID('path and domain pin different versions', {
    expected: pinOf(wanted), received: pinOf(reference)
  })
}
