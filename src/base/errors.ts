/**
 * The world's mistakes, as opposed to the programmer's (those are asserts).
 *
 * Every expected failure carries a stable code, a kind from a closed set, and details that tell what was expected and
 * what was received. Kinds know nothing of HTTP or exit codes: `http/error-map.ts` and `cli/exit-code.ts` translate.
 */

export const ERROR_KINDS = [
  'invalid', 'unsupported', 'unauthenticated', 'forbidden', 'not-found', 'conflict', 'precondition', 'too-large',
  'headers-too-large', 'media-type', 'not-acceptable', 'method', 'exhausted', 'timeout', 'too-slow', 'cancelled',
  'unavailable', 'corrupt', 'internal'
] as const
export type ErrorKind = typeof ERROR_KINDS[number]

export type ErrorDetails = Readonly<Record<string, unknown>>

export class BankswitchError extends Error {
  readonly code: string
  readonly kind: ErrorKind
  readonly details: ErrorDetails

  constructor (code: string, kind: ErrorKind, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'BankswitchError'
    this.code = code
    this.kind = kind
    this.details = details
  }
}

export type ErrorFactory = (message: string, details?: ErrorDetails, cause?: unknown) => BankswitchError

const catalogue = new Map<string, ErrorKind>()

/**
 * Declares a room's error codes once; each becomes a function that builds the error.
 * Throws a plain Error when a code is declared twice, which is a programmer's mistake.
 */
export function defineErrors<Codes extends Record<string, ErrorKind>> (
  codes: Codes
): { readonly [Code in keyof Codes]: ErrorFactory } {
  const factories: Record<string, ErrorFactory> = {}
  for (const [code, kind] of Object.entries(codes)) {
    const known = catalogue.get(code)
    if (known !== undefined) throw new Error(`error code ${code} is declared twice (${known}, ${kind})`)
    catalogue.set(code, kind)
    factories[code] = (message, details, cause) => new BankswitchError(code, kind, message, details, cause)
  }
  return factories as { readonly [Code in keyof Codes]: ErrorFactory }
}

/** All declared codes with their kinds, for the documentation and its test. */
export function errorCatalogue (): ReadonlyMap<string, ErrorKind> {
  return catalogue
}

/** An error as plain data: structured clone would drop our class and its fields on the way between threads. */
export interface ErrorRecord {
  code: string
  kind: ErrorKind
  message: string
  details: ErrorDetails
  stack?: string
}

/** Anything thrown, as a record; what is not a BankswitchError becomes kind `internal` with code `INTERNAL`. */
export function toErrorRecord (thrown: unknown): ErrorRecord {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const stack = error.stack === undefined ? {} : { stack: error.stack }
  if (error instanceof BankswitchError) {
    return { code: error.code, kind: error.kind, message: error.message, details: error.details, ...stack }
  }
  return { code: 'INTERNAL', kind: 'internal', message: error.message, details: {}, ...stack }
}

/** The error that `toErrorRecord` described, with the stack of the thread where it was thrown. */
export function fromErrorRecord (record: ErrorRecord): BankswitchError {
  const error = new BankswitchError(record.code, record.kind, record.message, record.details)
  if (record.stack !== undefined) error.stack = record.stack
  return error
}

/** True for an errno error of the file system or network with one of these codes. */
export function hasErrno (thrown: unknown, ...codes: string[]): boolean {
  return thrown instanceof Error && 'code' in thrown && codes.includes(String(thrown.code))
}
