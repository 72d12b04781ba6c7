/**
 * What clients hold comes back whatever they do: they pipeline requests, send parts of one, leave at any byte. The
 * number of clients is FUZZ_RUNS, the seed TEST_SEED.
 */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { it } from 'node:test'
import { gzipSync } from 'node:zlib'
import { leavingSignal } from '#src/http/limits/exchange-end.js'
import { BodyThread } from '#src/http/open-inference/body-thread.js'
import { BodyBudget } from '#src/http/limits/body-budget.js'
import { createBodyReader } from '#src/http/limits/request-body.js'
import { bareApp } from '../support/bare-app.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const CLIENTS = Number(process.env.FUZZ_RUNS ?? 1000)
const CLIENTS_AT_ONCE = 16
const REQUESTS_MAX = 6
const BODY_BYTES_MAX = 3000

interface Sent {
  bytes: Buffer
  /** Requests of which all bytes are sent. */
  whole: number
}

/** Some requests in a row, cut off somewhere. */
function requestsOf (client: number, uniform: () => number): Sent {
  const below = (count: number) => Math.floor(uniform() * count)
  const requests = Array.from({ length: 1 + below(REQUESTS_MAX) }, () => {
    const plain = Buffer.alloc(below(BODY_BYTES_MAX), 'body')
    const isSqueezed = below(3) === 0
    const body = isSqueezed ? gzipSync(plain) : plain
    const head = `POST /${below(2) === 0 ? 'answered' : 'pending'} HTTP/1.1\r\nHost: x\r\nX-Client: ${client}\r\n` +
      (isSqueezed ? 'Content-Encoding: gzip\r\n' : '')
    return Buffer.concat(below(2) === 0
      ? [Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`), body]
      : [
          Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`),
          ...(body.length === 0 ? [] : [Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')]),
          Buffer.from('0\r\n\r\n')
        ])
  })
  const all = Buffer.concat(requests)
  const bytes = below(2) === 0 ? all : all.subarray(0, below(all.length + 1))
  let end = 0
  return { bytes, whole: requests.filter(({ length }) => (end += length) <= bytes.length).length }
}

async function serverOf (bodies: BodyBudget) {
  const arrivals = new EventEmitter().setMaxListeners(CLIENTS_AT_ONCE)
  const bare = await bareApp({ BANKSWITCH_LOG_LEVEL: 'silent' }, { bodies })
  const thread = new BodyThread(2 ** 20)
  bare.app.addHook('onClose', () => thread.close())
  const signals: AbortSignal[] = []
  const closed: Array<Promise<unknown>> = []
  await bare.app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', createBodyReader(bodies, thread.inflate, () => 2 ** 20))
    for (const kind of ['answered', 'pending']) {
      scope.post(`/${kind}`, { config: { access: 'health' }, logLevel: 'silent' }, async (request, reply) => {
        signals.push(leavingSignal(reply.raw))
        arrivals.emit(String(request.headers['x-client']))
        // Only the client's leaving ends it.
        return kind === 'answered' ? 'answer' : await new Promise(() => {})
      })
    }
  })
  bare.app.server.on('connection', (socket: Socket) => {
    closed.push(new Promise((resolve) => socket.once('close', resolve)))
  })
  await bare.app.listen({ port: 0, host: '127.0.0.1' })
  return { bare, arrivals, signals, closed, port: (bare.app.server.address() as AddressInfo).port }
}

it(`bodies of ${CLIENTS} clients that pipeline and leave leave nothing behind`, async () => {
  const bodies = new BodyBudget(2 ** 30)
  const { bare, arrivals, signals, closed, port } = await serverOf(bodies)
  const uniform = seededUniform(runSeed)
  let heldMax = 0
  const visit = async (client: number) => {
    const { bytes, whole } = requestsOf(client, uniform)
    const isPatient = uniform() < 0.7
    let missing = whole
    const arrived = new Promise<void>((resolve) => {
      const count = () => { if (missing-- <= 0) resolve() }
      arrivals.on(String(client), count)
      count()
    })
    const socket = connect(port, '127.0.0.1').on('error', () => {}).resume()
    await once(socket, 'connect')
    await new Promise((resolve) => socket.write(bytes, resolve))
    if (isPatient) await arrived
    heldMax = Math.max(heldMax, bodies.bytes)
    socket.destroy()
    arrivals.removeAllListeners(String(client))
  }
  try {
    let next = 0
    await Promise.all(Array.from({ length: CLIENTS_AT_ONCE }, async () => {
      while (next < CLIENTS) await visit(next++)
    }))
    // Connections are accepted in turn: with this one, those of all who left without waiting have been.
    const last = connect(port, '127.0.0.1')
    last.write('POST /answered HTTP/1.1\r\nHost: x\r\nX-Client: last\r\nContent-Length: 0\r\n\r\n')
    await once(arrivals, 'last')
    last.destroy()
    await Promise.all(closed)
    const [held] = (await bare.metrics.registry.getSingleMetric('bankswitch_body_bytes')!.get()).values
    assert.ok(heldMax > 0)
    assert.equal(held!.value, 0)
    assert.equal(bodies.isUsable, true)
    assert.ok(signals.length > CLIENTS)
  } finally {
    await bare.close()
  }
})

it('a request behind an unanswered one is aborted when its client leaves', async () => {
  const bodies = new BodyBudget(2 ** 20)
  const { bare, arrivals, signals, port } = await serverOf(bodies)
  try {
    const socket = connect(port, '127.0.0.1')
    const head = 'POST /pending HTTP/1.1\r\nHost: x\r\nX-Client: one\r\nContent-Length: 5\r\n\r\nhello'
    socket.write(head)
    await once(arrivals, 'one')
    socket.write(head)
    await once(arrivals, 'one')
    const [, second] = signals
    assert.equal(bodies.bytes, 10)
    socket.destroy()
    if (!second!.aborted) await once(second!, 'abort')
    assert.equal(bodies.bytes, 0)
  } finally {
    await bare.close()
  }
})
