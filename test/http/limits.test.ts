import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { after, before, describe, it, type TestContext } from 'node:test'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { fastify } from 'fastify'
import { senderOf } from '#src/http/access/sender.js'
import { BodyBudget, type BodyShare } from '#src/http/limits/body-budget.js'
import { ownersOf } from '#src/http/limits/body-owners.js'
import { HeldRefusals } from '#src/http/limits/held-refusals.js'
import { RowEstimates } from '#src/http/limits/row-estimates.js'
import { runtimeErrors } from '#src/runtime/errors.js'
import { storeErrors } from '#src/store/errors.js'
import { hasCode } from '../support/errors.js'
import { formOf } from '../support/form.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'
import type { Caller } from '#src/access/caller.js'
import type { Owner } from '#src/http/limits/owned-bytes.js'
import type { FastifyRequest } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'

const URL_INFER = '/v2/models/traffic-signs/infer'

/** Longer than any test waits: what ends such a hold is never the clock. */
const FOR_EVER_MS = 60_000

const settled = async (promise: Promise<unknown>) => await Promise.race([promise.then(() => true), new Promise((resolve) => {
  setImmediate(() => resolve(false))
})])

describe('HeldRefusals', () => {
  it('holds until the client leaves', async () => {
    const refusals = new HeldRefusals(FOR_EVER_MS, 10)
    const client = new EventEmitter()
    const held = refusals.hold(client)
    assert.equal(await settled(held), false)
    assert.equal(refusals.count, 1)
    client.emit('close')
    assert.equal(await held, true)
    assert.equal(refusals.count, 0)
    assert.equal(client.listenerCount('close'), 0)
  })

  it('holds for its time', async () => {
    const client = new EventEmitter()
    assert.equal(await new HeldRefusals(2, 10).hold(client), true)
    assert.equal(client.listenerCount('close'), 0)
  })

  it('lets all go when told, and holds none afterwards', async () => {
    const refusals = new HeldRefusals(FOR_EVER_MS, 10)
    const held = [refusals.hold(new EventEmitter()), refusals.hold(new EventEmitter())]
    refusals.release()
    assert.deepEqual(await Promise.all(held), [true, true])
    assert.equal(await refusals.hold(new EventEmitter()), true)
  })

  it('has room for so many and says when there is none; 0 ms holds nothing', async () => {
    const refusals = new HeldRefusals(FOR_EVER_MS, 1)
    const first = refusals.hold(new EventEmitter())
    assert.equal(await refusals.hold(new EventEmitter()), false)
    refusals.release()
    await first
    assert.equal(await new HeldRefusals(0, 0).hold(new EventEmitter()), true)
  })
})

it('counts addresses of one IPv6 network as one sender, and keys by themselves', () => {
  const raw = { socket: {} } as IncomingMessage
  const sender = (ip: string) => senderOf({ caller: undefined, ip, raw })
  assert.equal(sender('2001:db8:1:2:3:4:5:6'), sender('2001:db8:1:2::7'))
  assert.notEqual(sender('2001:db8:1:2::7'), sender('2001:db8:1:3::7'))
  assert.notEqual(sender('192.0.2.1'), sender('192.0.2.2'))
  const caller = { id: 'one' } as Caller
  assert.equal(senderOf({ caller, ip: '192.0.2.1', raw }), senderOf({ caller, ip: '192.0.2.2', raw }))
})

describe('BodyBudget', () => {
  it('counts all requests together and takes back what a closed one had', () => {
    const budget = new BodyBudget(100)
    const [first, second] = [open(budget, 'day'), open(budget, 'day')]
    first.share.add(60)
    assert.throws(() => second.share.add(41), hasCode('BODIES_FULL'))
    second.share.add(40)
    assert.equal(budget.bytes, 100)
    first.response.emit('close')
    assert.equal(budget.bytes, 40)
    first.share.add(1000)
    assert.equal(budget.bytes, 40)
  })

  it('keeps room for others when the bodies of one owner flood it, and lets one large body have it all', () => {
    const budget = new BodyBudget(1000)
    const flood = Array.from({ length: 12 }, () => open(budget, 'flood'))
    const taken = flood.filter(({ share }) => {
      try {
        share.add(100)
        return true
      } catch (error) {
        assert.ok(hasCode('BODIES_FULL')(error))
        return false
      }
    })
    assert.equal(taken.length, 8)
    const quiet = open(budget, 'quiet')
    quiet.share.add(150)
    assert.throws(() => open(budget, 'flood').share.add(10), hasCode('BODIES_FULL'))
    for (const { response } of [...taken, quiet]) response.emit('close')
    assert.equal(budget.bytes, 0)
    const { share } = open(budget, 'flood')
    for (let part = 0; part < 10; part++) share.add(100)
    assert.throws(() => share.add(1), hasCode('BODIES_FULL'))
  })
})

describe('owners of bodies', () => {
  it('share what they hold under each of their names', () => {
    const budget = new BodyBudget(1000)
    for (let at = 0; at < 8; at++) open(budget, 'address a', `domain ${at}`).share.add(100)
    assert.throws(() => open(budget, 'address a', 'domain 9').share.add(100), hasCode('BODIES_FULL'))
    open(budget, 'address b', 'domain 9').share.add(160)
    assert.throws(() => open(budget, 'address c', 'domain 9').share.add(10), hasCode('BODIES_FULL'))
  })

  it('of one address leave room for other domains when one is flooded, and for other addresses when all are', () => {
    const budget = new BodyBudget(10_000)
    const ownersFor = (ip: string, domain: string) => ownersOf({
      answering: { named: () => ({ domain }) }, domain: () => ({})
    } as never, {
      ip, params: { model: 'm' }, headers: { 'x-domain': domain }, routeOptions: { url: '/x', config: { access: 'inference' } }
    } as never)
    const fill = (ip: string, domain: string): number => {
      let taken = 0
      try {
        for (;;) {
          openFor(budget, ownersFor(ip, domain)).share.add(10)
          taken += 10
        }
      } catch (error) {
        assert.ok(hasCode('BODIES_FULL')(error))
        return taken
      }
    }
    assert.equal(fill('192.0.2.1', 'day'), 8000)
    assert.ok(fill('192.0.2.1', 'fog') > 1000)
    for (let domain = 0; domain < 50; domain++) fill('192.0.2.1', `domain ${domain}`)
    assert.ok(fill('192.0.2.2', 'night') > 400)
  })

  it('are the sender and the domain as they are, not as they are written', () => {
    const engine = {
      answering: { named: (_model: string, { header }: { header?: string }) => header === undefined ? undefined : { domain: header.split(':')[0] } },
      domain: (model: string, domain: string) => {
        if (model !== 'm' || domain !== 'day') throw storeErrors.DOMAIN_NOT_FOUND('there is none')
      }
    }
    const ownersFor = (model: string, domain: string | undefined, more = {}) => ownersOf(engine as never, {
      ip: '1.2.3.4',
      params: { model },
      headers: domain === undefined ? {} : { 'x-domain': domain },
      routeOptions: {
        url: '/v2/models/:model/infer', config: { access: 'inference' }
      },
      ...more
    } as never)
    const namesFor = (...given: Parameters<typeof ownersFor>) => ownersFor(...given).map(({ name }) => name)
    assert.deepEqual(namesFor('m', 'day'), ['address 1.2.3.4', 'inference m day'])
    assert.deepEqual(ownersFor('m', 'day:1'), ownersFor('m', 'day'))
    assert.deepEqual(namesFor('m', undefined), ['address 1.2.3.4', 'inference m '])
    assert.deepEqual(ownersFor('m', 'nothere1'), ownersFor('n', 'nothere2'))
    assert.deepEqual(namesFor('m', 'day', { caller: { id: 'k' } })[0], 'key k')
    assert.deepEqual(namesFor('m', 'x', { routeOptions: { url: '/a/:b', config: { access: 'administration' } } })[1], 'route /a/:b')
  })

  it('are the same however the path is escaped', async () => {
    const engine = { answering: { named: () => undefined }, domain: () => {} }
    const app = fastify()
    app.get('/v2/models/:model/infer', { config: { access: 'inference' } as never }, (request) => ownersOf(engine as never, request).map(({ name }) => name))
    const namesFor = async (path: string) => (await app.inject(path)).json()
    const plain = await namesFor('/v2/models/signs/infer')
    assert.equal(plain.length, 2)
    for (const path of ['/v2/models/sign%73/infer', '/v2/models/%73igns/infe%72']) assert.deepEqual(await namesFor(path), plain, path)
    assert.notDeepEqual(await namesFor('/v2/models/other/infer'), plain)
    await app.close()
  })
})

describe('BodyBudget.isUsable', () => {
  it('is false after a minute with next to no room, and true again with the first room', () => {
    let now = 0
    const budget = new BodyBudget(1600, () => now)
    const [large, small] = [open(budget, 'large'), open(budget, 'small')]
    large.share.add(1500)
    now += 1e6
    assert.equal(budget.isUsable, true, 'a sixteenth is free')
    small.share.add(1)
    assert.equal(budget.isUsable, true)
    now += 59_999
    assert.equal(budget.isUsable, true)
    now += 1
    assert.equal(budget.isUsable, false)
    small.response.emit('close')
    assert.equal(budget.isUsable, true)
  })

  it('tells whoever works on a body when its request is over', () => {
    const budget = new BodyBudget(100)
    const { share, response } = open(budget, 'day')
    const { signal } = share
    assert.equal(signal.aborted, false)
    response.emit('close')
    assert.throws(() => signal.throwIfAborted(), hasCode('REQUEST_ABORTED'))
    const late = open(budget, 'day')
    late.response.destroyed = true
    late.response.emit('close')
    assert.throws(() => late.share.signal.throwIfAborted(), hasCode('REQUEST_ABORTED'))
  })

  it('counts nothing for a connection that has ended already', () => {
    const budget = new BodyBudget(100)
    const request = {} as FastifyRequest
    budget.open(request, Object.assign(new EventEmitter(), { destroyed: true }) as never, [{ name: 'day' }])
    budget.shareOf(request).add(60)
    assert.equal(budget.bytes, 0)
  })
})

function open (budget: BodyBudget, ...names: string[]) {
  return openFor(budget, names.map((name) => ({ name })))
}

function openFor (budget: BodyBudget, owners: Owner[]) {
  const request = {} as FastifyRequest
  const response = Object.assign(new EventEmitter(), { destroyed: false })
  budget.open(request, response as never, owners)
  return { share: budget.shareOf(request), response }
}

describe('RowEstimates', () => {
  it('judges by the bodies before, and guesses one row when it knows nothing', () => {
    const estimates = new RowEstimates()
    assert.equal(estimates.rowsOf('m', 1000), 1)
    estimates.observe('m', 1000, 10)
    assert.equal(estimates.rowsOf('m', 1000), 10)
    assert.equal(estimates.rowsOf('other', 1000), 1)
    assert.equal(estimates.rowsOf('m', NaN), 1)
    assert.equal(estimates.rowsOf('m', 3), 1)
  })
})

/** Settles when the bodies to come have been counted with so many bytes. */
function bytesCounted (t: TestContext, expected: number): Promise<void> {
  const { shareOf } = BodyBudget.prototype
  let counted = 0
  return new Promise((resolve) => {
    t.mock.method(BodyBudget.prototype, 'shareOf', function (this: BodyBudget, request: FastifyRequest): BodyShare {
      const share = shareOf.call(this, request)
      const add = (bytes: number): void => {
        share.add(bytes)
        counted += bytes
        if (counted >= expected) resolve()
      }
      return { add, giveBack: (bytes) => share.giveBack(bytes), signal: share.signal }
    })
  })
}

describe('load', () => {
  let service: Service
  let port: number
  const { payload, headers } = binaryRequest({
    shape: [1, 3, 32, 32], values: Float32Array.from({ length: 3072 }, (_, at) => Math.sin(at))
  })
  const post = (body: Buffer, more: Record<string, string> = {}) => {
    return service.app.inject({ method: 'POST', url: URL_INFER, payload: body, headers: { ...headers, ...more } })
  }
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return socket
  }
  const answerOf = async (socket: Socket): Promise<string> => {
    const [answer] = await once(socket, 'data') as [Buffer]
    socket.destroy()
    return answer.toString()
  }

  before(async () => {
    service = await startService({ BANKSWITCH_BODY_BYTES: '100000', BANKSWITCH_BODIES_BYTES: '120000', BANKSWITCH_REFUSAL_HOLD_MS: '60000' })
    await service.app.listen({ port: 0, host: '127.0.0.1' })
    port = (service.app.server.address() as AddressInfo).port
  })
  after(() => service.close())

  it('inflates gzip and deflate; the header length is that of the inflated JSON', async () => {
    const plain = firstOutput(parseAnswer(await post(payload)))
    for (const [encoding, squeeze] of [['gzip', gzipSync], ['deflate', deflateSync], ['GZIP', gzipSync]] as const) {
      const response = await post(squeeze(payload), { 'content-encoding': encoding })
      assert.equal(response.statusCode, 200, response.payload)
      assert.deepEqual(firstOutput(parseAnswer(response)), plain)
    }
    assert.equal((await post(payload, { 'content-encoding': 'identity' })).statusCode, 200)
  })

  it('limits a body after inflating', async () => {
    const bomb = gzipSync(Buffer.alloc(10_000_000))
    assert.ok(bomb.length < 20_000)
    const response = await post(bomb, { 'content-encoding': 'gzip' })
    assert.equal(response.statusCode, 413)
    assert.equal(response.json().code, 'REQUEST_TOO_LARGE')
    assert.equal(response.headers.connection, 'close')
  })

  it('refuses what does not inflate and what it cannot inflate', async () => {
    for (const body of [payload, deflateRawSync(payload), gzipSync(payload).subarray(0, 200)]) {
      const response = await post(body, { 'content-encoding': body[0] === 0x1f ? 'gzip' : 'deflate' })
      assert.equal(response.statusCode, 400)
      assert.equal(response.json().code, 'CONTENT_ENCODING_INVALID')
    }
    for (const encoding of ['br', 'gzip, gzip', 'constructor']) {
      const response = await post(payload, { 'content-encoding': encoding })
      assert.equal(response.statusCode, 415, encoding)
      assert.equal(response.headers['accept-encoding'], 'gzip, deflate')
    }
  })

  it('refuses a body that announces too much before reading it, and closes', async () => {
    const socket = await open()
    socket.write(`POST ${URL_INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n`)
    const answer = await answerOf(socket)
    assert.match(answer, /^HTTP\/1.1 413 /)
    assert.match(answer, /connection: close\r\n/i)
  })

  it('gives a body\'s room back when its client leaves, and refuses bodies beyond the room', async (t) => {
    const hold = t.mock.method(HeldRefusals.prototype, 'hold', async () => true)
    const half = await open()
    const received = bytesCounted(t, 80_000)
    const begun = once(service.app.server, 'request')
    half.write(`POST ${URL_INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n`)
    half.write(Buffer.alloc(80_000))
    const [, response] = await begun as [IncomingMessage, ServerResponse]
    await received
    const large = Buffer.alloc(60_000)
    const refused = await post(large)
    assert.equal(refused.statusCode, 429)
    assert.equal(refused.json().code, 'BODIES_FULL')
    assert.ok(Number(refused.headers['retry-after']) >= 1)
    assert.equal(hold.mock.callCount(), 1)
    assert.equal((await post(payload)).statusCode, 200, 'a small one still fits')
    const gone = once(response, 'close')
    half.destroy()
    await gone
    assert.equal((await post(large)).json().code, 'PROTOCOL_INVALID')
  })

  it('holds refusals, lets them go when it stops, and answers them', async (t) => {
    const other = await startService({ BANKSWITCH_REFUSAL_HOLD_MS: '60000' })
    await other.app.listen({ port: 0, host: '127.0.0.1' })
    const refused = new Promise<void>((resolve) => {
      const { hold } = HeldRefusals.prototype
      t.mock.method(HeldRefusals.prototype, 'hold', function (this: HeldRefusals, response: EventEmitter) {
        resolve()
        return hold.call(this, response)
      })
    })
    t.mock.method(other.engine.answering, 'requireRoom', () => { throw runtimeErrors.QUEUE_FULL('full') })
    const socket = connect((other.app.server.address() as AddressInfo).port, '127.0.0.1')
    socket.write(`POST ${URL_INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n`)
    await refused
    const answer = once(socket, 'data')
    await other.close()
    assert.match(String((await answer)[0]), /^HTTP\/1.1 429 /)
    socket.destroy()
  })

  it('closes connections beyond their number', async () => {
    const small = await startService({ BANKSWITCH_CONNECTIONS: '2' })
    await small.app.listen({ port: 0, host: '127.0.0.1' })
    try {
      const to = (small.app.server.address() as AddressInfo).port
      const sockets = [connect(to, '127.0.0.1'), connect(to, '127.0.0.1')]
      for (const socket of sockets) {
        socket.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
        assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 200 /)
      }
      const third = connect(to, '127.0.0.1').on('error', () => {})
      await once(third, 'close')
      for (const socket of sockets) socket.destroy()
    } finally {
      await small.close()
    }
  })

  it('takes a deadline from the header or the parameter, the earlier counts, and refuses what is none', async (t) => {
    const infer = t.mock.method(service.engine.answering, 'infer', async (...given: unknown[]) => {
      const { signal } = given[1] as { signal: AbortSignal }
      signal.throwIfAborted()
      await once(signal, 'abort')
      throw signal.reason
    })
    const patient = { 'x-timeout-ms': '50000' }
    for (const [header, timeout] of [[{ 'x-timeout-ms': '1' }, undefined], [patient, 1000], [{}, 1000], [{ 'x-timeout-ms': '1' }, 9e99]] as const) {
      const parameters = timeout === undefined ? {} : { parameters: { timeout } }
      const request = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) }, parameters)
      const response = await service.app.inject({
        method: 'POST', url: URL_INFER, payload: request.payload, headers: { ...request.headers, ...header }
      })
      assert.equal(response.statusCode, 504)
      assert.equal(response.json().code, 'DEADLINE_EXCEEDED')
    }
    infer.mock.restore()
    assert.equal((await post(payload, { 'x-timeout-ms': '0' })).statusCode, 200, '0 is no limit')
    for (const wrong of ['soon', '-1', '', 'NaN']) {
      assert.equal((await post(payload, { 'x-timeout-ms': wrong })).json().code, 'REQUEST_INVALID', `"${wrong}"`)
    }
  })

  it('counts the files of a form, too', async (t) => {
    t.mock.method(HeldRefusals.prototype, 'hold', async () => true)
    const files = [90_000, 40_000].map((bytes) => ({ field: 'images', name: 'x.png', bytes: Buffer.alloc(bytes) }))
    const { payload: form, headers: type } = formOf({}, files)
    const response = await service.app.inject({
      method: 'POST',
      url: '/admin/models/traffic-signs/domains/fog/calibrations',
      payload: form,
      headers: { ...ADMIN, ...type }
    })
    assert.equal(response.statusCode, 429, response.payload)
    assert.equal(response.json().code, 'BODIES_FULL')
  })

  it('inflates a bank, too', async () => {
    const { rawPayload } = await service.app.inject({ url: '/admin/models/traffic-signs/domains/fog/versions/1', headers: ADMIN })
    const response = await service.app.inject({
      method: 'PUT',
      url: '/admin/models/traffic-signs/domains/squeezed',
      payload: gzipSync(rawPayload),
      headers: { ...ADMIN, 'content-type': 'application/octet-stream', 'content-encoding': 'gzip' }
    })
    assert.equal(response.statusCode, 201, response.payload)
  })
})
