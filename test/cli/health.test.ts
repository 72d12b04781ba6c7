/** `bankswitch health` against servers of this process, and against nothing. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttp, type RequestListener, type Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { makeCertificate } from '../support/certificate.js'
import { refusalOf } from '../support/command.js'

const ready: RequestListener = (request, response) => {
  response.writeHead(request.url === '/readyz' ? 200 : 404).end('{"ready":true}')
}
const unready: RequestListener = (_request, response) => {
  response.writeHead(503).end(JSON.stringify({ error: 'not every model is ready', filling: 'x'.repeat(10_000) }))
}

/** The port of a server that goes with the test. */
async function listening (t: TestContext, server: Server, host = '127.0.0.1'): Promise<string> {
  server.listen(0, host)
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return String((server.address() as AddressInfo).port)
}

describe('bankswitch health', () => {
  it('is 0 when the server is ready', async (t) => {
    const port = await listening(t, createHttp(ready))
    assert.deepEqual(await refusalOf(['health'], { BANKSWITCH_PORT: port }), { code: 0, stderr: '' })
    assert.equal((await refusalOf(['health', '--port', port])).code, 0)
  })

  it('asks the loopback address of a server that listens on all', async (t) => {
    const port = await listening(t, createHttp(ready), '0.0.0.0')
    assert.equal((await refusalOf(['health', '--host', '0.0.0.0', '--port', port])).code, 0)
    const port6 = await listening(t, createHttp(ready), '::')
    assert.equal((await refusalOf(['health', '--host', '::', '--port', port6])).code, 0)
  })

  it('is 1 when it is not ready, and says why, in few words', async (t) => {
    const port = await listening(t, createHttp(unready))
    const { code, stderr } = await refusalOf(['health'], { BANKSWITCH_PORT: port })
    assert.equal(code, 1)
    assert.match(stderr, /^not ready: 503 \{"error":"not every model is ready"/)
    assert.ok(stderr.length < 600, `${stderr.length} characters`)
  })

  it('is 1 when nobody listens, when what listens speaks no HTTP, and when no answer comes', async (t) => {
    const gone = createHttp(ready)
    const port = await listening(t, gone)
    gone.close()
    await once(gone, 'close')
    assert.match((await refusalOf(['health'], { BANKSWITCH_PORT: port })).stderr, /ECONNREFUSED/)
    const { cert, key } = makeCertificate(1)
    const secure = await listening(t, createHttps({ cert, key }, ready))
    assert.equal((await refusalOf(['health'], { BANKSWITCH_PORT: secure })).code, 1)
    const silent = await listening(t, createHttp(() => {}))
    const { code, stderr } = await refusalOf(['health'], { BANKSWITCH_PORT: silent })
    assert.equal(code, 1)
    assert.match(stderr, /^not ready: no answer within \d+ ms\n$/)
  })

  it('speaks HTTPS where the server does, whoever signed its certificate', async (t) => {
    const { cert, key } = makeCertificate(2)
    const settings = { BANKSWITCH_TLS_CERTIFICATE_FILE: '/run/tls.crt', BANKSWITCH_TLS_KEY_FILE: '/run/tls.key' }
    for (const [listener, expected] of [[ready, 0], [unready, 1]] as const) {
      const port = await listening(t, createHttps({ cert, key }, listener))
      assert.equal((await refusalOf(['health'], { ...settings, BANKSWITCH_PORT: port })).code, expected)
    }
  })

  it('refuses settings that serve would refuse, and a port that only the server knows', async () => {
    for (const [argv, pattern] of [
      [['health', '--port', 'many'], /--port/], [['health', '--what'], /--what/], [['health', '--port', '0'], /expected a port|free port/]
    ] as const) {
      const { code, stderr } = await refusalOf(argv)
      assert.equal(code, 65)
      assert.match(stderr, pattern)
    }
  })
})
