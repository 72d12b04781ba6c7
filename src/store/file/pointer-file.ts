/**
 * domain.json: the pointer file, the one mutable file of a domain and its only truth.
 *
 * A version exists when the pointer lists it: a version file beside it that is not listed is the remains of a publish
 * that was never acknowledged. The checksum covers every other field, so a flipped bit is told from a valid change.
 *
 * A file whose format or fields only a newer server knows is not damaged: it is refused by name and stays as it is.
 */
import { Type } from '#typebox'
import { LABEL_PATTERN, NAME_PATTERN } from '../../base/names.js'
import { storeErrors } from '../errors.js'
import { checkedFile, serializeChecked } from './checked-file.js'
import type { GateRecord, Pointer, VersionPreprocessing } from '../bank-store.js'

export const POINTER_FILE = 'domain.json'

/** The second has marks and gates; it is written only where there are some, so that older servers read the rest. */
const FORMATS = { plain: 1, marked: 2 } as const

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Number_ = Type.Integer({ minimum: 1 })

const STRICT = { additionalProperties: false }

const Candidate = Type.Object({ version: Number_, percent: Type.Number({ minimum: 0, maximum: 100 }) }, STRICT)

const pointerFile = checkedFile(Type.Object({
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
  }, STRICT)),
  checksum: Digest
}, STRICT), FORMATS.marked)

export function serializePointer (pointer: Pointer): Uint8Array {
  const { domain, description, revision, lastVersion, active, previous, versions } = pointer
  const { labels, canary, shadow, gate } = pointer
  const marks = {
    ...(labels === undefined ? {} : { labels }),
    ...(canary === undefined ? {} : { canary }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(gate === undefined ? {} : { gate })
  }
  return serializeChecked({
    format: Object.keys(marks).length === 0 ? FORMATS.plain : FORMATS.marked,
    domain,
    ...(description === undefined ? {} : { description }),
    revision,
    lastVersion,
    active,
    previous,
    versions,
    ...marks
  })
}

/**
 * Throws STORE_FORMAT_UNKNOWN for what a newer server wrote, and STORE_CORRUPT: not JSON, another form, a wrong
 * checksum, another domain's pointer.
 */
export function parsePointer (text: string, domain: string): Pointer {
  const what = `the pointer file of domain "${domain}"`
  const corrupt = (why: string) => storeErrors.STORE_CORRUPT(`${what} is unusable: ${why}`, { domain })
  const { format: _format, checksum: _checksum, ...pointer } = pointerFile(text, what, { domain })
  if (pointer.domain !== domain) throw corrupt(`it belongs to domain "${pointer.domain}"`)
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
