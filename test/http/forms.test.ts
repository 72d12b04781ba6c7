/** Forms that never end, in any of their parts: nobody reads beyond the limit, and the client learns why. */
import assert from 'node:assert/strict'
import { connect, type AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { formOf } from '../support/form.js'
import { ADMIN, startService, type Service } from '../support/service.js'

const LIMIT = 2 ** 20
/** More than any socket buffers. */
const SENT_MAX = 2 ** 26
const PIECE = Buffer.alloc(2 ** 16, 'a')

const CHUNKED = 'Transfer-Encoding: chunked'

const FILE = 'Content-Disposition: form-data; name="images"; filename="x"\r\n\r\n'
const FIELD = 'Content-Disposition: form-data; name="mode"\r\n\r\n'
const WHOLE = `--B\r\n${FILE}abc\r\n--B--\r\n`

describe('a form without an end', () => {
  let service: Service
  let port: number
  before(async () => {
    service = await startService({ BANKSWITCH_BODY_BYTES: String(LIMIT) })
    await service.app.listen({ port: 0, host: '127.0.0.1' })
    port = (service.app.server.address() as AddressInfo).port
  })
  after(() => service.close())

  /** Sends `begin` and then for ever the same, until the server ends the connection, which it does behind its answer. */
  const flood = async (path: string, begin: string, framing: string) => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    const flow = { received: '', sent: 0 }
    socket.on('data', (piece: string) => { flow.received += piece })
    // The end of its own side comes first, and then the reset of what nobody reads.
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${ADMIN.authorization}\r\n` +
      `Content-Type: multipart/form-data; boundary=B\r\n${framing}\r\n\r\n`)
    const write = (bytes: Buffer) => {
      flow.sent += bytes.length
      const chunk = [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]
      return socket.write(framing === CHUNKED ? Buffer.concat(chunk) : bytes)
    }
    if (begin !== '') write(Buffer.from(begin))
    const pump = () => {
      let hasRoom = true
      while (hasRoom && flow.sent < SENT_MAX) hasRoom = write(PIECE)
    }
    socket.on('drain', pump)
    pump()
    await closed
    const [head = '', body = ''] = flow.received.split('\r\n\r\n')
    return { status: Number(head.split(' ')[1]), body: JSON.parse(body) as { code: string }, sent: flow.sent }
  }

  for (const path of ['/v1/models/traffic-signs/predict', '/admin/models/traffic-signs/domains/new/calibrations']) {
    for (const [what, begin] of [
      ['before its first part', ''],
      ['in a file', `--B\r\n${FILE}`],
      ['in a field', `--B\r\n${FIELD}`],
      ['in the headers of a part', '--B\r\nX-Y: '],
      ['behind its end', WHOLE]
    ] as const) {
      it(`${what}, to ${path}: 413`, async () => {
        const { status, body, sent } = await flood(path, begin, CHUNKED)
        assert.equal(status, 413, JSON.stringify(body))
        assert.equal(body.code, 'REQUEST_TOO_LARGE')
        assert.ok(sent < SENT_MAX / 2, `${sent} bytes were sent`)
      })
    }

    it(`of which too much is announced, to ${path}: 413 before it comes`, async () => {
      const { status, body } = await flood(path, '', `Content-Length: ${SENT_MAX}`)
      assert.equal(status, 413)
      assert.equal(body.code, 'REQUEST_TOO_LARGE')
    })
  }

  it('leaves nothing of it in the budget of bodies', async () => {
    const { body } = await service.app.inject({ url: '/metrics', headers: ADMIN })
    assert.match(body, /^bankswitch_body_bytes 0$/m)
  })

  it('several files where one is expected: 400', async () => {
    const file = { field: 'image', name: 'a.png', bytes: new Uint8Array(10) }
    const { payload, headers } = formOf({}, [file, file])
    const response = await service.app.inject({ method: 'POST', url: '/v1/models/traffic-signs/predict', payload, headers })
    assert.equal(response.statusCode, 400)
    assert.deepEqual(response.json<{ details: object }>().details, { expected: 'one file', received: 'more' })
  })
})
