/**
 * domain.json: the pointer file, the one mutable file of a domain and its only truth.
 *
 * A version exists when the pointer lists it: a version file beside it that is not listed is the remains of a publish
 * that was never acknowledged. The checksum covers every other field, so a flipped bit is told from a valid change.
 */
import { Ajv } from 'ajv'
import { Type, type Static } from 'typebox'
import { sha256 } from '../base/digest.js'
import { LABEL_PATTERN, NAME_PATTERN } from '../base/names.js'
import { storeErrors } from './errors.js'
import type { DomainRecord, GateRecord, VersionPreprocessing } from './bank-store.js'

export const POINTER_FILE = 'domain.json'

/** The second has marks and gates; it is written only where there are some, so that older servers read the rest. */
const FORMATS = { plain: 1, marked: 2 } as const

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Number_ = Type.Integer({ minimum: 1 })

const Candidate = Type.Object({ version: Number_, percent: Type.Number({ minimum: 0, maximum: 100 }) })

const PointerSchema = Type.Object({
  format: Type.Union([Type.Literal(FORMATS.plain), Type.Literal(FORMATS.marked)]),
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
  })),
  labels: Type.Optional(Type.Record(Type.String({ pattern: LABEL_PATTERN }), Number_, { additionalProperties: false })),
  canary: Type.Optional(Candidate),
  shadow: Type.Optional(Candidate),
  gate: Type.Optional(Type.Object({
    sha256: Digest,
    bytes: Type.Integer({ minimum: 0 }),
    rows: Number_,
    absolute: Type.Number({ minimum: 0 }),
    relative: Type.Number({ minimum: 0 }),
    createdAt: Type.String()
  })),
  checksum: Digest
})

export interface Pointer extends DomainRecord {
  /** The highest number ever given out; numbers of removed versions do not come back. */
  readonly lastVersion: number
}

const validate = new Ajv().compile<Static<typeof PointerSchema>>(PointerSchema)

export function serializePointer (pointer: Pointer): Uint8Array {
  const { domain, description, revision, lastVersion, active, previous, versions } = pointer
  const { labels, canary, shadow, gate } = pointer
  const marks = {
    ...(labels === undefined ? {} : { labels }),
    ...(canary === undefined ? {} : { canary }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(gate === undefined ? {} : { gate })
  }
  const body = {
    format: Object.keys(marks).length === 0 ? FORMATS.plain : FORMATS.marked,
    domain,
    ...(description === undefined ? {} : { description }),
    revision,
    lastVersion,
    active,
    previous,
    versions,
    ...marks
  }
  return Buffer.from(`${JSON.stringify({ ...body, checksum: sha256(JSON.stringify(body)) }, null, 2)}\n`)
}

/** Throws STORE_CORRUPT: not JSON, another form or format, a wrong checksum, another domain's pointer. */
export function parsePointer (text: string, domain: string): Pointer {
  const corrupt = (why: string, cause?: unknown) => {
    return storeErrors.STORE_CORRUPT(`the pointer file of domain "${domain}" is unusable: ${why}`, { domain }, cause)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw corrupt('it is not JSON', cause)
  }
  if (!validate(parsed)) throw corrupt(`${validate.errors?.[0]?.instancePath} ${validate.errors?.[0]?.message}`)
  const { checksum, ...body } = parsed
  if (sha256(JSON.stringify(body)) !== checksum) throw corrupt('its checksum is wrong')
  if (body.domain !== domain) throw corrupt(`it belongs to domain "${body.domain}"`)
  const { format: _format, ...pointer } = body
  const numbers = pointer.versions.map(({ version }) => version)
  if (pointer.active !== null && !numbers.includes(pointer.active)) throw corrupt('its active version is not listed')
  if (numbers.some((version) => version > pointer.lastVersion)) throw corrupt('it lists a version from the future')
  const marked = [pointer.canary, pointer.shadow].flatMap((candidate) => candidate?.version ?? [])
  if ([...Object.values(pointer.labels ?? {}), ...marked].some((version) => !numbers.includes(version))) {
    throw corrupt('a version that it points to is not listed')
  }
  return pointer
}

/** Name of a version's file: number first, so that a listing sorts by age. */
export function versionFileName (version: number, fileDigest: string): string {
  return `${String(version).padStart(6, '0')}-${fileDigest.slice(0, 16)}.safetensors`
}

export function gateFileName ({ sha256: digest }: Pick<GateRecord, 'sha256'>): string {
  return `gate-${digest.slice(0, 16)}.safetensors`
}
