/**
 * keys.json: what is kept of keys, never the keys themselves.
 *
 * A file is taken whole or not at all. Members that are not known are refused: a misspelt expiry must not become a key
 * for ever.
 */
import { Type, type Static } from '#typebox'
import { checkOf } from '../base/json-schema.js'
import { NAME_PATTERN } from '../base/names.js'
import { parseStrictJson } from '../base/strict-json.js'
import { SCOPES, type Scope } from './caller.js'
import { accessErrors } from './errors.js'
import { ID_PATTERN } from './key-text.js'

const KEYS_MAX = 10_000
const DEPTH_MAX = 5
const LABEL_LENGTH_MAX = 100
const MODELS_MAX = 1000

const strict = { additionalProperties: false }

const Instant = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?Z$' })

const KeySchema = Type.Object({
  id: Type.String({ pattern: ID_PATTERN }),
  label: Type.String({ maxLength: LABEL_LENGTH_MAX }),
  hash: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the key' }),
  scopes: Type.Array(Type.Unsafe<Scope>({ type: 'string', enum: [...SCOPES] }), { minItems: 1, uniqueItems: true }),
  models: Type.Optional(Type.Array(Type.String({ pattern: NAME_PATTERN }), {
    minItems: 1, maxItems: MODELS_MAX, uniqueItems: true
  })),
  createdAt: Instant,
  expiresAt: Type.Optional(Instant)
}, strict)

const FileSchema = Type.Object({ format: Type.Literal(1), keys: Type.Array(KeySchema, { maxItems: KEYS_MAX }) }, strict)

export type KeyRecord = Readonly<Static<typeof KeySchema>>

const validate = checkOf<Static<typeof FileSchema>>(FileSchema, { strictSchema: false })

/** Throws KEYS_INVALID, which tells where the fault is. */
export function parseKeys (bytes: Uint8Array, path: string): KeyRecord[] {
  const wrong = (why: string, details = {}, cause?: unknown) => {
    return accessErrors.KEYS_INVALID(`the keys in ${path} are refused: ${why}`, details, cause)
  }
  let file: unknown
  try {
    file = parseStrictJson(bytes, { depthMax: DEPTH_MAX })
  } catch (cause) {
    throw wrong((cause as Error).message, {}, cause)
  }
  if (!validate(file)) {
    const [fault] = validate.errors
    throw wrong(`${fault?.instancePath || 'the file'} ${fault?.message}`, { expected: fault?.params })
  }
  const ids = new Set<string>()
  for (const { id, createdAt, expiresAt } of file.keys) {
    if (ids.has(id)) throw wrong(`the id ${id} stands twice`)
    ids.add(id)
    for (const instant of [createdAt, expiresAt]) {
      if (instant !== undefined && Number.isNaN(Date.parse(instant))) throw wrong(`"${instant}" of ${id} is no time`)
    }
  }
  return file.keys
}

export function serializeKeys (keys: readonly KeyRecord[]): Uint8Array {
  return Buffer.from(`${JSON.stringify({ format: 1, keys }, null, 2)}\n`)
}
