/** JSON files with a format and a checksum, which tells damage from what a newer server has written. */
import type { Static, TSchema } from '#typebox'
import { sha256 } from '../../base/digest.js'
import { checkOf } from '../../base/json-schema.js'
import { storeErrors } from '../errors.js'

/** The bytes of a file whose last field is the SHA-256 of all others, as JSON without spaces. */
export function serializeChecked (body: Readonly<Record<string, unknown>>): Uint8Array {
  return Buffer.from(`${JSON.stringify({ ...body, checksum: sha256(JSON.stringify(body)) }, null, 2)}\n`)
}

/**
 * A parser for files of a schema, which must forbid further fields; `known` is the highest `format` it tells of.
 *
 * The parser throws STORE_FORMAT_UNKNOWN for a higher format, and for further fields under a right checksum: a newer
 * server wrote those, and they must not get lost. Anything else that does not fit is STORE_CORRUPT. `what` names the
 * file in errors, `details` are added to them.
 */
export function checkedFile<Schema extends TSchema> (
  schema: Schema, known: number
): (text: string, what: string, details: Readonly<Record<string, unknown>>) => Static<Schema> {
  const validate = checkOf<Static<Schema>>(schema, { allErrors: true })
  return (text, what, details) => {
    const corrupt = (why: string, cause?: unknown) => {
      return storeErrors.STORE_CORRUPT(`${what} is unusable: ${why}`, details, cause)
    }
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
    } catch (cause) {
      throw corrupt('it is not JSON', cause)
    }
    const { checksum, ...body } = Object(parsed) as Record<string, unknown>
    const { format } = body
    if (Number.isSafeInteger(format) && Number(format) > known) {
      throw storeErrors.STORE_FORMAT_UNKNOWN(
        `${what} has format ${String(format)}, and this server knows formats up to ${known}: a newer one wrote it`,
        { ...details, expected: known, received: format }
      )
    }
    const isValid = validate(parsed)
    const errors = validate.errors
    const further = errors.filter(({ keyword, instancePath }) => {
      return keyword === 'additionalProperties' && instancePath !== '/labels'
    })
    const [wrong] = errors.filter((error) => !further.includes(error))
    if (wrong !== undefined) throw corrupt(`${wrong.instancePath} ${wrong.message}`)
    if (sha256(JSON.stringify(body)) !== checksum) throw corrupt('its checksum is wrong')
    if (isValid) return parsed as Static<Schema>
    const names = further.map(({ params }) => String(params.additionalProperty)).slice(0, 20)
    throw storeErrors.STORE_FORMAT_UNKNOWN(
      `${what} has fields that this server does not know: ${names.join(', ')}; a newer one wrote it`,
      { ...details, expected: `format ${known} without further fields`, received: names }
    )
  }
}
