/** The protocol's parts on their own: datatypes, raw requests, classification, compression. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gunzipSync, inflateSync } from 'node:zlib'
import { finish } from '#src/base/slices.js'
import { chosenEncoding, compress } from '#src/http/compress.js'
import { classify } from '#src/http/open-inference/classification.js'
import { datatypeName, tensorFromBytes, tensorFromJson, wireBytes } from '#src/http/open-inference/datatypes.js'
import { parseInferenceRequest } from '#src/http/open-inference/parse-request.js'
import { parseRawRequest } from '#src/http/open-inference/raw-request.js'
import { binaryBytes, binaryBytesMax, jsonBytesMax, Page, writeBinary, writeJson } from '#src/http/open-inference/write-tensor.js'
import { planAnswer } from '#src/http/open-inference/write-response.js'
import { hasCode } from '../support/errors.js'
import type { PlainTensor, TensorType, ValueDescription } from '#src/ort/session.js'

/** Two elements as raw bytes and as JSON, little-endian, after the protocol's table of datatypes. */
const DATATYPES: Array<[name: string, type: TensorType, hex: string, json: unknown[]]> = [
  ['BOOL', 'bool', '0001', [false, true]],
  ['UINT8', 'uint8', '00ff', [0, 255]],
  ['UINT16', 'uint16', '0100ffff', [1, 65535]],
  ['UINT32', 'uint32', '01000000ffffffff', [1, 4294967295]],
  ['UINT64', 'uint64', '0100000000000000ffffffffffff1f00', [1, 2 ** 53 - 1]],
  ['INT8', 'int8', '80ff', [-128, -1]],
  ['INT16', 'int16', '0080ffff', [-32768, -1]],
  ['INT32', 'int32', '00000080ffffffff', [-2147483648, -1]],
  ['INT64', 'int64', '0100000000000000ffffffffffffffff', [1, -1]],
  ['FP32', 'float32', '0000803f000020c0', [1, -2.5]],
  ['FP64', 'float64', '000000000000f03f00000000000004c0', [1, -2.5]],
  ['BYTES', 'string', '0200000061620300000061c3a9', ['ab', 'aé']]
]

/** What is written, which must not be longer than was expected. */
function binaryOf (tensor: PlainTensor): Buffer {
  const page = new Page(binaryBytesMax(tensor))
  finish(writeBinary(page, tensor))
  assert.equal(page.length, finish(binaryBytes(tensor)))
  return page.view()
}

function jsonOf (tensor: PlainTensor): string {
  const page = new Page(jsonBytesMax(tensor))
  finish(writeJson(page, 'x', tensor))
  return `[${page.view()}]`
}

describe('datatypes', () => {
  for (const [name, type, hex, json] of DATATYPES) {
    it(`${name}: binary and JSON, both ways`, () => {
      const bytes = Buffer.from(hex, 'hex')
      const fromBytes = tensorFromBytes('x', name, [2], bytes)
      assert.equal(fromBytes.type, type)
      assert.deepEqual(tensorFromJson('x', name, [2], json), fromBytes)
      assert.deepEqual(binaryOf(fromBytes), bytes)
      assert.deepEqual(JSON.parse(jsonOf(fromBytes)), json)
      assert.equal(datatypeName(type), name)
      assert.equal(wireBytes(name, 'x', 2), name === 'BYTES' ? undefined : bytes.length)
    })
  }

  it('FP16: binary both ways, JSON neither way', () => {
    const bytes = Buffer.from('003c00c1', 'hex')
    const tensor = tensorFromBytes('x', 'FP16', [2], bytes)
    assert.equal(tensor.type, 'float16')
    assert.deepEqual(binaryOf(tensor), bytes)
    assert.throws(() => tensorFromJson('x', 'FP16', [1], [1]), hasCode('PROTOCOL_INVALID'))
    assert.throws(() => jsonOf(tensor), hasCode('PROTOCOL_INVALID'))
  })

  it('BF16 is widened to FP32, exactly; JSON cannot carry it', () => {
    const { type, data } = tensorFromBytes('x', 'BF16', [3], Buffer.from('803f20c0807f', 'hex'))
    assert.equal(type, 'float32')
    assert.deepEqual(data, Float32Array.of(1, -2.5, Infinity))
    assert.throws(() => tensorFromJson('x', 'BF16', [1], [1]), hasCode('PROTOCOL_INVALID'))
  })

  it('take bytes that are not aligned', () => {
    const bytes = Buffer.from('ff0000803f', 'hex').subarray(1)
    assert.deepEqual(tensorFromBytes('x', 'FP32', [1], bytes).data, Float32Array.of(1))
  })

  const wrong: Array<[string, unknown]> = [
    ['UINT8', 256], ['UINT8', -1], ['UINT8', 1.5], ['INT8', 128], ['INT16', 32768], ['UINT16', 65536], ['INT32', 2 ** 31],
    ['UINT32', -1], ['INT64', 2 ** 53], ['UINT64', -1], ['INT64', 0.5], ['BOOL', 1], ['BYTES', 1], ['FP32', '1'], ['FP64', null], ['FP32', [1]],
    ['FP32', 3.5e38], ['FP32', -1e39],
    ['FP32', { toString: 1 }], ['UINT64', { valueOf: 1, toString: 1 }], ['INT8', { toString: null }], ['BYTES', {}], ['BOOL', { toString: [] }]
  ]
  for (const [name, value] of wrong) {
    it(`refuse ${JSON.stringify(value)} as ${name}`, () => {
      assert.throws(() => tensorFromJson('x', name, [1], [value]), hasCode('PROTOCOL_INVALID'))
    })
  }

  it('refuse a number that JSON can write and no float can hold; keep the largest that one can', () => {
    for (const text of ['1e999', '-1e999']) {
      for (const name of ['FP32', 'FP64', 'INT32']) {
        assert.throws(() => tensorFromJson('x', name, [1], [JSON.parse(text)]), hasCode('PROTOCOL_INVALID', { expected: name, received: String(JSON.parse(text)) }))
      }
    }
    assert.deepEqual(tensorFromJson('x', 'FP32', [2], [3.4028234663852886e38, 1e-60]).data, Float32Array.of(3.4028234663852886e38, 0))
    assert.deepEqual(tensorFromJson('x', 'FP64', [1], [1.7976931348623157e308]).data, Float64Array.of(1.7976931348623157e308))
  })

  it('refuse what has no JSON: NaN, and integers beyond 2^53', () => {
    assert.throws(() => jsonOf({ type: 'float32', dims: [1], data: Float32Array.of(NaN) }), hasCode('PROTOCOL_INVALID'))
    assert.throws(() => jsonOf({ type: 'int64', dims: [1], data: BigInt64Array.of(2n ** 53n) }), hasCode('PROTOCOL_INVALID'))
  })

  it('refuse a byte that is no BOOL, and BYTES that do not add up', () => {
    assert.throws(() => tensorFromBytes('x', 'BOOL', [2], Buffer.from([0, 2])), hasCode('PROTOCOL_INVALID', { received: 2 }))
    for (const hex of ['', '01000000', '0500000061', '010000006101', 'ffffffff']) {
      assert.throws(() => tensorFromBytes('x', 'BYTES', [1], Buffer.from(hex, 'hex')), hasCode('PROTOCOL_INVALID'), hex)
    }
  })
})

describe('what is written', () => {
  const longest: PlainTensor[] = [
    { type: 'float64', dims: [2], data: Float64Array.of(-1.7976931348623157e308, -1e-300 / 3) },
    { type: 'float32', dims: [2], data: Float32Array.of(-1.1754943508222875e-38, -1 / 3) },
    { type: 'int64', dims: [1], data: BigInt64Array.of(-9007199254740991n) },
    { type: 'uint64', dims: [1], data: BigUint64Array.of(9007199254740991n) },
    { type: 'int32', dims: [1], data: Int32Array.of(-2147483648) },
    { type: 'uint32', dims: [1], data: Uint32Array.of(4294967295) },
    { type: 'int16', dims: [1], data: Int16Array.of(-32768) },
    { type: 'uint16', dims: [1], data: Uint16Array.of(65535) },
    { type: 'int8', dims: [1], data: Int8Array.of(-128) },
    { type: 'uint8', dims: [1], data: Uint8Array.of(255) },
    { type: 'bool', dims: [1], data: Uint8Array.of(0) },
    { type: 'string', dims: [4], data: ['\u0001'.repeat(9), '\ud800', '€', '"\\'] }
  ]
  for (const tensor of longest) {
    it(`is as long as expected at most: ${tensor.type}`, () => {
      assert.ok(Buffer.byteLength(jsonOf(tensor)) - 2 <= jsonBytesMax(tensor))
      assert.ok(binaryOf(tensor).length <= binaryBytesMax(tensor))
    })
  }

  it('comes in steps, and is the same as in one go', () => {
    const data = Float32Array.from({ length: 10_000 }, (_, at) => at / 7)
    const tensor: PlainTensor = { type: 'float32', dims: [10_000], data }
    assert.deepEqual(JSON.parse(jsonOf(tensor)), Array.from(data))
    const steps = [...writeJson(new Page(jsonBytesMax(tensor)), 'x', tensor)].length
    assert.equal(steps, 2)
    const texts = Array.from(data, String)
    const all: PlainTensor = { type: 'string', dims: [10_000], data: texts }
    assert.deepEqual(JSON.parse(jsonOf(all)), texts)
    assert.deepEqual(tensorFromBytes('x', 'BYTES', [10_000], binaryOf(all)).data, texts)
    const large = new Float32Array(700_000).fill(2)
    assert.deepEqual(binaryOf({ type: 'float32', dims: [700_000], data: large }), Buffer.from(large.buffer))
  })

  it('keeps its names and shapes, and its length, whatever is asked for', () => {
    const outputs = { 'ü"': { type: 'float32', dims: [1, 3], data: Float32Array.of(1, 3, 2) } as PlainTensor }
    const answeredBy = [{ domain: 'day', version: 1, digest: 'd' }]
    const result = { outputs, answeredBy, queueMs: 0, inferMs: 0, runs: [] }
    for (const isBinary of [false, true]) {
      for (const classification of [undefined, 2]) {
        const wanted = { name: 'ü"', isBinary, ...(classification === undefined ? {} : { classification }) }
        const planned = planAnswer('m', { id: 'é', parameters: {}, isBinaryByDefault: false, outputs: [wanted] }, result, ['a', '\u0002', 'c'])
        const { body, headerLength = body.length } = finish(planned.write())
        assert.ok(body.length <= planned.bytesMax && planned.bytesMax < body.length + 400)
        const { id, model_version: version, outputs: [output] } = JSON.parse(body.subarray(0, headerLength).toString())
        assert.deepEqual([id, version, output.name, output.shape], ['é', '1', 'ü"', [1, classification ?? 3]])
        const values = classification === undefined ? [1, 3, 2] : ['3.000000:1:\u0002', '2.000000:2:c']
        if (!isBinary) assert.deepEqual(output.data, values)
        else assert.equal(output.parameters.binary_data_size, body.length - headerLength)
      }
    }
  })
})

describe('parseInferenceRequest', () => {
  const parse = (json: object, bytes = Buffer.alloc(0)) => {
    const header = Buffer.from(JSON.stringify(json))
    return parseInferenceRequest(Buffer.concat([header, bytes]), String(header.length))
  }

  it('reads binary tensors in the order of the inputs that are binary', () => {
    const binary = (name: string, datatype: string, size: number) => ({ name, datatype, shape: [2], parameters: { binary_data_size: size } })
    const { feeds } = parse({
      inputs: [binary('a', 'UINT8', 2), { name: 'b', datatype: 'INT32', shape: [1], data: [7] }, binary('c', 'INT16', 4)]
    }, Buffer.from('0102030004ff', 'hex'))
    assert.deepEqual(feeds.a!.data, Uint8Array.of(1, 2))
    assert.deepEqual(feeds.b!.data, Int32Array.of(7))
    assert.deepEqual(feeds.c!.data, Int16Array.of(3, -252))
  })

  it('reads an empty tensor', () => {
    const { feeds } = parse({ inputs: [{ name: 'a', datatype: 'FP32', shape: [0, 3], parameters: { binary_data_size: 0 } }] })
    assert.deepEqual(feeds.a, { type: 'float32', dims: [0, 3], data: new Float32Array(0) })
  })

  it('refuses an output that is asked for twice, and an input that stands twice', () => {
    const input = { name: 'a', datatype: 'FP32', shape: [1], data: [1] }
    const twice = [{ name: 'y', parameters: { classification: 3 } }, { name: 'z' }, { name: 'y' }]
    assert.throws(() => parse({ inputs: [input], outputs: twice }), hasCode('PROTOCOL_INVALID', { received: 'y' }))
    assert.throws(() => parse({ inputs: [input, input] }), hasCode('PROTOCOL_INVALID', { received: 'a' }))
  })

  it('refuses names of parameters that are reserved, and sequences', () => {
    const inputs = [{ name: 'a', datatype: 'FP32', shape: [1], data: [1] }]
    for (const name of ['triton_enable', 'headers']) {
      assert.throws(() => parse({ inputs, parameters: { [name]: 'x' } }), hasCode('PROTOCOL_INVALID'))
    }
    assert.throws(() => parse({ inputs, parameters: { sequence_id: 7 } }), hasCode('PROTOCOL_UNSUPPORTED'))
    parse({ inputs, parameters: { sequence_id: 0, custom: 'x', priority: 1 } })
  })
})

describe('parseRawRequest', () => {
  const input = (dims: Array<number | null>, type: TensorType = 'float32'): ValueDescription => ({ name: 'x', type, dims })
  const parse = (bytes: number, inputs: ValueDescription[], usual: number[] = []) => {
    return parseRawRequest(Buffer.alloc(bytes), inputs, usual).x?.dims
  }

  it('deduces one row of the model, or the size that varies', () => {
    assert.deepEqual(parse(24, [input([null, 3, 2])]), [1, 3, 2])
    assert.deepEqual(parse(24, [input([1, 3, null])]), [1, 3, 2])
    assert.deepEqual(parse(24, [input([null, null])]), [1, 6])
    assert.deepEqual(parse(48, [input([null, 3, null, null])], [1, 3, 2, 2]), [1, 3, 2, 2])
  })

  it('takes a body as one element of BYTES', () => {
    const feeds = parseRawRequest(Buffer.from('hello'), [input([null], 'string')], [])
    assert.deepEqual(feeds.x, { type: 'string', dims: [1], data: ['hello'] })
  })

  it('refuses another size, and models with several inputs', () => {
    for (const bytes of [0, 20, 28, 48]) assert.throws(() => parse(bytes, [input([null, 3, 2])]), hasCode('PROTOCOL_INVALID'))
    for (const bytes of [0, 7]) assert.throws(() => parse(bytes, [input([null, null])]), hasCode('PROTOCOL_INVALID'))
    assert.throws(() => parse(24, [input([null, 3, null, null])], [1, 3, 2, 2]), hasCode('PROTOCOL_INVALID', { expected: '48 bytes' }))
    assert.throws(() => parse(24, [input([6]), input([6])]), hasCode('PROTOCOL_INVALID'))
  })
})

describe('classify', () => {
  const best = (...given: Parameters<typeof classify>) => finish(classify(...given))
  const scores: PlainTensor = { type: 'float32', dims: [2, 3], data: Float32Array.of(1, 3, 2, 5, NaN, 5) }

  it('gives the best classes of every row, ties by index, NaN last', () => {
    assert.deepEqual(best('y', scores, 2, ['a', 'b', 'c']), {
      type: 'string', dims: [2, 2], data: ['3.000000:1:b', '2.000000:2:c', '5.000000:0:a', '5.000000:2:c']
    })
    assert.deepEqual(best('y', scores, 9, ['a']).data, [
      '3.000000:1', '2.000000:2', '1.000000:0', '5.000000:0', '5.000000:2', 'NaN:1'
    ])
  })

  it('takes integers as they are, one row of a vector, no rows at all', () => {
    assert.deepEqual(best('y', { type: 'int64', dims: [2], data: BigInt64Array.of(1n, 2n) }, 1, []).data, ['2:1'])
    assert.deepEqual(best('y', { type: 'float32', dims: [0, 3], data: new Float32Array(0) }, 1, []).dims, [0, 0])
  })

  it('refuses what is no count or has no order', () => {
    for (const count of [0, -1, 1.5, '2', true]) assert.throws(() => best('y', scores, count, []), hasCode('PROTOCOL_INVALID'))
    assert.throws(() => best('y', { type: 'string', dims: [1], data: ['a'] }, 1, []), hasCode('PROTOCOL_INVALID'))
  })
})

describe('compression', () => {
  it('chooses what the client likes best of what there is', () => {
    const cases: Array<[string | undefined, string | undefined]> = [
      [undefined, undefined], ['', undefined], ['br', undefined], ['identity', undefined], ['gzip', 'gzip'], ['deflate', 'deflate'],
      ['gzip, deflate', 'gzip'], ['deflate, gzip', 'deflate'], ['gzip;q=0.5, deflate', 'deflate'], ['gzip;q=0, deflate;q=0', undefined],
      ['GZIP ; q=1', 'gzip'], ['gzip;q=x', undefined]
    ]
    for (const [header, expected] of cases) assert.equal(chosenEncoding(header), expected, String(header))
  })

  it('gives back what went in', async () => {
    const body = Buffer.from('bank '.repeat(1000))
    assert.deepEqual(gunzipSync(await compress(body, 'gzip')), body)
    assert.deepEqual(inflateSync(await compress(body, 'deflate')), body)
  })
})
