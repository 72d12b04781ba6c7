/**
 * What a request says of the version that is to answer it, in its own words: a header, a parameter, its path. Each
 * place is read by a function of its own; NAMED is the order in which they count.
 */
import { isBlend, parseReference, type Reference } from './blend-reference.js'
import { AUTO, parseDomainReference, type DomainReference } from './domain-reference.js'
import { servingErrors } from './errors.js'
import type { Manifest } from '../models/manifest.js'

/** Whose picture it is, and of which of their streams. */
export interface Sender {
  readonly caller: string
  readonly stream: string
}

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
  /** Whose request it is, and of which of their streams where one is named: its pictures are to be answered alike. */
  readonly sender?: { readonly caller: string, readonly stream?: string | undefined } | undefined
  /** Decides whether a canary answers; without one it does not. */
  readonly canaryKey?: string | undefined
}

/** One place where a domain may be named; undefined when it is not. Throws DOMAIN_REFERENCE_INVALID. */
export type NamingPlace<Named = Reference> = (wish: VersionWish, defaultDomain: string) => Named | undefined

const byRow: NamingPlace = ({ row }) => row === undefined ? undefined : parseReference(row)
const byHeader: NamingPlace = ({ header }) => header === undefined ? undefined : parseReference(header)
const byParameter: NamingPlace = ({ parameter }) => parameter === undefined ? undefined : parseReference(parameter)
/** A path names what a model is asked about too, so it is a single domain. */
const byPath: NamingPlace<DomainReference> = ({ path }) => path === undefined ? undefined : parseDomainReference(path)
/** A version without a domain is one of the default domain. */
const byVersionSegment: NamingPlace<DomainReference> = ({ pathVersion }, domain) => {
  return pathVersion === undefined ? undefined : { domain }
}

/** The first that names a domain counts. */
export const NAMED: readonly NamingPlace[] = [byRow, byHeader, byParameter, byPath, byVersionSegment]

/**
 * What the request names, pinned where its path pins it; undefined where it leaves the choice to the model. Throws
 * DOMAIN_REFERENCE_INVALID, also when two places pin different versions.
 */
export function namedReference (wish: VersionWish, defaultDomain: string): Reference | undefined {
  for (const place of NAMED) {
    const reference = place(wish, defaultDomain)
    if (reference !== undefined) return pinned(reference, wish)
  }
  return undefined
}

/** The same of the path alone. Throws like `namedReference`. */
export function referenceInPath (wish: VersionWish, defaultDomain: string): DomainReference | undefined {
  const reference = byPath(wish, defaultDomain) ?? byVersionSegment(wish, defaultDomain)
  return reference === undefined ? undefined : pinned(reference, wish)
}

/** True where the domain is to be chosen by what was sent. Throws DOMAIN_REFERENCE_INVALID. */
export function isAuto (wish: VersionWish, { defaultDomain, domainFrom }: Manifest): boolean {
  const named = namedReference(wish, defaultDomain)
  return named === undefined ? domainFrom === AUTO : isAutoReference(named)
}

export function isAutoReference (reference: Reference): boolean {
  if (isBlend(reference)) return false
  return reference.domain === AUTO && reference.version === undefined && reference.label === undefined
}

/** The reference as the path pins it; it does not pin rows of their own. Throws like `namedReference`. */
export function pinned<Named extends Reference> (reference: Named, { row, pathVersion }: VersionWish): Named
export function pinned (reference: Reference, { row, pathVersion }: VersionWish): Reference {
  if (pathVersion === undefined || row !== undefined) return reference
  if (isBlend(reference)) {
    throw servingErrors.DOMAIN_REFERENCE_INVALID('the path pins a version of a blend, whose parts have their own', {
      expected: 'a version with each part, such as day:3=0.7', received: pathVersion.slice(0, 100)
    })
  }
  const wanted = parseDomainReference(`${reference.domain}:${pathVersion}`)
  const pinOf = (one: DomainReference) => one.version ?? one.label
  if (pinOf(reference) === undefined || pinOf(reference) === pinOf(wanted)) return wanted
  throw servingErrors.DOMAIN_REFERENCE_INVALID('path and domain pin different versions', {
    expected: pinOf(wanted), received: pinOf(reference)
  })
}
