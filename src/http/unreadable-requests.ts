/**
 * What Node's parser refuses never becomes a request, so no route, hook or error handler hears of it. It is answered
 * here in the form of every other error, counted and logged, behind the answers that its connection still waits for.
 */
import { randomUUID } from 'node:crypto'
import { maxHeaderSize, STATUS_CODES } from 'node:http'
import { httpErrors } from './errors.js'
import { errorBody, STATUS_OF } from './error-map.js'
import { endUnhurriedly, whenOver, type OpenExchanges } from './limits/exchange-end.js'
import { NONE } from './request-record.js'
import { SAFETY_HEADERS } from './safety-headers.js'
import type { BankswitchError } from '../base/errors.js'
import type { Logger } from '../observability/logger.js'
import type { Metrics } from '../observability/metrics.js'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** `code` and `reason` as Node and llhttp give them. */
type ParserError = Error & { code?: string, reason?: string }

export interface UnreadableOptions {
  logger: Logger
  metrics: Pick<Metrics, 'countRequest'>
  exchanges: Pick<OpenExchanges, 'of' | 'end'>
}

/** The client ended in the middle of a request. */
const CUT_OFF = 'HPE_INVALID_EOF_STATE'

/** A handler of Node's `clientError`. Connections that broke are closed without a word. */
export function unreadableRequests (options: UnreadableOptions): (error: Error, socket: Socket) => void {
  const refused = new WeakSet<Socket>()
  return (thrown, socket) => {
    const error = refusalOf(thrown)
    const isCutOff = (thrown as ParserError).code === CUT_OFF
    const open = [...options.exchanges.of(socket)]
    const owed = open.filter(({ req }) => req.complete)
    const isAnswering = open.some((response) => !response.req.complete && response.headersSent)
    if (error === undefined || !socket.writable || isAnswering || (isCutOff && owed.length > 0)) {
      socket.destroy()
      return
    }
    // Whatever else comes on this connection is refused by the parser again.
    if (refused.has(socket)) return
    refused.add(socket)
    afterAll(owed, () => {
      const [open] = options.exchanges.of(socket)
      // The parser reads on after a timeout: what was slow may have come meanwhile, and is being answered.
      if (open?.req.complete === true) refused.delete(socket)
      else refuse(error, socket, open !== undefined, options)
    })
  }
}

/** Undefined for what is no fault of a request, such as a connection that was reset. */
function refusalOf (thrown: ParserError): BankswitchError | undefined {
  const { code = '', reason, message } = thrown
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return httpErrors.HEADERS_TOO_LARGE('the headers are too large', {
        expected: `at most ${maxHeaderSize} bytes together`
      }, thrown)
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return httpErrors.REQUEST_TOO_LARGE('the chunks carry too many extensions', {}, thrown)
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return httpErrors.REQUEST_TOO_SLOW('the request took too long to arrive', {}, thrown)
  }
  if (!code.startsWith('HPE_')) return undefined
  return httpErrors.REQUEST_UNREADABLE('this is not HTTP/1.1 as a server may read it', {
    expected: 'RFC 9112', received: reason ?? message
  }, thrown)
}

function afterAll (responses: readonly ServerResponse[], callback: () => void): void {
  let missing = responses.length
  if (missing === 0) callback()
  for (const response of responses) whenOver(response, () => { if (--missing === 0) callback() })
}

/** Once this is sent, nothing more of the connection is acted on: no new request, nor the rest of one. */
function refuse (
  error: BankswitchError, socket: Socket, hasBegun: boolean, { logger, metrics, exchanges }: UnreadableOptions
): void {
  const requestId = randomUUID()
  const status = STATUS_OF[error.kind]
  metrics.countRequest(NONE, NONE, status, 0)
  logger.info({ reqId: requestId, status, code: error.code }, 'request')
  if (!socket.writable) return
  const body = JSON.stringify(errorBody(error, requestId))
  const headers = {
    ...SAFETY_HEADERS,
    'x-request-id': requestId,
    date: new Date().toUTCString(),
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close'
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const bytes = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`
  exchanges.end(socket)
  // Behind what it could not read the parser has stopped; a slow body it would go on to read.
  if (hasBegun && error.code === 'REQUEST_TOO_SLOW') socket.write(bytes, () => socket.destroy())
  else endUnhurriedly(socket, bytes)
}
