/** What a pointer must look like wherever a store keeps it, so that what one has written another can take over. */
import { Type } from '#typebox'
import { LABEL_PATTERN, NAME_PATTERN } from '../base/names.js'
import type { DomainRecord, Pointer, VersionPreprocessing } from './bank-store.js'

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Number_ = Type.Integer({ minimum: 1 })

const STRICT = { additionalProperties: false }

const Candidate = Type.Object({ version: Number_, percent: Type.Number({ minimum: 0, maximum: 100 }) }, STRICT)

/** The fields of a pointer, for a schema that forbids others. */
export const pointerShape = {
  domain: Type.String({ pattern: NAME_PATTERN }),
  description: Type.Optional(Type.String()),
  revision: Number_,
  lastVersion: Number_,
  active: Type.Union([Number_, Type.Null()]),
  previous: Type.Array(Number_),
  versions: Type.Array(Type.Object({
    version: Number_,
    sha256: Digest,
    bytes: Type.Integer({ minimum: 0 }),
    digest: Digest,
    fingerprint: Digest,
    source: Type.String({ pattern: NAME_PATTERN }),
    preprocessing: Type.Optional(Type.Unsafe<VersionPreprocessing>({ type: 'object' })),
    createdAt: Type.String()
  }, STRICT)),
  labels: Type.Optional(Type.Record(Type.String({ pattern: LABEL_PATTERN }), Number_, STRICT)),
  canary: Type.Optional(Candidate),
  shadow: Type.Optional(Candidate),
  gate: Type.Optional(Type.Object({
    sha256: Digest,
    bytes: Type.Integer({ minimum: 0 }),
    rows: Number_,
    absolute: Type.Number({ minimum: 0 }),
    relative: Type.Number({ minimum: 0 }),
    createdAt: Type.String()
  }, STRICT))
}

/** What is wrong with a pointer of that shape; undefined for one that agrees with itself. */
export function contradictionOf (pointer: Pointer, domain: string): string | undefined {
  if (pointer.domain !== domain) return `it belongs to domain "${pointer.domain}"`
  const numbers = new Set(pointer.versions.map(({ version }) => version))
  if (pointer.active !== null && !numbers.has(pointer.active)) return 'its active version is not listed'
  if (pointer.versions.some(({ version }) => version > pointer.lastVersion)) return 'it lists a version from the future'
  const isLost = markedVersions(pointer).some((version) => !numbers.has(version))
  return isLost ? 'a version that it points to is not listed' : undefined
}

/** The versions that something points to besides `active`. */
function markedVersions ({ labels = {}, canary, shadow }: DomainRecord): number[] {
  return [...Object.values(labels), ...[canary, shadow].flatMap((candidate) => candidate?.version ?? [])]
}
