/**
 * An inference answer of the Open Inference Protocol v2: JSON, or JSON followed by the binary outputs.
 *
 * It is planned first: how long it can get is known from the outputs' shapes before a byte of it is written. Writing
 * goes in steps, for a long answer takes seconds.
 */
import { servingErrors } from '../../serving/errors.js'
import { classesOf, classify, textBytesMax } from './classification.js'
import { datatypeName } from './datatypes.js'
import {
  binaryBytes, binaryBytesMax, jsonBytesMax, JSON_BYTES_PER_TEXT, LENGTH_BYTES, Page, writeBinary, writeJson
} from './write-tensor.js'
import type { Sliced } from '../../base/slices.js'
import type { PlainTensor } from '../../ort/session.js'
import type { MixedResult } from '../../serving/answering/answering.js'
import type { InferenceTerms, WantedOutput } from './parse-request.js'

export interface WireResponse {
  body: Buffer
  contentType: 'application/json' | 'application/octet-stream'
  /** Length of the JSON part when tensors follow. */
  headerLength?: number
}

export interface PlannedAnswer {
  /** The answer will be no longer. */
  bytesMax: number
  /** Throws PROTOCOL_INVALID for outputs that JSON cannot carry. */
  write (): Sliced<WireResponse>
}

/** What an answer is made of. */
export interface AnsweredTensors extends Pick<MixedResult, 'outputs' | 'recognised'> {
  answeredBy: ReadonlyArray<Omit<MixedResult['answeredBy'][number], 'countedAs'>>
}

interface PlannedOutput extends WantedOutput {
  tensor: PlainTensor
  bytesMax: number
}

/** JSON of an output besides its name, shape and data. */
const OUTPUT_BYTES = 150

/** Throws OUTPUT_UNKNOWN, and PROTOCOL_INVALID for a classification of what has no classes. */
export function planAnswer (
  model: string, message: InferenceTerms, result: AnsweredTensors, labels: readonly string[]
): PlannedAnswer {
  const outputs = wantedOutputs(message, result).map((wanted): PlannedOutput => {
    const tensor = result.outputs[wanted.name]!
    const bytesOfName = Buffer.byteLength(JSON.stringify([wanted.name, tensor.dims]))
    return { tensor, bytesMax: OUTPUT_BYTES + bytesOfName + valueBytesMax(wanted, tensor, labels), ...wanted }
  })
  const begin = `${JSON.stringify(describeAnswer(model, message, result)).slice(0, -1)},"outputs":[`
  const bytesMax = outputs.reduce((sum, output) => sum + output.bytesMax, Buffer.byteLength(`${begin}]}`))
  return { bytesMax, write: () => write(begin, outputs, bytesMax, labels) }
}

function valueBytesMax (
  { name, isBinary, classification }: WantedOutput, tensor: PlainTensor, labels: readonly string[]
): number {
  if (classification === undefined) return isBinary ? binaryBytesMax(tensor) : jsonBytesMax(tensor)
  const { rows, classes, kept } = classesOf(name, tensor, classification)
  return rows * kept * (textBytesMax(classes, labels) + (isBinary ? LENGTH_BYTES : JSON_BYTES_PER_TEXT))
}

/** The answer but for its outputs; JSON leaves out what is undefined. */
function describeAnswer (model: string, message: InferenceTerms, { answeredBy, recognised }: AnsweredTensors): object {
  const [first] = answeredBy as [AnsweredTensors['answeredBy'][number]]
  const isMixed = answeredBy.length > 1
  // The protocol's parameters are single values.
  const list = (part: (one: typeof first) => string | number) => answeredBy.map(part).join()
  return {
    model_name: model,
    model_version: isMixed ? undefined : String(first.version),
    id: message.id,
    parameters: {
      domain: list(({ domain }) => domain),
      domain_version: isMixed ? list(({ version }) => version) : first.version,
      bank_digest: list(({ digest }) => digest),
      ...(recognised === undefined ? {} : recognisedParameters(recognised))
    }
  }
}

/** Lists with one place for each row, empty where a row named its own domain. */
function recognisedParameters (rows: NonNullable<MixedResult['recognised']>): Record<string, string> {
  const list = (part: (one: NonNullable<typeof rows[number]>) => string | number | undefined) => {
    return rows.map((one) => one === undefined ? '' : part(one) ?? '').join()
  }
  return {
    domain_of_rows: list(({ domain }) => domain),
    domain_fit: list(({ fit }) => fit),
    domain_nearest: list(({ nearest }) => nearest),
    domain_runner_up: list(({ runnerUp }) => runnerUp),
    domain_margin: list(({ margin }) => margin?.toFixed(3)),
    domain_p: list(({ p }) => p?.toPrecision(3))
  }
}

function * write (
  begin: string, outputs: readonly PlannedOutput[], bytesMax: number, labels: readonly string[]
): Sliced<WireResponse> {
  const page = new Page(bytesMax)
  const binary: PlainTensor[] = []
  page.text(begin)
  for (const [at, { name, isBinary, classification, tensor: whole }] of outputs.entries()) {
    const tensor = classification === undefined ? whole : yield * classify(name, whole, classification, labels)
    const common = { name, datatype: datatypeName(tensor.type), shape: tensor.dims }
    page.text(`${at > 0 ? ',' : ''}${JSON.stringify(common).slice(0, -1)}`)
    if (isBinary) {
      binary.push(tensor)
      page.text(`,"parameters":{"binary_data_size":${yield * binaryBytes(tensor)}}}`)
    } else {
      page.text(',"data":[')
      yield * writeJson(page, name, tensor)
      page.text(']}')
    }
  }
  page.text(']}')
  const headerLength = page.length
  for (const tensor of binary) yield * writeBinary(page, tensor)
  if (binary.length === 0) return { body: page.view(), contentType: 'application/json' }
  return { body: page.view(), contentType: 'application/octet-stream', headerLength }
}

function wantedOutputs ({ outputs, isBinaryByDefault }: InferenceTerms, result: AnsweredTensors): WantedOutput[] {
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
