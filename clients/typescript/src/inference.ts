/** An inference as the Open Inference Protocol v2 has it: JSON of a length that a header tells, then the tensors. */
import { recognisedRows, type RecognisedRow } from './recognised.js'
import { decodeTensor, encodeTensor } from './tensors.js'
import { jsonOf, unreadable, type Answer } from './transport.js'
import type { CallOptions, DomainWish } from './options.js'
import type { AnswerOf, Given } from './routes.js'
import type { Datatype, InputTensor, Tensor, Values } from './tensors.js'

type Infer = 'POST /v2/models/{model}/infer'

export const HEADER_LENGTH = 'inference-header-content-length'

export interface WantedOutput {
  name: string
  /** How many of the best classes, as texts `value:index:label`, instead of all values. */
  classification?: number | undefined
}

export interface InferOptions extends CallOptions, DomainWish {
  /** All if not given. */
  outputs?: ReadonlyArray<string | WantedOutput> | undefined
}

export interface AnsweredBy {
  domain: string
  version: number
  /** Content hash of the bank. */
  digest: string
}

export class Inference {
  readonly model: string

  /** One, or where rows named domains of their own all of them, in the order in which they first come up. */
  readonly answeredBy: readonly [AnsweredBy, ...AnsweredBy[]]

  readonly outputs: Readonly<Record<string, Tensor>>

  /** How `auto` has chosen, by row, undefined for one whose domain was named; empty where all were. */
  readonly recognised: ReadonlyArray<RecognisedRow | undefined>

  constructor (
    model: string, answeredBy: Inference['answeredBy'], outputs: Readonly<Record<string, Tensor>>,
    recognised: Inference['recognised'] = []
  ) {
    this.model = model
    this.answeredBy = answeredBy
    this.outputs = outputs
    this.recognised = recognised
  }

  /** The values of an output. Throws a TypeError where there is no such output or its datatype is another. */
  values (output: string): Values['FP32']
  values<D extends Datatype> (output: string, datatype: D): Values[D]
  values (output: string, datatype: Datatype = 'FP32'): Values[Datatype] {
    const tensor = this.outputs[output]
    if (tensor?.datatype === datatype) return tensor.data
    const there = Object.entries(this.outputs).map(([name, { datatype }]) => `"${name}" of ${datatype}`)
    throw new TypeError(`there is no output "${output}" of ${datatype}: the answer has ${there.join(', ')}`)
  }
}

/** Throws a TypeError for inputs that cannot be sent. */
export function encodeInference (
  inputs: Readonly<Record<string, InputTensor>>, outputs: InferOptions['outputs']
): { body: Uint8Array, header: { [HEADER_LENGTH]: number } } {
  const tensors = Object.entries(inputs).map(([name, tensor]) => ({ name, ...tensor, ...encodeTensor(name, tensor) }))
  const request: Given<Infer>['body'] = {
    inputs: tensors.map(({ name, shape, datatype, bytes }) => ({
      name, shape: [...shape], datatype, parameters: { binary_data_size: bytes.length }
    })),
    parameters: { binary_data_output: true },
    ...(outputs === undefined ? {} : { outputs: outputs.map(wantedOutput) })
  }
  const json = new TextEncoder().encode(JSON.stringify(request))
  const body = new Uint8Array(tensors.reduce((sum, { bytes }) => sum + bytes.length, json.length))
  body.set(json)
  let at = json.length
  for (const { bytes } of tensors) {
    body.set(bytes, at)
    at += bytes.length
  }
  return { body, header: { [HEADER_LENGTH]: json.length } }
}

function wantedOutput (wanted: string | WantedOutput) {
  const { name, classification } = typeof wanted === 'string' ? { name: wanted } : wanted
  return { name, ...(classification === undefined ? {} : { parameters: { classification } }) }
}

/** Throws ANSWER_UNREADABLE. */
export function decodeInference (answer: Answer): Inference {
  const jsonLength = Number(answer.headers.get(HEADER_LENGTH) ?? answer.bytes.length)
  const json = jsonOf(answer, answer.bytes.subarray(0, jsonLength)) as AnswerOf<Infer>
  let at = jsonLength
  const tensors = json.outputs.map(({ name, datatype, shape, parameters = {} }): [string, Tensor] => {
    const size = Number(parameters.binary_data_size)
    const bytes = answer.bytes.subarray(at, at + size)
    at += size
    const tensor = bytes.length === size ? decodeTensor(datatype, shape, bytes) : undefined
    if (tensor === undefined) throw unreadable(answer, `has an output "${name}" that is no ${datatype} of its shape`)
    return [name, tensor]
  })
  const list = (name: string) => String(json.parameters[name]).split(',')
  const [versions, digests] = [list('domain_version'), list('bank_digest')]
  const answeredBy = list('domain').map((domain, at) => {
    return { domain, version: Number(versions[at]), digest: digests[at]! }
  })
  return new Inference(
    json.model_name, answeredBy as [AnsweredBy, ...AnsweredBy[]], Object.fromEntries(tensors),
    recognisedRows(json.parameters)
  )
}
