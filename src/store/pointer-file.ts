/**
 * domain.json: the pointer file, the one mutable file of a domain and its only truth.
 *
 * A version exists when the pointer lists it: a version file beside it that is not listed is the remains of a publish
 * that was never acknowledged. The checksum covers every other field, so a flipped bit is told from a valid change.
 */
import { Ajv } from 'ajv'
import { Type, type Static } from 'typebox'
import { sha256 } from '../base/digest.js'
import { NAME_PATTERN } from '../base/names.js'
import { storeErrors } from './errors.js'
import type { DomainRecord, VersionPreprocessing } from './bank-store.js'

export const POINTER_FILE = 'domain.json'

export const POINTER_FORMAT = 1

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Number_ = Type.Integer({ minimum: 1 })

const PointerSchema = Type.Object({
  format: Type.Literal(POINTER_FORMAT),
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
    source: Type.Union([
      Type.Literal('model'), Type.Literal('json'), Type.Literal('safetensors'), Type.Literal('calibration')
    ]),
    preprocessing: Type.Optional(Type.Unsafe<VersionPreprocessing>({ type: 'object' })),
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
  const body = {
    format: POINTER_FORMAT,
    domain,
    ...(description === undefined ? {} : { description }),
    revision,
    lastVersion,
    active,
    previous,
    versions
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
  return pointer
}

/** Name of a version's file: number first, so that a listing sorts by age. */
export function versionFileName (version: number, fileDigest: string): string {
  return `${String(version).padStart(6, '0')}-${fileDigest.slice(0, 16)}.safetensors`
}
