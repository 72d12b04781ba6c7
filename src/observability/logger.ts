/** The log: JSON lines in batches, without secrets, and how its last lines leave. */
import { pino, type DestinationStream, type Logger } from 'pino'

export type { Logger }

/** Where secrets could stand in what is logged; bodies are never logged at all. */
const SECRET_PATHS = [
  'adminKey', '*.adminKey', 'traceUrl', '*.traceUrl', 'req.headers.authorization', 'headers.authorization'
]

/** A line costs the event loop more to write than to make: they leave together, after so many bytes or so long. */
const BATCH_BYTES = 4096
const BATCH_MS = 100

/** Lines that wait for whoever reads them; beyond, new ones are dropped, for a reader that hangs must not stop us. */
const WAITING_BYTES_MAX = 2 ** 24

/** How long whoever reads them may take for the last lines. */
const LAST_LINES_MS = 1000

/** JSON lines on standard output, in batches, the last with the end of the process; or wherever `destination` says. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const options = { level, redact: { paths: SECRET_PATHS, censor: '(secret)' }, base: null }
  return pino(options, destination ?? pino.destination({
    dest: 1, sync: false, minLength: BATCH_BYTES, periodicFlush: BATCH_MS, maxLength: WAITING_BYTES_MAX
  }))
}

/**
 * To be called before the process ends. What still waits then is written by sonic-boom's flushSync, which tries again
 * for ever where the reader has gone (4.2.1): who does not take the lines now gets none of them.
 */
export async function endLog (logger: Logger): Promise<void> {
  const isRead = await new Promise<boolean>((resolve) => {
    const limit = setTimeout(() => resolve(false), LAST_LINES_MS)
    logger.flush((error) => {
      clearTimeout(limit)
      resolve(error === undefined || error === null)
    })
  })
  const stream = (logger as unknown as Record<symbol, { flushSync?: () => void }>)[pino.symbols.streamSym]
  if (!isRead && stream !== undefined) stream.flushSync = () => {}
}
