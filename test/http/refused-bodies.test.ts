/** What becomes of the body of a request that is refused by its headers alone. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { bareApp, type BareApp } from '../support/bare-app.js'

/** More than any socket buffers. */
const LARGE = 2 ** 26
const PIECE = Buffer.alloc(2 ** 16)

describe('a request that is refused for load', () => {
  let bare: BareApp
  let port: number
  before(async () => {
    bare = await bareApp({ BANKSWITCH_REQUESTS_PER_MINUTE: '1', BANKSWITCH_REFUSAL_HOLD_MS: '0' })
    bare.app.post('/any', { config: { access: 'inference' } }, async () => 'answer')
    await bare.app.listen({ port: 0, host: '127.0.0.1' })
    port = (bare.app.server.address() as AddressInfo).port
    await bare.app.inject({ method: 'POST', url: '/any' })
  })
  after(() => bare.close())

  const visit = async () => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1').on('error', () => {})
    const [[accepted]] = await Promise.all([once(bare.app.server, 'connection'), once(socket, 'connect')]) as [[Socket], []]
    return { socket, accepted }
  }
  const head = (length: number) => `POST /any HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`

  it('keeps its connection when its body is small', async () => {
    const { socket } = await visit()
    for (let time = 0; time < 2; time++) {
      socket.write(`${head(1000)}${'x'.repeat(1000)}`)
      const [answer] = await once(socket, 'data') as [string]
      assert.match(answer, /^HTTP\/1.1 429 /)
      assert.match(answer, /connection: keep-alive/i)
    }
    socket.destroy()
  })

  for (const [what, framing] of [['announced', `Content-Length: ${LARGE}`], ['of no length that is told', 'Transfer-Encoding: chunked']]) {
    it(`loses its connection when its body is large, ${what}, and nobody reads it`, async () => {
      const { socket, accepted } = await visit()
      let received = ''
      let sent = 0
      socket.on('data', (piece: string) => { received += piece })
      const closed = new Promise((resolve) => accepted.once('close', resolve))
      socket.write(`POST /any HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n${framing}\r\n\r\n`)
      if (framing!.startsWith('Transfer')) socket.write(`${LARGE.toString(16)}\r\n`)
      const pump = () => {
        let hasRoom = true
        while (hasRoom && sent < LARGE) {
          sent += PIECE.length
          hasRoom = socket.write(PIECE)
        }
      }
      socket.on('drain', pump)
      pump()
      await closed
      socket.destroy()
      assert.match(received, /^HTTP\/1.1 429 /)
      assert.match(received, /connection: close/i)
      assert.match(received, /"code":"RATE_LIMITED"/)
      assert.ok(accepted.bytesRead < LARGE / 16, `${accepted.bytesRead} bytes were read`)
    })
  }
})
