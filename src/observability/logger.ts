import { pino, type DestinationStream, type Logger } from 'pino'

export type { Logger }

/** Where secrets could stand in what is logged; bodies are never logged at all. */
const SECRET_PATHS = [
  'adminKey', '*.adminKey', 'traceUrl', '*.traceUrl', 'req.headers.authorization', 'headers.authorization'
]

/** JSON lines on standard output, or wherever `destination` says. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const options = { level, redact: { paths: SECRET_PATHS, censor: '(secret)' }, base: null }
  return destination === undefined ? pino(options) : pino(options, destination)
}
