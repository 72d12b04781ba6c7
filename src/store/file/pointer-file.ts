/**
 * domain.json: the pointer file, the one mutable file of a domain and its only truth.
 *
 * A version exists when the pointer lists it: a version file beside it that is not listed is the remains of a publish
 * that was never acknowledged. The checksum covers every other field, so a flipped bit is told from a valid change.
 *
 * A file whose format or fields only a newer server knows is not damaged: it is refused by name and stays as it is.
 */
import { Type } from '#typebox'
import { storeErrors } from '../errors.js'
import { contradictionOf, pointerShape } from '../pointer-shape.js'
import { checkedFile, serializeChecked } from './checked-file.js'
import type { GateRecord, Pointer } from '../bank-store.js'

export const POINTER_FILE = 'domain.json'

/** The second has marks and gates; it is written only where there are some, so that older servers read the rest. */
const FORMATS = { plain: 1, marked: 2 } as const

const pointerFile = checkedFile(Type.Object({
  format: Type.Union([Type.Literal(FORMATS.plain), Type.Literal(FORMATS.marked)]),
  ...pointerShape,
  checksum: Type.String({ pattern: '^[0-9a-f]{64}$' })
}, { additionalProperties: false }), FORMATS.marked)

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
  const { format: _format, checksum: _checksum, ...pointer } = pointerFile(text, what, { domain })
  const contradiction = contradictionOf(pointer, domain)
  if (contradiction !== undefined) {
    throw storeErrors.STORE_CORRUPT(`${what} is unusable: ${contradiction}`, { domain })
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
