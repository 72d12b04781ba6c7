/** Errors as exit codes, after sysexits.h: scripts can tell a wrong call from a broken file from a full disk. */
import { BankswitchError, type ErrorKind } from '../base/errors.js'

const EXIT_CODES: Readonly<Record<ErrorKind, number>> = {
  invalid: 65,
  unsupported: 65,
  'too-large': 65,
  'headers-too-large': 65,
  'media-type': 65,
  'not-acceptable': 65,
  method: 65,
  unauthenticated: 77,
  forbidden: 77,
  'not-found': 66,
  conflict: 73,
  precondition: 73,
  exhausted: 75,
  timeout: 75,
  'too-slow': 75,
  cancelled: 75,
  unavailable: 69,
  corrupt: 74,
  internal: 70
}

export const EXIT_USAGE = 64

/** All was done but for what a newer server would have to do. */
export const EXIT_INCOMPLETE = EXIT_CODES.unavailable

export function exitCodeOf (thrown: unknown): number {
  return thrown instanceof BankswitchError ? EXIT_CODES[thrown.kind] : EXIT_CODES.internal
}
