/**
 * What points to a version besides `active`: labels, the canary, the shadow; and the gate that candidates must pass.
 * Pure steps from one pointer to the next, like changes.ts.
 *
 *  - a version that is pointed to is listed, and not removed by an admin
 *  - a candidate that becomes active is none any more: a later activation must not bring it back
 *  - a version that start-up loses takes its marks with it: none moves to another version by itself
 */
import { storeErrors } from './errors.js'
import type { GateRecord, Mark, PassedGate, Pointer, VersionRecord } from './bank-store.js'

/** A bound for the pointer file. */
export const LABELS_MAX = 256

/** Throws VERSION_NOT_FOUND, LABEL_NOT_FOUND for one to take away that is not there, STORE_LIMIT. */
export function withMark (pointer: Pointer, mark: Mark): Pointer {
  const next = { ...pointer, revision: pointer.revision + 1 }
  if (mark.kind === 'label') return withLabel(next, mark.label, mark.version)
  const { [mark.kind]: _before, ...rest } = next
  if (mark.candidate === undefined) return rest
  requireVersion(pointer, mark.candidate.version)
  return { ...rest, [mark.kind]: mark.candidate }
}

function withLabel (pointer: Pointer, label: string, version: number | undefined): Pointer {
  const labels = new Map(Object.entries(pointer.labels ?? {}))
  if (version === undefined) {
    if (!labels.delete(label)) {
      throw storeErrors.LABEL_NOT_FOUND(`domain "${pointer.domain}" has no label "${label}"`, {
        expected: [...labels.keys()].slice(0, 20), received: label
      })
    }
  } else {
    requireVersion(pointer, version)
    labels.set(label, version)
  }
  if (labels.size > LABELS_MAX) {
    throw storeErrors.STORE_LIMIT(`domain "${pointer.domain}" has too many labels`, {
      expected: LABELS_MAX, received: labels.size
    })
  }
  return withLabels(pointer, [...labels])
}

function withLabels (pointer: Pointer, labels: ReadonlyArray<readonly [string, number]>): Pointer {
  const { labels: _before, ...rest } = pointer
  if (labels.length === 0) return rest
  return { ...rest, labels: Object.fromEntries(labels.toSorted(([a], [b]) => a < b ? -1 : 1)) }
}

/** Throws VERSION_NOT_FOUND naming the known ones. */
export function requireVersion (pointer: Pointer, version: number): VersionRecord {
  const record = pointer.versions.find((candidate) => candidate.version === version)
  if (record !== undefined) return record
  throw storeErrors.VERSION_NOT_FOUND(`domain "${pointer.domain}" has no version ${version}`, {
    expected: pointer.versions.slice(-20).map((known) => known.version), received: version
  })
}

export function withGate (pointer: Pointer, gate: GateRecord | undefined): Pointer {
  const { gate: _before, ...rest } = pointer
  return { ...rest, revision: pointer.revision + 1, ...(gate === undefined ? {} : { gate }) }
}

/** Throws GATE_NOT_FOUND. */
export function requireGate ({ domain, gate }: Pointer): GateRecord {
  if (gate !== undefined) return gate
  throw storeErrors.GATE_NOT_FOUND(`domain "${domain}" has no gate`)
}

/** Throws STORE_CHANGED when the domain's gate is another than the one that was passed. */
export function checkGate (domain: string, gate: GateRecord | undefined, passed: PassedGate): void {
  if (passed === undefined || passed === (gate?.sha256 ?? null)) return
  throw storeErrors.STORE_CHANGED(`the gate of domain "${domain}" was changed meanwhile; try again`, {
    expected: gate?.sha256 ?? null, received: passed
  })
}

/** Throws VERSION_MARKED. */
export function requireUnmarked (pointer: Pointer, version: number): void {
  const { domain, labels = {}, canary, shadow } = pointer
  const marks = Object.keys(labels).filter((label) => labels[label] === version).map((label) => `label "${label}"`)
  if (canary?.version === version) marks.push('the canary')
  if (shadow?.version === version) marks.push('the shadow')
  if (marks.length === 0) return
  const named = marks.slice(0, 5).join(', ')
  throw storeErrors.VERSION_MARKED(`version ${version} of domain "${domain}" is in use: ${named}; move that first`, {
    expected: 'a version that nothing points to', received: marks.slice(0, 20)
  })
}

export function withoutMarksOf (pointer: Pointer, gone: ReadonlySet<number>): Pointer {
  const kept = Object.entries(pointer.labels ?? {}).filter(([, version]) => !gone.has(version))
  return [...gone].reduce(withoutCandidate, withLabels(pointer, kept))
}

export function withoutCandidate (pointer: Pointer, version: number): Pointer {
  const { canary, shadow, ...rest } = pointer
  return {
    ...rest,
    ...(canary === undefined || canary.version === version ? {} : { canary }),
    ...(shadow === undefined || shadow.version === version ? {} : { shadow })
  }
}
