/** What Node's parser refuses is answered as any other error is, and leaves nothing behind. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { after, before, beforeEach, describe, it } from 'node:test'
import { BodyBudget } from '#src/http/limits/body-budget.js'
import { createBodyReader } from '#src/http/limits/request-body.js'
import { BodyThread } from '#src/http/open-inference/body-thread.js'
import { bareApp, type BareApp } from '../support/bare-app.js'

interface Answer {
  status: number
  headers: Headers
  body: { error?: string, code?: string, requestId?: string, details?: Record<string, unknown> }
}

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

/** All answers of a connection that has ended; each has a Content-Length. */
function answersIn (bytes: string): Answer[] {
  const answers: Answer[] = []
  while (bytes.length > 0) {
    const [head = ''] = bytes.split('\r\n\r\n', 1)
    const [first = '', ...lines] = head.split('\r\n')
    const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/s, 2) as [string, string]))
    const begin = head.length + 4
    const end = begin + Number(headers.get('content-length'))
    const text = bytes.slice(begin, end)
    const isJson = headers.get('content-type') === 'application/json'
    answers.push({ status: Number(first.split(' ')[1]), headers, body: isJson ? JSON.parse(text) as Answer['body'] : {} })
    bytes = bytes.slice(end)
  }
  return answers
}

describe('requests that Node\'s parser refuses', () => {
  const bodies = new BodyBudget(2 ** 20)
  const arrivals = new EventEmitter()
  let gates: Array<(answer: string) => void> = []
  let bare: BareApp
  let port: number
  before(async () => {
    bare = await bareApp({}, { bodies })
    const thread = new BodyThread(2 ** 20)
    bare.app.addHook('onClose', () => thread.close())
    await bare.app.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('*', createBodyReader(bodies, thread.inflate, () => 2 ** 20))
      scope.post('/held', { config: { access: 'health' } }, () => {
        return new Promise((resolve) => {
          gates.push(resolve)
          arrivals.emit('held')
        })
      })
      scope.post('/streamed', {
        config: { access: 'health' },
        onRequest: async (_request, reply) => {
          reply.hijack()
          reply.raw.writeHead(200, { 'content-length': 10 })
          reply.raw.write('half', () => arrivals.emit('streamed'))
        }
      }, async () => {})
    })
    await bare.app.listen({ port: 0, host: '127.0.0.1' })
    port = (bare.app.server.address() as AddressInfo).port
  })
  after(() => bare.close())
  beforeEach(() => { gates = [] })

  /** Opens a connection; `answers` are there when both ends of it are closed. */
  const visit = async () => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    let received = ''
    socket.on('data', (piece: string) => { received += piece }).on('error', () => {})
    const [[accepted]] = await Promise.all([once(bare.app.server, 'connection'), once(socket, 'connect')]) as [[Socket], []]
    const closed = Promise.all([once(socket, 'close'), once(accepted, 'close')])
    return { socket, accepted, closed, answers: closed.then(() => answersIn(received)) }
  }

  const tell = async (bytes: string): Promise<Answer> => {
    const { socket, answers } = await visit()
    socket.write(bytes)
    const [answer, ...more] = await answers
    assert.deepEqual(more, [])
    return answer!
  }

  const count = async (status: number): Promise<number> => {
    const { values } = await bare.metrics.registry.getSingleMetric('bankswitch_http_requests_total')!.get()
    return values.find(({ labels }) => labels.route === '(none)' && labels.method === '(none)' && labels.status === status)
      ?.value ?? 0
  }

  const HELD = 'POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello'

  for (const [what, bytes, status, code, expected] of [
    ['a line that is none', 'NONSENSE\r\n\r\n', 400, 'REQUEST_UNREADABLE', 'RFC 9112'],
    ['TLS', '\x16\x03\x01\x02\x00', 400, 'REQUEST_UNREADABLE', 'RFC 9112'],
    [
      'two ways to tell the length', 'POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      400, 'REQUEST_UNREADABLE', 'RFC 9112'
    ],
    ['a header of 20 kB', `GET /livez HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE', 'at most 16384 bytes together'],
    [
      'chunks that are mostly extensions',
      `POST /held HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=${'a'.repeat(20_000)}\r\n`,
      413, 'REQUEST_TOO_LARGE', undefined
    ]
  ] as const) {
    it(`${what}: ${status}`, async () => {
      const before = await count(status)
      const { status: received, headers, body } = await tell(bytes)
      assert.equal(received, status)
      assert.equal(body.code, code)
      assert.equal(body.details?.expected, expected)
      assert.match(body.requestId!, UUID)
      assert.equal(headers.get('x-request-id'), body.requestId)
      assert.equal(headers.get('content-type'), 'application/json')
      assert.equal(headers.get('connection'), 'close')
      assert.equal(headers.get('x-content-type-options'), 'nosniff')
      assert.equal(await count(status), before + 1)
      assert.equal(bodies.bytes, 0)
    })
  }

  /** Node looks for such connections every few seconds; this is what it does with one. */
  const timeOut = (accepted: Socket) => {
    bare.app.server.emit('clientError', Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), accepted)
  }

  const untilRead = async (accepted: Socket, bytes: number) => {
    while (accepted.bytesRead < bytes) await new Promise(setImmediate)
  }

  for (const [what, sent] of [['headers come', 12], ['body comes', HELD.length - 2]] as const) {
    it(`a request whose ${what} too slowly: 408, and it is not acted on when the rest comes`, async () => {
      const { socket, accepted, answers } = await visit()
      const over = new Promise((resolve) => accepted.once('close', resolve))
      socket.write(HELD.slice(0, sent))
      await untilRead(accepted, sent)
      timeOut(accepted)
      socket.write(HELD.slice(sent))
      // The rest of a body may meet a closed connection, whose reset takes the answer with it.
      const given = (await answers.catch(() => [])).map(({ status, body }) => `${status} ${body.code}`)
      assert.ok(given.length === 0 ? what === 'body comes' : given.join() === '408 REQUEST_TOO_SLOW', given.join())
      await over
      assert.equal(gates.length, 0)
      assert.equal(bodies.bytes, 0)
    })
  }

  it('a body that stops: 408', async () => {
    const { socket, accepted, answers } = await visit()
    socket.write(HELD.slice(0, -2))
    await untilRead(accepted, HELD.length - 2)
    timeOut(accepted)
    assert.deepEqual((await answers).map(({ status, body }) => [status, body.code]), [[408, 'REQUEST_TOO_SLOW']])
    assert.deepEqual([gates.length, bodies.bytes], [0, 0])
  })

  it('a slow request that has come, while an answer before it was owed, is answered', async () => {
    const { socket, accepted, answers } = await visit()
    socket.write(HELD + HELD.slice(0, 12))
    await untilRead(accepted, HELD.length + 12)
    timeOut(accepted)
    socket.write(HELD.slice(12).replace('Host', 'Connection: close\r\nHost'))
    while (gates.length < 2) await once(arrivals, 'held')
    gates[0]!('first')
    gates[1]!('second')
    assert.deepEqual((await answers).map(({ status }) => status), [200, 200])
  })

  it('HTTP/1.1 without a host: 400', async () => {
    const { status, body } = await tell('GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n')
    assert.deepEqual([status, body.code, body.details], [400, 'REQUEST_INVALID', { expected: 'Host' }])
    assert.equal((await tell('GET /livez HTTP/1.0\r\n\r\n')).status, 200)
  })

  it('an expectation that nobody knows is ignored', async () => {
    const { status } = await tell('GET /livez HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nConnection: close\r\n\r\n')
    assert.equal(status, 200)
  })

  it('the refusal comes behind the answers that are owed', async () => {
    const { socket, answers } = await visit()
    socket.write(`${HELD}${HELD}NONSENSE\r\n\r\n`)
    while (gates.length < 2) await once(arrivals, 'held')
    gates[1]!('second')
    gates[0]!('first')
    assert.deepEqual((await answers).map(({ status }) => status), [200, 200, 400])
    assert.equal(bodies.bytes, 0)
  })

  it('a request whose body breaks is refused, and what was read of it given back', async () => {
    const { status, body } = await tell('POST /held HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nNONSENSE\r\n')
    assert.deepEqual([status, body.code], [400, 'REQUEST_UNREADABLE'])
    assert.equal(bodies.bytes, 0)
  })

  it('behind half an answer there is no room for another', async () => {
    const { socket, answers } = await visit()
    socket.write('POST /streamed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
    await once(arrivals, 'streamed')
    socket.write('NONSENSE\r\n')
    assert.equal((await answers).length, 1)
  })

  for (const [what, sent] of [
    ['in the middle of a request', `${HELD}POST /held HTTP/1.1\r\nHo`], ['behind nonsense', `${HELD}NONSENSE\r\n\r\n`]
  ] as const) {
    it(`a client that leaves ${what} leaves nothing behind`, async () => {
      const { socket, closed } = await visit()
      socket.write(sent)
      await once(arrivals, 'held')
      assert.equal(bodies.bytes, 5)
      socket.destroy()
      await closed
      assert.equal(bodies.bytes, 0)
    })
  }
})
