/** What a bank format is, and the one form that the files of all of them are read into. */
import { parseStrictJson, type JsonValue } from '../../base/strict-json.js'
import type { BatchNormLayer, PartialLayer } from '../bank.js'
import type { PlainWeights } from '../convolution-weights.js'

/** What a file gives; its values are checked later, against the model. */
export interface ParsedBank {
  layers: Map<string, PartialLayer>
  description?: string
  /** How pictures for this bank are prepared: any JSON; what it may say depends on the model. */
  preprocessing?: JsonValue
  /** Of the network that the bank says it belongs to. */
  fingerprint?: string
  /** What the file holds besides statistics of batch norms: weights, counters. */
  ignored: string[]
  /** What of that may be weights of convolutions, where the format tells; views of the file. */
  weights: PlainWeights[]
  metadata: ReadonlyMap<string, string>
}

export interface BankFormat {
  /** Also what is stored as the source of a version. */
  readonly name: string
  /** A sentence for the API document. */
  readonly summary: string
  readonly mediaTypes: readonly string[]
  /** With their dots, in lower case. */
  readonly extensions: readonly string[]
  /** Do the first bytes say so; cheap, and no promise that `parse` succeeds. */
  probe (bytes: Uint8Array): boolean
  /** `layers` tell which names can be meant. Throws, or rejects with, catalogued errors of kind `invalid`. */
  parse (bytes: Uint8Array, layers: readonly BatchNormLayer[]): ParsedBank | Promise<ParsedBank>
}

const PREPROCESSING_DEPTH_MAX = 4

/** Preprocessing where it is text: in a file's metadata, in a query. Throws what `parseStrictJson` throws. */
export function parsePreprocessingText (text: string): JsonValue {
  return parseStrictJson(Buffer.from(text), { depthMax: PREPROCESSING_DEPTH_MAX })
}
