/** Tensors of every datatype, there and back, through the server's own reader and writer of the protocol. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runInNewContext } from 'node:vm'
import { Client, type InputTensor, type Tensor } from '@bankswitch/client'
import { finish } from '#src/base/slices.js'
import { parseInferenceRequest } from '#src/http/open-inference/parse-request.js'
import { planAnswer, type AnsweredTensors } from '#src/http/open-inference/write-response.js'

const DAY = { domain: 'day', version: 3, digest: 'd'.repeat(64) }
const FOG = { domain: 'fog', version: 1, digest: 'f'.repeat(64) }

/** Answers every input as an output of the same name; `wrong` spoils what it writes. */
function echo (answeredBy: AnsweredTensors['answeredBy'] = [DAY], wrong: (text: string) => string = (text) => text): Client {
  return new Client('http://server.test', {
    async fetch (_url, { body, headers }) {
      const message = parseInferenceRequest(body as Uint8Array, new Headers(headers).get('inference-header-content-length')!)
      const planned = planAnswer('echo', message, { outputs: message.feeds, answeredBy }, ['cat', 'dog'])
      const { body: whole, headerLength, contentType } = finish(planned.write())
      const json = Buffer.from(wrong(whole.subarray(0, headerLength).toString()))
      return new Response(Buffer.concat([json, whole.subarray(headerLength)]), {
        headers: { 'content-type': contentType, 'inference-header-content-length': String(json.length) }
      })
    }
  })
}

const CASES: ReadonlyArray<readonly [given: InputTensor, datatype: string]> = [
  [{ data: Uint8Array.of(0, 255), shape: [2] }, 'UINT8'],
  [{ data: Uint8ClampedArray.of(0, 255), shape: [2] }, 'UINT8'],
  [{ data: Uint16Array.of(1, 65535), shape: [2] }, 'UINT16'],
  [{ data: Uint32Array.of(1, 4294967295), shape: [2] }, 'UINT32'],
  [{ data: BigUint64Array.of(1n, 2n ** 64n - 1n), shape: [2] }, 'UINT64'],
  [{ data: Int8Array.of(-128, -1), shape: [2] }, 'INT8'],
  [{ data: Int16Array.of(-32768, -1), shape: [2] }, 'INT16'],
  [{ data: Int32Array.of(-2147483648, -1), shape: [2] }, 'INT32'],
  [{ data: BigInt64Array.of(-1n, 2n ** 62n), shape: [2] }, 'INT64'],
  [{ data: Float32Array.of(1, -2.5, NaN, Infinity), shape: [2, 2] }, 'FP32'],
  [{ data: Float64Array.of(1, Math.PI), shape: [1, 2] }, 'FP64'],
  [{ data: Uint8Array.of(0, 1), shape: [2], datatype: 'BOOL' }, 'BOOL'],
  [{ data: Uint16Array.of(0x3c00, 0xc100), shape: [2], datatype: 'FP16' }, 'FP16'],
  [{ data: ['ab', '', 'aé☃'], shape: [3] }, 'BYTES'],
  [{ data: new Float32Array(0), shape: [0, 3] }, 'FP32']
]

describe('a tensor', () => {
  for (const [given, datatype] of CASES) {
    it(`of ${datatype} of shape [${given.shape.join()}] comes back as it went`, async () => {
      const { outputs, model, answeredBy } = await echo().infer('echo', { x: given })
      const { data } = given
      const expected = data instanceof Uint8ClampedArray ? Uint8Array.from(data) : data
      assert.deepEqual(outputs.x, { datatype, shape: given.shape, data: expected })
      assert.deepEqual([model, answeredBy], ['echo', [DAY]])
    })
  }

  it('of BF16 is widened by the server', async () => {
    const { outputs } = await echo().infer('echo', { x: { data: Uint16Array.of(0x3f80, 0xc020), shape: [2], datatype: 'BF16' } })
    assert.deepEqual(outputs.x, { datatype: 'FP32', shape: [2], data: Float32Array.of(1, -2.5) })
  })

  it('may be a part of a larger array, or of another window', async () => {
    const foreign = runInNewContext('Int16Array.of(5, 6)') as Int16Array
    assert.ok(!(foreign instanceof Int16Array))
    const { outputs } = await echo().infer('echo', {
      part: { data: Float32Array.of(0, 1, 2, 3).subarray(1, 3), shape: [2] },
      buffer: { data: Buffer.from('abc'), shape: [3] },
      foreign: { data: foreign, shape: [2] }
    })
    assert.deepEqual(outputs.part!.data, Float32Array.of(1, 2))
    assert.deepEqual(outputs.buffer!.data, Uint8Array.of(97, 98, 99))
    assert.deepEqual(outputs.foreign!.data, Int16Array.of(5, 6))
  })

  it('lies among others of any width', async () => {
    const inputs = {
      a: { data: Uint8Array.of(7), shape: [1] }, b: { data: Float64Array.of(1.5), shape: [1] }, c: { data: ['x'], shape: [1] }, d: { data: Int32Array.of(9), shape: [1] }
    }
    const answer = await echo().infer('echo', inputs)
    for (const [name, { data }] of Object.entries(inputs)) assert.deepEqual(answer.outputs[name]!.data, data)
    assert.deepEqual(answer.values('b', 'FP64'), Float64Array.of(1.5))
  })

  it('is answered in part: named outputs, and best classes as texts', async () => {
    const inputs = { a: { data: Float32Array.of(0.25, 2), shape: [1, 2] }, b: { data: Int8Array.of(1), shape: [1] } }
    const { outputs } = await echo().infer('echo', inputs, { outputs: [{ name: 'a', classification: 1 }] })
    assert.deepEqual(outputs, { a: { datatype: 'BYTES', shape: [1, 1], data: ['2.000000:1:dog'] } })
    assert.deepEqual(Object.keys((await echo().infer('echo', inputs, { outputs: ['b'] })).outputs), ['b'])
  })

  it('of rows with domains of their own tells all that answered', async () => {
    const { answeredBy } = await echo([DAY, FOG]).infer('echo', { x: { data: Float32Array.of(1, 2), shape: [2, 1] } })
    assert.deepEqual(answeredBy, [DAY, FOG])
  })

  it('tells its type by its datatype', async () => {
    const tensor: Tensor = (await echo().infer('echo', { x: { data: Float32Array.of(1), shape: [1] } })).outputs.x!
    const first: number | undefined = tensor.datatype === 'FP32' ? tensor.data[0] : undefined
    assert.equal(first, 1)
  })
})

describe('what is no tensor', () => {
  const refused: ReadonlyArray<readonly [data: unknown, datatype: InputTensor['datatype'], message: RegExp]> = [
    [[1, 2], undefined, /the data of the input "x" is Array: expected a typed array, as new Float32Array\(values\), or texts/],
    [new DataView(new ArrayBuffer(4)), undefined, /is DataView: expected/],
    [undefined, undefined, /is Undefined: expected/],
    [{ [Symbol.toStringTag]: 'Float32Array' }, undefined, /expected a typed array/],
    [new Float32Array(1), 'FP16', /the input "x" is FP16, and Float32Array holds FP32/],
    [new Uint16Array(1), 'FP32', /the input "x" is FP32, and Uint16Array holds UINT16 or FP16 or BF16/],
    [['a'], 'FP32', /the input "x" is FP32, which is no list of texts/]
  ]
  for (const [data, datatype, message] of refused) {
    it(String(message), async () => {
      await assert.rejects(echo().infer('echo', { x: { data, shape: [1], datatype } as InputTensor }), (error) => {
        return error instanceof TypeError && message.test(error.message)
      })
    })
  }

  it('an output that is not there, or of another datatype', async () => {
    const answer = await echo().infer('echo', { a: { data: Int8Array.of(1), shape: [1] }, b: { data: ['x'], shape: [1] } })
    assert.throws(() => answer.values('logits'), /there is no output "logits" of FP32: the answer has "a" of INT8, "b" of BYTES/)
    assert.throws(() => answer.values('a'), TypeError)
    assert.throws(() => answer.values('toString'), TypeError)
  })

  it('an answer whose bytes are not those of its shapes', async () => {
    const inputs = { x: { data: Float32Array.of(1, 2), shape: [2] } }
    const texts = { x: { data: ['ab', 'c'], shape: [2] } }
    for (const [given, from, to] of [
      [inputs, '"shape":[2]', '"shape":[3]'], [inputs, 'FP32', 'FP31'], [inputs, 'binary_data_size', 'size'], [inputs, '_size":8', '_size":9'],
      [texts, '"shape":[2]', '"shape":[3]'], [texts, '_size":11', '_size":10'], [texts, '_size":11', '_size":12'], [inputs, 'FP32', 'BYTES']
    ] as const) {
      const call = echo(undefined, (text) => text.replace(from, to)).infer('echo', given)
      await assert.rejects(call, { code: 'ANSWER_UNREADABLE', status: 200 }, to)
    }
    await assert.rejects(echo(undefined, (text) => text.slice(1)).infer('echo', inputs), { code: 'ANSWER_UNREADABLE' })
  })
})
