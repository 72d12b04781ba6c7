/** The id under which a request is found in the log. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const HEADER = 'x-request-id'

/** What ids are made of elsewhere: UUIDs, hashes, base64, AWS's `Root=1-…`. */
const ID = /^[\w.:+/=@-]{1,128}$/

/** The caller's own id where it is a plain one, else a new one: a request is not refused for its name. */
export function requestIdOf ({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers[HEADER]
  return typeof given === 'string' && ID.test(given) ? given : randomUUID()
}
