/** Goldens as JSON: inputs as an inference request has them, and what is expected as its answer has it. */
import { Type, type Static } from '#typebox'
import { checkOf } from '../../base/json-schema.js'
import { httpErrors } from '../errors.js'
import { parseJsonBody, readInputs, RequestInput } from './parse-request.js'
import type { Goldens } from '../../serving/changing/administration.js'

const TENSORS_MAX = 64

export const GoldensSchema = Type.Object({
  inputs: Type.Array(RequestInput, { minItems: 1, maxItems: TENSORS_MAX }),
  expected: Type.Array(RequestInput, { minItems: 1, maxItems: TENSORS_MAX })
}, { additionalProperties: false })

const validate = checkOf<Static<typeof GoldensSchema>>(GoldensSchema)

/** Throws PROTOCOL_INVALID, telling expected and received, and what `parseStrictJson` throws. */
export function parseGoldensJson (body: Uint8Array): Goldens {
  const parsed = parseJsonBody(body)
  if (!validate(parsed)) {
    const [fault] = validate.errors
    throw httpErrors.PROTOCOL_INVALID(`the goldens are refused: ${fault?.instancePath} ${fault?.message}`, {
      expected: fault?.message, received: fault?.instancePath
    })
  }
  const read = (tensors: typeof parsed.inputs) => readInputs(tensors, new Uint8Array(0), false)
  return { inputs: read(parsed.inputs), expected: read(parsed.expected) }
}
