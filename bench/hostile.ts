/** Requests that nobody should send: each costs the server little, and none may cost the others anything. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { signsRequest } from './server.js'

const PATH = '/v2/models/traffic-signs/infer'

/** The pieces of a slow body, and the time between them. */
const SLOW_PIECES = 5
const SLOW_PAUSE_MS = 20

/** Larger than the server takes. */
const OVERSIZED_BYTES = 2 ** 21

type Hostile = () => { head: string, body: Buffer, isSlow?: boolean, isHalfClosed?: boolean }

const KINDS: Hostile[] = [
  () => ({ head: headOf(9), body: Buffer.from('{"inputs"') }),
  () => {
    const { body } = signsRequest(1)
    return { head: headOf(body.length, 'inference-header-content-length: 9999999\r\n'), body }
  },
  () => {
    const { body, headers } = signsRequest(1)
    const length = headers['inference-header-content-length']
    return { head: headOf(body.length, `x-domain: nobody\r\ninference-header-content-length: ${length}\r\n`), body }
  },
  () => ({ head: headOf(OVERSIZED_BYTES), body: Buffer.alloc(2 ** 16) }),
  () => ({ head: headOf(100_000), body: Buffer.alloc(1000), isHalfClosed: true }),
  () => {
    const { body } = signsRequest(1)
    return { head: headOf(body.length, 'inference-header-content-length: 5\r\n'), body, isSlow: true }
  },
  () => ({ head: 'POST / HTTP/9.9\r\n\0\r\n\r\n', body: Buffer.alloc(0) })
]

function headOf (length: number, more = ''): string {
  return `POST ${PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${length}\r\n${more}\r\n`
}

/** Sends one, chosen by a number from 0 to 1; resolves with the status, 0 when the connection was only closed. */
export async function sendHostile (address: string, choice: number): Promise<number> {
  const { port, hostname } = new URL(address)
  const { head, body, isSlow = false, isHalfClosed = false } = KINDS[Math.floor(choice * KINDS.length)]!()
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {}).on('end', () => socket.end())
  const closed = once(socket, 'close').catch(() => {})
  socket.write(head)
  const pieces = isSlow ? SLOW_PIECES : 0
  for (let piece = 0; piece < pieces; piece++) {
    socket.write(body.subarray(piece * 100, (piece + 1) * 100))
    await new Promise((resolve) => setTimeout(resolve, SLOW_PAUSE_MS))
  }
  if (socket.writable) socket.write(body.subarray(pieces * 100))
  if (isHalfClosed) socket.end()
  await closed
  return Number(/^HTTP\/1\.1 (\d+)/.exec(Buffer.concat(chunks).toString('latin1'))?.[1] ?? 0)
}
