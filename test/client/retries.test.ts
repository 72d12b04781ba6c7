/** What the client does about refusals, broken connections, aborted signals and answers that are not the server's. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { BankswitchError, Client } from '@bankswitch/client'
import { answer, fakeFetch, refusal, type Reply } from '../support/fake-fetch.js'

const URL = 'http://server.test'
const broken = () => new TypeError('fetch failed')
const models = () => answer(200, { models: [] })
const bank = Uint8Array.of(1)

/** Expects an error of the client with this code, and gives it back. */
async function failing (call: Promise<unknown>, code: string): Promise<BankswitchError> {
  const error = await call.then(() => assert.fail('it did not fail'), (error: unknown) => error)
  assert.ok(error instanceof BankswitchError, String(error))
  assert.equal(error.code, code)
  return error
}

describe('another try', () => {
  const READING: ReadonlyArray<readonly [string, (client: Client) => Promise<unknown>]> = [
    ['a list', (client) => client.models()],
    ['an inference', (client) => client.infer('m', { x: { data: new Float32Array(1), shape: [1, 1] } })],
    ['a picture', (client) => client.predict('m', bank)]
  ]
  const CHANGING: ReadonlyArray<readonly [string, (client: Client) => Promise<unknown>]> = [
    ['a registration', (client) => client.register('m', 'd', bank)],
    ['an activation', (client) => client.activate('m', 'd', 1)],
    ['a removal', (client) => client.deleteDomain('m', 'd')],
    ['a calibration', (client) => client.startCalibration('m', 'd', [bank])],
    ['a load of the repository', (client) => client.request('POST /v2/repository/models/{model}/load', { path: { model: 'm@d' }, body: {} })]
  ]
  const refusals: ReadonlyArray<readonly [string, () => Reply, boolean, boolean]> = [
    ['429', () => refusal(429, 'QUEUE_FULL'), true, true],
    ['429 of a proxy', () => new Response('slow down', { status: 429 }), true, true],
    ['503 of a model that is not ready', () => refusal(503, 'MODEL_NOT_READY'), true, true],
    ['503 of a change that has been made', () => refusal(503, 'AUDIT_UNWRITABLE'), true, false],
    ['503 of a proxy', () => new Response('gone', { status: 503 }), true, false],
    ['a broken connection', broken, true, false],
    ['an answer that breaks off', () => new Response(new ReadableStream({ start: (c) => c.error(new Error('cut')) })), true, false],
    ['500', () => refusal(500, 'STORE_CORRUPT'), false, false],
    ['504', () => refusal(504, 'DEADLINE_EXCEEDED'), false, false],
    ['400', () => refusal(400, 'PROTOCOL_INVALID'), false, false]
  ]
  for (const [name, reply, ofReading, ofChange] of refusals) {
    for (const [calls, isAgain, what] of [[READING, ofReading, 'changes nothing'], [CHANGING, ofChange, 'changes something']] as const) {
      it(`${name}: ${isAgain ? 'is made' : 'is not made'} by what ${what}`, async () => {
        for (const [call, make] of calls) {
          const fake = fakeFetch(reply(), refusal(404, 'MODEL_NOT_FOUND'))
          await assert.rejects(make(new Client(URL, fake.options)), BankswitchError)
          assert.equal(fake.asked.length, isAgain ? 2 : 1, call)
          assert.deepEqual(fake.asked.map(({ url }) => url), Array(fake.asked.length).fill(fake.asked[0]!.url))
        }
      })
    }
  }

  it('waits as long as Retry-After says, in seconds or until a date', async () => {
    const date = new Date(Date.now() + 5000).toUTCString()
    const fake = fakeFetch(refusal(429, 'QUEUE_FULL', { 'retry-after': '7' }), refusal(503, 'POOL_CLOSED', { 'retry-after': date }), models())
    assert.deepEqual(await new Client(URL, fake.options).models(), [])
    const [first, second] = fake.waits
    assert.equal(first, 7000)
    assert.ok(second! > 0 && second! <= 5000, String(second))
  })

  it('waits half to all of a span that doubles where nothing says how long', async () => {
    const fake = fakeFetch(broken(), refusal(429, 'QUEUE_FULL'), refusal(429, 'QUEUE_FULL', { 'retry-after': 'soon' }), models())
    await new Client(URL, { ...fake.options, retries: 3 }).models()
    assert.equal(fake.waits.length, 3)
    for (const [at, ms] of fake.waits.entries()) assert.ok(ms >= 250 * 2 ** at && ms <= 500 * 2 ** at, `${at}: ${ms}`)
  })

  it('is made twice, or as often as was said', async () => {
    for (const [retries, tries] of [[undefined, 3], [0, 1], [4, 5]] as const) {
      const fake = fakeFetch(...Array.from({ length: tries }, () => refusal(429, 'RATE_LIMITED', { 'retry-after': '1' })))
      const error = await failing(new Client(URL, { ...fake.options, retries }).models(), 'RATE_LIMITED')
      assert.equal(error.retryAfterMs, 1000)
      assert.equal(fake.asked.length, tries)
    }
  })

  it('is not made when the wait would be longer than the client waits', async () => {
    for (const [retryWaitMsMax, tries] of [[undefined, 1], [40_000, 2]] as const) {
      const fake = fakeFetch(refusal(429, 'RATE_LIMITED', { 'retry-after': '31' }), models())
      const call = new Client(URL, { ...fake.options, retryWaitMsMax }).models()
      await (tries === 1 ? failing(call, 'RATE_LIMITED') : call)
      assert.equal(fake.asked.length, tries)
    }
  })

  it('has what is left of the time for the call, and is not made when there would be none', async (t) => {
    let nowMs = 5
    t.mock.method(performance, 'now', () => nowMs)
    const wait = async (ms: number) => { nowMs += ms }
    const input = { x: { data: new Float32Array(1), shape: [1, 1] } }
    const fake = fakeFetch(refusal(429, 'QUEUE_FULL', { 'retry-after': '20' }), refusal(429, 'QUEUE_FULL', { 'retry-after': '30' }))
    const call = new Client(URL, { ...fake.options, wait }).infer('m', input, { timeoutMs: 50_000 })
    await failing(call, 'QUEUE_FULL')
    assert.deepEqual(fake.asked.map(({ headers }) => headers.get('x-timeout-ms')), ['50000', '30000'])
    const short = fakeFetch(refusal(429, 'QUEUE_FULL', { 'retry-after': '1' }))
    await failing(new Client(URL, short.options).infer('m', input, { timeoutMs: 999 }), 'QUEUE_FULL')
    assert.deepEqual(short.waits, [])
  })

  it('sends the same body again', async () => {
    const fake = fakeFetch(refusal(429, 'BODIES_FULL'), answer(201, { version: 1 }))
    await new Client(URL, fake.options).register('m', 'd', Uint8Array.of(1, 2, 3))
    assert.deepEqual(fake.asked.map(({ body }) => body), [Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2, 3)])
  })
})

describe('an aborted signal', () => {
  const reason = new Error('enough')

  it('that is aborted already asks nothing', async () => {
    const fake = fakeFetch()
    await assert.rejects(new Client(URL, fake.options).models({ signal: AbortSignal.abort(reason) }), reason)
    assert.deepEqual(fake.asked, [])
  })

  it('ends a call under way, whose connection counts as broken, with its reason', async () => {
    for (const call of [(client: Client, signal: AbortSignal) => client.models({ signal }), (client: Client, signal: AbortSignal) => client.deleteDomain('m', 'd', { signal })]) {
      const controller = new AbortController()
      const fake = fakeFetch(async (signal) => await new Promise((_resolve, reject) => {
        signal!.addEventListener('abort', () => reject(broken()))
        controller.abort(reason)
      }))
      await assert.rejects(call(new Client(URL, fake.options), controller.signal), reason)
      assert.deepEqual(fake.waits, [])
    }
  })

  it('ends the wait for another try, and leaves no timer', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const controller = new AbortController()
    const fake = fakeFetch(async () => {
      // Once the answer is there: the wait has begun, or is about to.
      setImmediate(() => controller.abort(reason))
      return refusal(429, 'QUEUE_FULL', { 'retry-after': '20' })
    })
    const { fetch } = fake.options
    await assert.rejects(new Client(URL, { fetch }).models({ signal: controller.signal }), reason)
    assert.equal(fake.asked.length, 1)
    assert.equal(timers(), before)
  })

  it('is let go of when a wait has passed', async () => {
    const { signal } = new AbortController()
    const { fetch } = fakeFetch(refusal(429, 'QUEUE_FULL', { 'retry-after': '0' }), models()).options
    await new Client(URL, { fetch }).models({ signal })
    assert.deepEqual(getEventListeners(signal, 'abort'), [])
  })

  it('cancels the job of a calibration', async () => {
    const controller = new AbortController()
    const job = { id: '7', progress: 0.5, subject: {}, createdAt: '' }
    const fake = fakeFetch(
      answer(202, { id: '7', state: 'queued' }), answer(200, { ...job, state: 'running' }), answer(200, { ...job, state: 'cancelled' })
    )
    const call = new Client(URL, fake.options).calibrate('m', 'd', [bank], { signal: controller.signal, onProgress: () => controller.abort(reason) })
    await assert.rejects(call, reason)
    assert.deepEqual(fake.asked.map(({ method, url }) => `${method} ${url.slice(URL.length)}`), [
      'POST /admin/models/m/domains/d/calibrations', 'GET /admin/jobs/7', 'DELETE /admin/jobs/7'
    ])
  })
})

describe('an answer that is not the server\'s', () => {
  it('is told with its status', async () => {
    for (const [reply, status, code] of [
      [new Response('<h1>Bad Gateway</h1>', { status: 502 }), 502, 'ANSWER_UNREADABLE'],
      [answer(404, { message: 'no' }, { 'x-request-id': 'p1' }), 404, 'ANSWER_UNREADABLE'],
      [new Response('<h1>Welcome</h1>', { headers: { 'content-type': 'application/json' } }), 200, 'ANSWER_UNREADABLE']
    ] as const) {
      const { options } = fakeFetch(reply)
      assert.equal((await failing(new Client(URL, options).models(), code)).status, status)
    }
  })

  it('that breaks off carries its cause', async () => {
    const { options } = fakeFetch(broken())
    const { status, cause, message } = await failing(new Client(URL, { ...options, retries: 0 }).models(), 'CONNECTION_FAILED')
    assert.deepEqual([status, (cause as Error).message], [undefined, 'fetch failed'])
    assert.match(message, /http:\/\/server\.test\/v1\/models/)
  })
})

describe('what cannot be sent', () => {
  const client = new Client(URL, fakeFetch().options)

  it('is a TypeError that says what is expected, and asks nothing', async () => {
    for (const [call, message] of [
      [() => client.domain('m', '..'), /"\.\." is no domain: expected a name/],
      [() => client.domains(''), /"" is no model: expected a name/],
      [() => client.predict('m', bank, { version: 2 }), /pass \{ domain, version \}/],
      [() => client.predict('m', bank, { domain: 'ночь' }), /no domain is called "ночь": names are letters/],
      [() => client.predict('m', bank, { domain: 'day=0.5,fog=0.5', version: 1 }), /a blend has no version: .* such as "day:1=0.5,fog=0.5"/],
      [() => client.models({ requestId: 'a\nb' }), /header/i]
    ] as const) await assert.rejects(call(), (error) => error instanceof TypeError && message.test(error.message), String(message))
  })

  it('is a URL that is none of a server', () => {
    assert.throws(() => new Client('localhost:8080'), /"localhost:8080" is no URL of a server: expected http:/)
    assert.throws(() => new Client('nothing'), TypeError)
  })
})

describe('a URL', () => {
  it('may have a path, and names are escaped in what follows it', async () => {
    const fake = fakeFetch(answer(200, { domain: 'd' }))
    await new Client('https://proxy.test/nets/', { ...fake.options, key: 'k1' }).domain('a/b', 'c?d', { requestId: 'mine' })
    const [{ url, method, headers }] = fake.asked as [typeof fake.asked[number]]
    assert.deepEqual([method, url], ['GET', 'https://proxy.test/nets/v1/models/a%2Fb/domains/c%3Fd'])
    assert.deepEqual([headers.get('authorization'), headers.get('x-request-id')], ['Bearer k1', 'mine'])
  })
})
