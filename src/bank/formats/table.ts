/** The formats in which banks are taken. A new one is a file beside this one, and its line here. */
import { bankJson } from './bank-json.js'
import { bankNpz } from './bank-npz.js'
import { bankSafetensors } from './bank-safetensors.js'
import type { BankFormat } from './format.js'

export const BANK_FORMATS: readonly BankFormat[] = [bankSafetensors, bankNpz, bankJson]

/** Says nothing of what the bytes are. */
const UNTYPED = 'application/octet-stream'

export const BANK_MEDIA_TYPES: readonly string[] = [
  ...new Set([UNTYPED, ...BANK_FORMATS.flatMap(({ mediaTypes }) => mediaTypes)])
]

/** For a sentence: `.safetensors, .json`. */
export const BANK_EXTENSIONS = BANK_FORMATS.flatMap(({ extensions }) => extensions).join(', ')

/**
 * The format of a body: what its Content-Type says, and where that says nothing, what the bytes look like. Bytes that
 * look like nothing known are left to safetensors, whose errors say what is missing.
 */
export function formatOfBody (contentType: string | undefined, bytes: Uint8Array): BankFormat {
  const [mediaType = UNTYPED] = (contentType ?? UNTYPED).toLowerCase().split(/ *;/)
  const said = mediaType === UNTYPED ? undefined : BANK_FORMATS.find(({ mediaTypes }) => mediaTypes.includes(mediaType))
  return said ?? formatOfBytes(bytes)
}

/** The format that a file's name tells, if any. */
export function formatOfName (name: string): BankFormat | undefined {
  const lowered = name.toLowerCase()
  return BANK_FORMATS.find(({ extensions }) => extensions.some((extension) => lowered.endsWith(extension)))
}

/** The format of a file: what its name says, else what the bytes look like. */
export function formatOfFile (name: string, bytes: Uint8Array): BankFormat {
  return formatOfName(name) ?? formatOfBytes(bytes)
}

function formatOfBytes (bytes: Uint8Array): BankFormat {
  return BANK_FORMATS.find((format) => format.probe(bytes)) ?? bankSafetensors
}
