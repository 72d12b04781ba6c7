/** An inference answer of the Open Inference Protocol v2: JSON, or JSON followed by the binary outputs. */
import { finish } from '../../base/slices.js'
import { servingErrors } from '../../serving/errors.js'
import { classify } from './classification.js'
import { bytesFromTensor, datatypeName, jsonFromTensor } from './datatypes.js'
import type { MixedResult } from '../../serving/answering/answering.js'
import type { InferenceTerms, WantedOutput } from './parse-request.js'

export interface WireResponse {
  body: Buffer
  contentType: 'application/json' | 'application/octet-stream'
  /** Length of the JSON part when tensors follow. */
  headerLength?: number
}

/** Throws OUTPUT_UNKNOWN, and PROTOCOL_INVALID for outputs that JSON cannot carry. */
export function writeInferenceResponse (
  model: string, message: InferenceTerms, result: MixedResult, labels: readonly string[]
): WireResponse {
  const binary: Uint8Array[] = []
  const outputs = wantedOutputs(message, result).map(({ name, isBinary, classification }) => {
    const whole = result.outputs[name]!
    const tensor = classification === undefined ? whole : finish(classify(name, whole, classification, labels))
    const common = { name, datatype: datatypeName(tensor.type), shape: tensor.dims }
    if (!isBinary) return { ...common, data: jsonFromTensor(name, tensor) }
    const bytes = bytesFromTensor(tensor)
    binary.push(bytes)
    return { ...common, parameters: { binary_data_size: bytes.length } }
  })
  const [first] = result.answeredBy as [MixedResult['answeredBy'][number]]
  const isMixed = result.answeredBy.length > 1
  // The protocol's parameters are single values.
  const list = (part: (one: typeof first) => string | number) => result.answeredBy.map(part).join()
  const json = Buffer.from(JSON.stringify({
    model_name: model,
    ...(isMixed ? {} : { model_version: String(first.version) }),
    ...(message.id === undefined ? {} : { id: message.id }),
    parameters: {
      domain: list(({ domain }) => domain),
      domain_version: isMixed ? list(({ version }) => version) : first.version,
      bank_digest: list(({ digest }) => digest)
    },
    outputs
  }))
  if (binary.length === 0) return { body: json, contentType: 'application/json' }
  return {
    body: Buffer.concat([json, ...binary]), contentType: 'application/octet-stream', headerLength: json.length
  }
}

function wantedOutputs ({ outputs, isBinaryByDefault }: InferenceTerms, result: MixedResult): WantedOutput[] {
  const known = Object.keys(result.outputs)
  if (outputs === undefined) return known.map((name) => ({ name, isBinary: isBinaryByDefault }))
  for (const { name } of outputs) {
    if (known.includes(name)) continue
    throw servingErrors.OUTPUT_UNKNOWN(`the model has no output "${name.slice(0, 100)}"`, {
      expected: known, received: name.slice(0, 100)
    })
  }
  return outputs
}
