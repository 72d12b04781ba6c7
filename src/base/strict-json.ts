/**
 * JSON as it must be when it comes from a stranger: bounded in depth before anything recursive touches it and in what
 * takes far more memory than its text, and without duplicate keys, which JSON.parse would resolve silently in favour of
 * the last.
 */
import { defineErrors } from './errors.js'

export const jsonErrors = defineErrors({
  JSON_INVALID: 'invalid',
  JSON_TOO_DEEP: 'invalid',
  JSON_TOO_MANY_ELEMENTS: 'invalid',
  JSON_DUPLICATE_KEY: 'invalid'
})

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue }

export interface StrictJsonOptions {
  /** Objects and arrays may nest this deep; the root counts as one. */
  depthMax: number
  /** Objects, arrays and strings, keys among them: each takes up to a hundred bytes. Numbers are not counted. */
  elementsMax?: number
  /** Numbers must be written with digits only. JSON.parse reads 4.0, 4e0 and 4 alike, a parser of integers does not. */
  hasDigitsOnly?: boolean
}

/** Some 30 MB of objects; tensors of millions of numbers have far fewer. */
const ELEMENTS_MAX = 2 ** 18

/** A key can be as long as the body; an error's message and details are not. */
const KEY_SHOWN_MAX = 200

const QUOTE = 0x22
const BACKSLASH = 0x5c
const MINUS = 0x2d
const POINT = 0x2e
const COLON = 0x3a
const LOWER_E = 0x65
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Parses UTF-8 JSON.
 *
 * Throws JSON_INVALID (not UTF-8, not JSON, a byte order mark, a number of another form than asked for), JSON_TOO_DEEP,
 * JSON_TOO_MANY_ELEMENTS, or JSON_DUPLICATE_KEY naming the key.
 * A key `__proto__` becomes an ordinary own property, as in JSON.parse.
 */
export function parseStrictJson (bytes: Uint8Array, options: StrictJsonOptions): JsonValue {
  checkStructure(bytes, options)
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch (cause) {
    throw jsonErrors.JSON_INVALID('the JSON is not valid UTF-8', { expected: 'UTF-8' }, cause)
  }
  try {
    return JSON.parse(text) as JsonValue
  } catch (cause) {
    throw jsonErrors.JSON_INVALID(`the body is not valid JSON: ${(cause as Error).message}`, {}, cause)
  }
}

/**
 * One pass over the bytes that knows strings and brackets only. It may accept what is no JSON (JSON.parse refuses that
 * later), but every valid document's depth and keys are seen exactly.
 */
function checkStructure (bytes: Uint8Array, options: StrictJsonOptions): void {
  const { depthMax, elementsMax = ELEMENTS_MAX, hasDigitsOnly = false } = options
  const keysOfDepth: Array<Set<string> | undefined> = []
  let elements = 0
  let lastString: [begin: number, end: number] | undefined
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === QUOTE || byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++elements > elementsMax) throw tooMany(elementsMax)
    }
    if (byte === QUOTE) {
      const end = endOfString(bytes, at)
      lastString = [at, end]
      at = end - 1
    } else if (byte === COLON) {
      const keys = keysOfDepth.at(-1)
      if (keys !== undefined && lastString !== undefined) addKey(keys, bytes, lastString)
      lastString = undefined
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      keysOfDepth.push(byte === OPEN_BRACE ? new Set() : undefined)
      if (keysOfDepth.length > depthMax) {
        throw jsonErrors.JSON_TOO_DEEP('the JSON nests too deep', { expected: `at most ${depthMax}`, received: 'more' })
      }
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      keysOfDepth.pop()
    } else if (hasDigitsOnly && isPartOfOtherNumber(bytes, at)) {
      throw jsonErrors.JSON_INVALID('a number of the JSON is not written with digits only', { expected: 'digits' })
    }
  }
}

function tooMany (elementsMax: number): Error {
  return jsonErrors.JSON_TOO_MANY_ELEMENTS('the JSON has too many objects, arrays and strings', {
    expected: `at most ${elementsMax}`, received: 'more'
  })
}

/** Outside strings, a sign and a point belong to a number, and so does an `e` behind a digit (`true` has another). */
function isPartOfOtherNumber (bytes: Uint8Array, at: number): boolean {
  const byte = bytes[at]!
  if (byte === MINUS || byte === POINT) return true
  const before = bytes[at - 1]
  return (byte | 0x20) === LOWER_E && before !== undefined && before >= 0x30 && before <= 0x39
}

/** The index behind the closing quote, or the end of the bytes when there is none. */
function endOfString (bytes: Uint8Array, openingQuote: number): number {
  let at = openingQuote + 1
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1
  return Math.min(at + 1, bytes.length)
}

function addKey (keys: Set<string>, bytes: Uint8Array, [begin, end]: [number, number]): void {
  const quoted = Buffer.from(bytes.buffer, bytes.byteOffset + begin, end - begin).toString('utf8')
  let key: string
  try {
    key = quoted.includes('\\') ? JSON.parse(quoted) as string : quoted.slice(1, -1)
  } catch (cause) {
    throw jsonErrors.JSON_INVALID('a key of the JSON is no valid string', {}, cause)
  }
  if (keys.has(key)) {
    const shown = key.slice(0, KEY_SHOWN_MAX)
    throw jsonErrors.JSON_DUPLICATE_KEY(`the key "${shown}" stands twice`, { key: shown })
  }
  keys.add(key)
}
