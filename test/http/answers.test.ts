/** Answers on their way to their clients: how long they may be, what all of them may take, and whom they hold up. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { AnswerBudget } from '#src/http/limits/answer-budget.js'
import { whenOver } from '#src/http/limits/exchange-end.js'
import { bareApp, type BareApp } from '../support/bare-app.js'
import { hasCode } from '../support/errors.js'
import type { PlainTensor } from '#src/ort/session.js'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerResponse } from 'node:http'

const URL_INFER = '/v2/models/m/infer'

function exchange (ip: string, socket = {}) {
  const response = new EventEmitter()
  const request = { raw: { socket }, ip, caller: undefined } as unknown as FastifyRequest
  const reply = { raw: response } as unknown as FastifyReply
  return { request, reply, response }
}

describe('whenOver', () => {
  it('tells once of the end, and at once of what has ended', () => {
    const calls: string[] = []
    const wait = (name: string, response: object) => whenOver(response as ServerResponse, () => calls.push(name))
    const { response } = exchange('a')
    wait('answered', response)
    assert.deepEqual(calls, [])
    response.emit('close')
    response.emit('close')
    wait('gone', Object.assign(new EventEmitter(), { destroyed: true }))
    assert.deepEqual(calls, ['answered', 'gone'])
  })
})

describe('AnswerBudget', () => {
  it('bounds one answer and all of them, and gives back what was not needed and what was sent', () => {
    const budget = new AnswerBudget({ answerBytes: 100, answersBytes: 150 })
    const [first, second, third] = [exchange('a'), exchange('b'), exchange('c')]
    assert.throws(() => budget.hold(first.request, first.reply, 101), hasCode('ANSWER_TOO_LARGE', { received: 101 }))
    const held = budget.hold(first.request, first.reply, 100)
    assert.throws(() => budget.hold(second.request, second.reply, 60), hasCode('ANSWERS_FULL'))
    held.settle(90)
    budget.hold(second.request, second.reply, 60)
    assert.equal(budget.bytes, 150)
    first.response.emit('close')
    second.response.emit('close')
    assert.equal(budget.bytes, 0)
    const late = budget.hold(third.request, third.reply, 50)
    third.response.emit('close')
    late.settle(40)
    assert.equal(budget.bytes, 0)
  })

  it('counts answers that are there already, and takes one of any length alone', () => {
    const budget = new AnswerBudget({ answerBytes: 100, answersBytes: 150 })
    const [first, second] = [exchange('a'), exchange('b')]
    budget.keep(first.request, first.reply, 400)
    assert.throws(() => budget.keep(second.request, second.reply, 1), hasCode('ANSWERS_FULL'))
    assert.throws(() => budget.hold(second.request, second.reply, 1), hasCode('ANSWERS_FULL'))
    first.response.emit('close')
    budget.keep(second.request, second.reply, 150)
    assert.equal(budget.bytes, 150)
  })

  it('leaves room for others beside one who does not read', () => {
    const budget = new AnswerBudget({ answerBytes: 1000, answersBytes: 1000 })
    const hold = (ip: string) => {
      const { request, reply } = exchange(ip)
      budget.hold(request, reply, 100)
    }
    for (let at = 0; at < 8; at++) hold('192.0.2.1')
    assert.throws(() => hold('192.0.2.1'), hasCode('ANSWERS_FULL'))
    hold('192.0.2.2')
  })

  it('cuts the connection of who takes a large answer too slowly', (t) => {
    t.mock.timers.enable()
    const budget = new AnswerBudget({ answerBytes: 2 ** 30, answersBytes: 2 ** 30 })
    const destroyed: string[] = []
    const hold = (name: string, bytes: number) => {
      const { request, reply, response } = exchange(name, { destroy: () => destroyed.push(name) })
      budget.hold(request, reply, bytes).settle(bytes)
      return response
    }
    hold('small', 1000)
    hold('large', 2 ** 20)
    hold('taken', 2 ** 20).emit('close')
    t.mock.timers.tick(63_999)
    assert.deepEqual(destroyed, [])
    t.mock.timers.tick(1)
    assert.deepEqual(destroyed, ['large'])
  })
})

describe('answers', () => {
  let bare: BareApp
  let outputs: Record<string, PlainTensor>
  /** Called when the next answer is about to be written. */
  let onResult: (() => void) | undefined
  const result = () => ({ outputs, domain: 'day', version: 1, digest: 'd', queueMs: 0, inferMs: 0, runs: [] })
  const infer = async () => {
    if (onResult !== undefined) setImmediate(onResult)
    return { ...result(), answeredBy: [result()] }
  }
  const engine = {
    isLost: false,
    domain: () => ({}),
    readyModel: () => ({ entry: { labels: [] } }),
    answering: { inferRows: infer, isAutomatic: () => false, named: () => ({ domain: 'day' }), requireRoom: () => {}, observeEncoding: () => {} }
  }
  const floats = (length: number): PlainTensor => ({ type: 'float32', dims: [1, length], data: new Float32Array(length).fill(1 / 3) })
  const ask = (extra: object = {}) => {
    const inputs = [{ name: 'x', shape: [1], datatype: 'FP32', data: [1] }]
    return bare.app.inject({ method: 'POST', url: URL_INFER, payload: { inputs, ...extra } })
  }

  before(async () => {
    bare = await bareApp({
      BANKSWITCH_ANSWER_BYTES: '40000000', BANKSWITCH_ANSWERS_BYTES: '50000000', BANKSWITCH_REFUSAL_HOLD_MS: '0'
    }, { engine })
  })
  after(() => bare.close())

  it('that are long hold nobody up while they are written', async () => {
    outputs = { y: floats(1_000_000) }
    const finished: string[] = []
    const probe = new Promise((resolve, reject) => {
      onResult = () => bare.app.inject('/livez').then(({ statusCode }) => finished.push(`livez ${statusCode}`)).then(resolve, reject)
    })
    const answer = await ask()
    finished.push('answer')
    await probe
    onResult = undefined
    assert.deepEqual(finished, ['livez 200', 'answer'])
    assert.equal(answer.json().outputs[0].data.length, 1_000_000)
  })

  it('that could get too long are refused before they are written', async () => {
    outputs = { y: floats(2_000_000), z: floats(2) }
    const refused = await ask()
    assert.equal(refused.statusCode, 413)
    assert.equal(refused.json().code, 'ANSWER_TOO_LARGE')
    assert.equal(refused.json().details.expected, 'at most 40000000 bytes')
    assert.ok(refused.json().details.received > 50_000_000)
    for (const wanted of [{ name: 'z' }, { name: 'y', parameters: { binary_data: true } }, { name: 'y', parameters: { classification: 5 } }]) {
      assert.equal((await ask({ outputs: [wanted] })).statusCode, 200)
    }
    assert.equal((await ask({ outputs: [{ name: 'y', parameters: { classification: 1e9 } }] })).json().code, 'ANSWER_TOO_LARGE')
  })

  it('that a client does not take keep their room only until it leaves', async () => {
    outputs = { y: floats(1_500_000) }
    await bare.app.listen({ port: 0, host: '127.0.0.1' })
    const socket = connect((bare.app.server.address() as AddressInfo).port, '127.0.0.1').pause()
    const body = JSON.stringify({ inputs: [{ name: 'x', shape: [1], datatype: 'FP32', data: [1] }] })
    const begun = once(bare.app.server, 'request')
    socket.write(`POST ${URL_INFER} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    const [, response] = await begun as [unknown, ServerResponse]
    const end = new Promise<void>((resolve) => {
      const { end } = response
      response.end = function (this: ServerResponse, ...given: Parameters<typeof end>) {
        resolve()
        return end.apply(this, given)
      } as typeof end
    })
    await end
    const refused = await ask()
    assert.equal(refused.statusCode, 429, refused.payload.slice(0, 200))
    assert.equal(refused.json().code, 'ANSWERS_FULL')
    assert.ok(Number(refused.headers['retry-after']) >= 1)
    const gone = once(response, 'close')
    socket.destroy()
    await gone
    assert.equal((await ask()).statusCode, 200)
  })
})
