/**
 * The end of an exchange, however it ends. When a connection ends, Node tells only the response whose turn it is
 * (`resOnFinish` and `onServerResponseClose` of its _http_server.js). Those behind it in the pipeline never hear of it,
 * and what was to be given back with them would be lost: the room of their bodies, their place in the queue.
 */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Calls back once: when the answer is written, or given up because the connection is gone; at once if it is. */
export function whenOver (response: Pick<ServerResponse, 'destroyed' | 'once'>, callback: () => void): void {
  if (response.destroyed) callback()
  else response.once('close', callback)
}

/** The responses of every connection that are not over yet, oldest first. */
export class OpenExchanges {
  readonly #openOf = new WeakMap<Socket, Set<ServerResponse>>()

  of (socket: Socket): Iterable<ServerResponse> {
    return this.#openOf.get(socket) ?? []
  }

  /** Makes every response emit `close` when its connection ends, also one whose turn had not come. */
  watch (server: Server): void {
    server.prependListener('request', ({ socket }, response) => {
      const responses = this.#openOf.get(socket) ?? this.#begin(socket)
      responses.add(response)
      response.once('close', () => responses.delete(response))
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
