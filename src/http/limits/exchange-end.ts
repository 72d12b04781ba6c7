/**
 * The end of an exchange, however it ends. When a connection ends, Node tells only the response whose turn it is
 * (`resOnFinish` and `onServerResponseClose` of its _http_server.js). Those behind it in the pipeline never hear of it,
 * and what was to be given back with them would be lost: the room of their bodies, their place in the queue.
 */
import { httpErrors } from '../errors.js'
import type { FastifyReply } from 'fastify'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Calls back once: when the answer is written, or given up because the connection is gone; at once if it is. */
export function whenOver (response: Pick<ServerResponse, 'destroyed' | 'once'>, callback: () => void): void {
  if (response.destroyed) callback()
  else response.once('close', callback)
}

/** Aborts with REQUEST_ABORTED when the client goes away before its answer is written. */
export function leavingSignal (
  response: Pick<ServerResponse, 'destroyed' | 'once' | 'writableFinished'>
): AbortSignal {
  const controller = new AbortController()
  whenOver(response, () => {
    if (!response.writableFinished) controller.abort(httpErrors.REQUEST_ABORTED('the client went away'))
  })
  return controller.signal
}

/**
 * How long a connection outlives the answer that ends it, when its client still sends. Closed at once it would be reset
 * by the bytes that nobody reads, and the answer could be lost with it (RFC 9112, 9.6).
 */
const LINGER_MS = 500

/** Ends a connection with these bytes, if any, and gives its client the time to read them. */
export function endUnhurriedly (socket: Socket, bytes?: string): void {
  if (bytes === undefined) socket.end()
  else socket.end(bytes)
  const cut = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(cut))
}

/** Makes the answer of a request the last one of its connection: what is left of the request is not to be read. */
export function endWith (request: IncomingMessage, reply: Pick<FastifyReply, 'header'>): void {
  reply.header('connection', 'close')
  if (request.complete) return
  const { socket } = request
  // This is how Node ends a connection behind its last answer.
  socket.destroySoon = () => {
    // By now Node has begun to read what is left, only to throw it away.
    request.pause()
    endUnhurriedly(socket)
  }
}

/** The responses of every connection that are not over yet, oldest first. */
export class OpenExchanges {
  readonly #openOf = new WeakMap<Socket, Set<ServerResponse>>()
  readonly #ended = new WeakSet<Socket>()

  of (socket: Socket): Iterable<ServerResponse> {
    return this.#openOf.get(socket) ?? []
  }

  /** Nobody hears of requests that come on this connection from now on: their client has been told of its end. */
  end (socket: Socket): void {
    this.#ended.add(socket)
  }

  /**
   * Makes every response emit `close` when its connection ends, also one whose turn had not come. Stands between the
   * server and whoever listens for its requests by now.
   */
  watch (server: Server): void {
    const listeners = server.listeners('request')
    server.removeAllListeners('request')
    server.on('request', (request, response) => {
      const { socket } = request
      if (this.#ended.has(socket)) return
      const responses = this.#openOf.get(socket) ?? this.#begin(socket)
      responses.add(response)
      response.once('close', () => responses.delete(response))
      for (const listener of listeners) listener.call(server, request, response)
    })
  }

  #begin (socket: Socket): Set<ServerResponse> {
    const responses = new Set<ServerResponse>()
    this.#openOf.set(socket, responses)
    socket.once('close', () => closeAll(responses))
    return responses
  }
}

/** A response has its socket from the moment that it is its turn; then it is Node that closes it. */
function closeAll (responses: ReadonlySet<ServerResponse>): void {
  for (const response of responses) {
    if (response.socket !== null || response.writableFinished) continue
    response.destroy()
    response.emit('close')
  }
}
