/** JSON bodies: what they may have, and that the event loop has no work with large ones. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import { BodyThread } from '#src/http/open-inference/body-thread.js'
import { parseInferenceRequest, type InferenceMessage } from '#src/http/open-inference/parse-request.js'
import { bareApp, type BareApp } from '../support/bare-app.js'
import { hasCode } from '../support/errors.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const MIB = 2 ** 20
const INLINE_BYTES_MAX = 2 ** 16
const never = new AbortController().signal

const normal = seededNormal(runSeed)

/** Memory of its own, as bodies of requests have. */
const bodyOf = (...parts: Array<string | Uint8Array>): Uint8Array => {
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)))
  return Uint8Array.from(bytes)
}
const requestOf = (data: string, shape = [1], more = '') => {
  return `{"id":"7","inputs":[{"name":"__proto__","shape":${JSON.stringify(shape)},"datatype":"FP32","data":${data}}${more}]}`
}

function numbers (count: number): string {
  return JSON.stringify(Array.from({ length: count }, normal))
}

describe('BodyThread', () => {
  let json: BodyThread
  before(() => { json = new BodyThread(4 * MIB) })
  after(() => json.close())

  it('gives what parsing gives, of any size', async () => {
    for (const count of [3, 50_000]) {
      const text = requestOf(numbers(count), [1, count])
      assert.equal(text.length > INLINE_BYTES_MAX, count > 3)
      const message = await json.inference(bodyOf(text), undefined, never)
      assert.deepEqual(message, parseInferenceRequest(bodyOf(text), undefined))
      assert.equal(Object.getPrototypeOf(message.feeds), null)
    }
  })

  it('gives binary tensors behind a large JSON, in the memory of the body', async () => {
    const rows = Float32Array.from({ length: 1000 }, normal)
    const more = ',{"name":"a","shape":[500],"datatype":"FP32","parameters":{"binary_data_size":2000}}' +
      ',{"name":"b","shape":[500],"datatype":"FP32","parameters":{"binary_data_size":2000}}'
    const text = requestOf(numbers(9000), [9000], more).padEnd(400_000)
    const body = bodyOf(text, new Uint8Array(rows.buffer))
    const { feeds } = await json.inference(body, String(text.length), never)
    assert.deepEqual([...feeds.a!.data as Float32Array, ...feeds.b!.data as Float32Array], [...rows])
    assert.equal(body.length, 0)
  })

  it('refuses what is too large, too deep, too much, no JSON, and goes on', async () => {
    const head = '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":'
    const refused = async (code: string, data: string) => {
      for (const at of [0, INLINE_BYTES_MAX]) {
        await assert.rejects(json.inference(bodyOf(`${' '.repeat(at)}${head}${data}}]}`), undefined, never), hasCode(code), data.slice(0, 40))
      }
    }
    await refused('REQUEST_TOO_LARGE', `[${'1,'.repeat(2 * MIB)}1]`)
    await refused('JSON_TOO_DEEP', `${'['.repeat(MIB)}${']'.repeat(MIB)}`)
    await refused('JSON_TOO_DEEP', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)
    await refused('JSON_TOO_MANY_ELEMENTS', `[${'{},'.repeat(MIB)}{}]`)
    await refused('JSON_TOO_MANY_ELEMENTS', `[${'[],'.repeat(MIB)}[]]`)
    await refused('JSON_DUPLICATE_KEY', '[1],"data":[2]')
    await refused('PROTOCOL_INVALID', '[1')
    await refused('PROTOCOL_INVALID', '[1,2]')
    const wide = `{"inputs":[],"parameters":{${Array.from({ length: 140_000 }, (_, at) => `"p${at}":1`)}}}`
    await assert.rejects(json.inference(bodyOf(wide), undefined, never), hasCode('PROTOCOL_INVALID'))
    const header = bodyOf('{}'.padEnd(4 * MIB + 1), new Uint8Array(8))
    await assert.rejects(json.inference(header, String(4 * MIB + 1), never), hasCode('REQUEST_TOO_LARGE', { received: 4 * MIB + 1 }))
    const name = 'n'.repeat(100_000)
    await assert.rejects(json.inference(bodyOf(requestOf('[1]').replace('__proto__', name)), undefined, never), (error: Error) => {
      return hasCode('PROTOCOL_INVALID')(error) && JSON.stringify(error).length < 1000
    })
    assert.equal((await json.inference(bodyOf(requestOf('[1]').padEnd(100_000)), undefined, never)).id, '7')
  })

  it('reads goldens', async () => {
    const tensors = [{ name: 'x', shape: [20_000], datatype: 'FP32', data: JSON.parse(numbers(20_000)) }]
    const { inputs, expected } = await json.goldens(bodyOf(JSON.stringify({ inputs: tensors, expected: tensors })), never)
    assert.deepEqual(inputs.x!.data, Float32Array.from(tensors[0]!.data))
    assert.deepEqual(expected, inputs)
    await assert.rejects(json.goldens(bodyOf('{}'.padEnd(100_000)), never), hasCode('PROTOCOL_INVALID'))
  })

  it('lets go of bodies whose client has left, and of all when it closes', async () => {
    const other = new BodyThread(4 * MIB)
    const leaving = new AbortController()
    const large = () => bodyOf(requestOf(numbers(5000), [5000]))
    const first = other.inference(large(), undefined, never)
    const left = large()
    const second = assert.rejects(other.inference(left, undefined, leaving.signal), hasCode('REQUEST_ABORTED'))
    const third = other.inference(large(), undefined, never)
    const { httpErrors } = await import('#src/http/errors.js')
    leaving.abort(httpErrors.REQUEST_ABORTED('gone'))
    await second
    assert.ok(left.length > 0, 'it was never given to the thread')
    await Promise.all([first, third])
    const last = assert.rejects(other.inference(large(), undefined, never), hasCode('REQUEST_ABORTED'))
    await other.close()
    await last
  })

  it('has room for the numbers that take most memory', async () => {
    for (const number of ['-0,', '0.5,']) {
      const data = `[null,${number.repeat(4 * MIB / number.length - 100)}1]`
      await assert.rejects(json.inference(bodyOf(requestOf(data)), undefined, never), hasCode('PROTOCOL_INVALID'))
    }
  })
})

describe('JSON bodies over HTTP', () => {
  let bare: BareApp
  let feeds: InferenceMessage['feeds'] = {}
  const engine = {
    domain: () => ({}),
    readyModel: () => ({ entry: { labels: [] } }),
    answering: {
      inferRows: async (_model: string, request: InferenceMessage) => {
        feeds = request.feeds
        return { outputs: {}, answeredBy: [{ domain: 'day', version: 1, digest: 'd' }], queueMs: 0, inferMs: 0, runs: [] }
      },
      named: () => ({ domain: 'day' }),
      isAutomatic: () => false,
      requireRoom: () => {},
      observeEncoding: () => {}
    }
  }
  const post = (payload: string | Buffer, headers: Record<string, string> = {}) => {
    return bare.app.inject({ method: 'POST', url: '/v2/models/m/infer', payload, headers })
  }
  before(async () => { bare = await bareApp({ BANKSWITCH_JSON_BYTES: '3000000', BANKSWITCH_REFUSAL_HOLD_MS: '0' }, { engine }) })
  after(() => bare.close())

  it('a picture as JSON is read, and not on the event loop', async (t) => {
    const parsed = t.mock.method(JSON, 'parse')
    const response = await post(requestOf(numbers(100_000), [1, 100_000]))
    assert.equal(response.statusCode, 200, response.payload)
    assert.deepEqual(Object.values(feeds)[0]!.dims, [1, 100_000])
    for (const { arguments: [text] } of parsed.mock.calls) assert.ok(String(text).length <= INLINE_BYTES_MAX)
  })

  it('bombs end at the limit of JSON, whatever the limit of bodies and whatever they say that they are', async () => {
    for (const data of ['{},', '[],', '[', '0,']) {
      const bomb = gzipSync(`{"inputs":[${data.repeat(1_500_000)}`)
      for (const type of ['application/json', 'application/octet-stream']) {
        const response = await post(bomb, { 'content-encoding': 'gzip', 'content-type': type })
        const expected = data.length === 3 ? [413, 'REQUEST_TOO_LARGE'] : [400, data === '[' ? 'JSON_TOO_DEEP' : 'PROTOCOL_INVALID']
        if (data !== '0,') assert.deepEqual([response.statusCode, response.json().code], expected)
        else assert.equal(response.statusCode, 413)
      }
    }
    const tensor = { 'inference-header-content-length': '0', 'content-type': 'application/octet-stream' }
    assert.notEqual((await post(Buffer.alloc(4_000_000), tensor)).statusCode, 413, 'a tensor is no JSON')
  })
})
