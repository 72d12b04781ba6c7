/** A bank as JSON: {"description"?, "preprocessing"?, "layers": {"<key>": {"mean", "variance", "gamma"?, "beta"?}}}. */
import { BankswitchError } from '../../base/errors.js'
import { parseStrictJson, type JsonValue } from '../../base/strict-json.js'
import { bankErrors } from '../errors.js'
import { STATISTICS, type PartialLayer, type Statistic } from '../bank.js'
import type { BankFormat, ParsedBank } from './format.js'

/** root > layers > layer > statistic */
const DEPTH_MAX = 4

const DESCRIPTION_LENGTH_MAX = 2000

const FIELDS: readonly string[] = ['description', 'preprocessing', 'layers']

/** An object; a safetensors file whose header is 123 bytes long begins with a brace too. */
const BEGINNING = /^\s*\{\s*["}]/

const PROBED_BYTES = 256

export const bankJson: BankFormat = {
  name: 'json',
  summary: 'JSON {"description"?, "preprocessing"?, "layers": {"<key>": {"mean", "variance", "gamma"?, "beta"?}}}',
  mediaTypes: ['application/json'],
  extensions: ['.json'],
  probe: (bytes) => BEGINNING.test(Buffer.from(bytes.subarray(0, PROBED_BYTES)).toString('latin1')),
  parse: parseBankJson
}

/**
 * Parses and checks the form; values are checked later, against the model. Throws what `parseStrictJson` throws, and
 * BANK_FORM_INVALID for unknown fields and wrong types, naming the layer.
 */
export function parseBankJson (body: Uint8Array): ParsedBank {
  const root = parseRoot(body)
  if (!isRecord(root)) return wrongForm('the body', 'an object', root)
  for (const field of Object.keys(root)) {
    if (!FIELDS.includes(field)) return wrongForm('the body', FIELDS, field)
  }
  const { layers, description, preprocessing } = root
  if (description !== undefined && (typeof description !== 'string' || description.length > DESCRIPTION_LENGTH_MAX)) {
    return wrongForm('"description"', `a string of at most ${DESCRIPTION_LENGTH_MAX} characters`, description)
  }
  if (layers === undefined || !isRecord(layers)) return wrongForm('"layers"', 'an object of layers', layers)
  return {
    ...(description === undefined ? {} : { description }),
    ...(preprocessing === undefined ? {} : { preprocessing }),
    layers: new Map(Object.entries(layers).map(([key, layer]) => [key, parseLayer(key, layer)])),
    ignored: [],
    weights: [],
    metadata: new Map()
  }
}

/**
 * Python writes NaN and Infinity as bare words, which is no JSON. Read as null they reach `parseLayer`, which can name
 * the layer and channel they stand in.
 */
function parseRoot (body: Uint8Array): JsonValue {
  try {
    return parseStrictJson(body, { depthMax: DEPTH_MAX })
  } catch (error) {
    const text = Buffer.from(body).toString('utf8')
    const tamed = text.replaceAll(/(?<=[[,\s])-?(?:NaN|Infinity)(?=[\],\s])/g, 'null')
    if (!(error instanceof BankswitchError) || error.code !== 'JSON_INVALID' || tamed === text) throw error
    return parseStrictJson(Buffer.from(tamed), { depthMax: DEPTH_MAX })
  }
}

function parseLayer (key: string, layer: JsonValue): PartialLayer {
  if (!isRecord(layer)) return wrongForm(`layer "${key}"`, 'an object of statistics', layer, key)
  const partial: PartialLayer = {}
  for (const [statistic, values] of Object.entries(layer)) {
    if (!STATISTICS.includes(statistic as Statistic)) return wrongForm(`layer "${key}"`, STATISTICS, statistic, key)
    if (!Array.isArray(values)) return wrongForm(`${statistic} of layer "${key}"`, 'an array of numbers', values, key)
    const wrong = values.findIndex((value) => typeof value !== 'number')
    if (wrong >= 0) {
      const received = clip(JSON.stringify(values[wrong]))
      throw bankErrors.BANK_VALUE_INVALID(
        `${statistic} of layer "${clip(key)}" is no finite number in channel ${wrong}`,
        { layer: clip(key), statistic, channel: wrong, expected: 'a finite number', received }
      )
    }
    partial[statistic as Statistic] = values as number[]
  }
  return partial
}

function isRecord (value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wrongForm (what: string, expected: unknown, received: unknown, layer?: string): never {
  const shown = JSON.stringify(received) ?? 'nothing'
  const wanted = Array.isArray(expected) ? `made of ${expected.join(', ')}` : String(expected)
  throw bankErrors.BANK_FORM_INVALID(`${clip(what)} must be ${wanted}`, {
    ...(layer === undefined ? {} : { layer: clip(layer) }), expected, received: clip(shown)
  })
}

function clip (text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
