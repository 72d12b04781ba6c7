/**
 * Keys as text: `bsk_<id>_<secret>`. The id is public: it stands in the list, in the log, and finds the record. The
 * secret is 256 random bits.
 *
 * What is kept of a key is its SHA-256. A slow, salted hash (scrypt, argon2) protects what people choose, because those
 * secrets can be guessed one after another; 256 random bits cannot, however fast the guessing, so slowness would only
 * cost every request. A salt hinders tables of precomputed hashes and equal secrets that show as equal hashes; neither
 * exists for secrets that are random.
 */
import { createHash, randomBytes } from 'node:crypto'

const ID_BYTES = 6
const SECRET_BYTES = 32

/** A prefix of its own lets scanners for leaked secrets find our keys. */
const PREFIX = 'bsk'

export const ID_PATTERN = `^[0-9a-f]{${2 * ID_BYTES}}$`

const KEY = /^bsk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/

export interface MadeKey {
  id: string
  /** The whole key, to be shown once and never stored. */
  text: string
}

export function makeKey (): MadeKey {
  const id = randomBytes(ID_BYTES).toString('hex')
  return { id, text: `${PREFIX}_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}` }
}

/** The id within a key's text; undefined for what has not the form of a key. */
export function idOf (text: string): string | undefined {
  return KEY.exec(text)?.[1]
}

/** SHA-256 of a key's text, 32 bytes. */
export function hashOf (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
