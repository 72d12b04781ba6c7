/** The end of an exchange, however it ends. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** One listener a connection, which may have many requests in its pipeline. */
const waiting = new WeakMap<Socket, Set<() => void>>()

/**
 * Calls back once: when the answer is written or given up, or when the connection is gone, for an answer behind others
 * in a pipeline never hears of that.
 */
export function whenOver (response: ServerResponse, socket: Socket, callback: () => void): void {
  const own = waitingAt(socket)
  const over = () => {
    if (own.delete(over)) callback()
  }
  own.add(over)
  response.once('close', over)
  if (response.closed || socket.destroyed) over()
}

function waitingAt (socket: Socket): Set<() => void> {
  const known = waiting.get(socket)
  if (known !== undefined) return known
  const all = new Set<() => void>()
  waiting.set(socket, all)
  socket.once('close', () => { for (const over of all) over() })
  return all
}
