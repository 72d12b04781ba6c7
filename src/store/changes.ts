/** Every change of a domain as a pure step from one pointer to the next. */
import { sha256 } from '../base/digest.js'
import { storeErrors } from './errors.js'
import { requireUnmarked, requireVersion, withoutCandidate, withoutMarksOf } from './marks.js'
import type {
  DomainRecord, ExpectedRevision, GateRecord, LastNumbers, NewGate, NewVersion, Pointer, VersionRecord
} from './bank-store.js'

/** How many steps back a rollback can go. */
const PREVIOUS_KEPT = 32

/** A bound for the pointer file; remove old versions to make room. */
export const VERSIONS_MAX = 10_000

/** Throws PRECONDITION_FAILED when the domain is not at the revision that the caller has seen. */
export function checkRevision (
  domain: string, pointer: Pick<DomainRecord, 'revision'> | undefined, expected: ExpectedRevision
): void {
  const received = pointer?.revision ?? 0
  if (expected === undefined || expected === received || (expected === '*' && received > 0)) return
  throw storeErrors.PRECONDITION_FAILED(
    received === 0 ? `domain "${domain}" does not exist` : `domain "${domain}" was changed meanwhile`,
    { expected, received }
  )
}

/** Of a name that never had a domain. */
export const NO_NUMBERS: LastNumbers = { lastVersion: 0, revision: 0 }

/** The pointer of a domain that takes the place of one with these numbers, which do not come again. */
export function beyond (pointer: Pointer, { lastVersion, revision }: LastNumbers): Pointer {
  return {
    ...pointer,
    revision: Math.max(pointer.revision, revision + 1),
    lastVersion: Math.max(pointer.lastVersion, lastVersion)
  }
}

/** The record of a version to come, under the next number; `nowMs` is milliseconds since 1970. */
export function nextRecord ({ lastVersion }: LastNumbers, added: NewVersion, nowMs: number): VersionRecord {
  return {
    version: lastVersion + 1,
    sha256: sha256(added.file),
    bytes: added.file.length,
    digest: added.digest,
    fingerprint: added.fingerprint,
    source: added.source,
    ...(added.preprocessing === undefined ? {} : { preprocessing: added.preprocessing }),
    createdAt: added.createdAt ?? new Date(nowMs).toISOString()
  }
}

export function gateRecord ({ file, ...rules }: NewGate, nowMs: number): GateRecord {
  return { sha256: sha256(file), bytes: file.length, ...rules, createdAt: new Date(nowMs).toISOString() }
}

/** `last` are the numbers of the pointer, or of a domain of that name that was removed. */
export function withVersion (
  domain: string, pointer: Pointer | undefined, record: VersionRecord, isActivated: boolean, description?: string,
  last: LastNumbers = pointer ?? NO_NUMBERS
): Pointer {
  const versions = pointer?.versions ?? []
  if (versions.length >= VERSIONS_MAX) {
    throw storeErrors.STORE_LIMIT(`domain "${domain}" has too many versions; remove old ones`, {
      expected: VERSIONS_MAX, received: versions.length + 1
    })
  }
  const told = description ?? pointer?.description
  const next: Pointer = {
    ...(pointer ?? { active: null, previous: [] }),
    domain,
    ...(told === undefined ? {} : { description: told }),
    revision: last.revision + 1,
    lastVersion: record.version,
    versions: [...versions, record]
  }
  return isActivated ? pointTo(next, record.version) : next
}

export function withActive (pointer: Pointer, version: number): Pointer {
  requireVersion(pointer, version)
  return pointTo({ ...pointer, revision: pointer.revision + 1 }, version)
}

export function withoutActive (pointer: Pointer): Pointer {
  const steps = pointer.active === null ? pointer.previous : [...pointer.previous, pointer.active]
  const previous = distinctSteps(steps, null).slice(-PREVIOUS_KEPT)
  return { ...pointer, revision: pointer.revision + 1, active: null, previous }
}

export function withRollback (pointer: Pointer): Pointer {
  const version = pointer.previous.at(-1)
  if (version === undefined) {
    throw storeErrors.ROLLBACK_IMPOSSIBLE(`domain "${pointer.domain}" has no earlier active version`)
  }
  const back = { ...pointer, revision: pointer.revision + 1, active: version, previous: pointer.previous.slice(0, -1) }
  return withoutCandidate(back, version)
}

export function withoutVersion (pointer: Pointer, version: number): Pointer {
  requireVersion(pointer, version)
  if (pointer.active === version) {
    throw storeErrors.VERSION_ACTIVE(`version ${version} of domain "${pointer.domain}" is active; activate another first`)
  }
  requireUnmarked(pointer, version)
  return withoutVersions(pointer, new Set([version]))
}

/** Drops versions whether active or not: what start-up does with files that failed their digest. */
export function withoutVersions (pointer: Pointer, gone: ReadonlySet<number>): Pointer {
  const active = pointer.active !== null && gone.has(pointer.active) ? null : pointer.active
  return {
    ...withoutMarksOf(pointer, gone),
    revision: pointer.revision + 1,
    active,
    previous: distinctSteps(pointer.previous.filter((version) => !gone.has(version)), active),
    versions: pointer.versions.filter(({ version }) => !gone.has(version))
  }
}

function pointTo (pointer: Pointer, version: number): Pointer {
  if (pointer.active === version) return pointer
  const previous = pointer.active === null ? pointer.previous : [...pointer.previous, pointer.active]
  const next = { ...pointer, active: version, previous: distinctSteps(previous, version).slice(-PREVIOUS_KEPT) }
  return withoutCandidate(next, version)
}

/** Without the steps back that would change nothing, because what stood between them is gone. */
function distinctSteps (previous: readonly number[], active: number | null): number[] {
  return previous.filter((version, index) => version !== (previous[index + 1] ?? active))
}
