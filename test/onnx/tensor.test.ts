import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { bytesOf } from '#src/base/bytes.js'
import { TensorProtoSchema, type TensorProto } from '#src/onnx/generated/onnx_pb.js'
import {
  DataType, dimsOf, float32Tensor, int64Tensor, isExternal, isFloatTensor, isIntegerTensor, readFloat32, readFloat64,
  readIntegers
} from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

const EXTERNAL = 1

type Content = Omit<MessageInitShape<typeof TensorProtoSchema>, '$typeName' | 'dims'>

function tensor (dataType: number, dims: readonly number[], content: Content): TensorProto {
  return create(TensorProtoSchema, { name: 't', dataType, dims: dims.map(BigInt), ...content })
}

function raw (dataType: number, values: ArrayBufferView & { length: number }): TensorProto {
  return tensor(dataType, [values.length], { rawData: bytesOf(values) })
}

describe('float tensors', () => {
  const third = Math.fround(1 / 3)

  test('float32, raw or typed', () => {
    for (const made of [
      raw(DataType.FLOAT, Float32Array.of(third, -0, Infinity, NaN)),
      tensor(DataType.FLOAT, [4], { floatData: [third, -0, Infinity, NaN] })
    ]) {
      assert.deepEqual(readFloat32(made), Float32Array.of(third, -0, Infinity, NaN))
      assert.deepEqual(readFloat64(made), Float64Array.of(third, -0, Infinity, NaN))
    }
  })

  test('float64, raw or typed: exact as float64, rounded as float32', () => {
    for (const made of [
      raw(DataType.DOUBLE, Float64Array.of(1 / 3, 1e300)), tensor(DataType.DOUBLE, [2], { doubleData: [1 / 3, 1e300] })
    ]) {
      assert.deepEqual(readFloat64(made), Float64Array.of(1 / 3, 1e300))
      assert.deepEqual(readFloat32(made), Float32Array.of(third, Infinity))
    }
  })

  test('float16, raw or as patterns in int32_data', () => {
    const patterns = [0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000]
    for (const made of [
      raw(DataType.FLOAT16, Uint16Array.from(patterns)), tensor(DataType.FLOAT16, [5], { int32Data: patterns })
    ]) {
      assert.deepEqual(readFloat64(made), Float64Array.of(1, -2, 2 ** -24, 65504, -0))
      assert.deepEqual(readFloat32(made), Float32Array.of(1, -2, 2 ** -24, 65504, -0))
    }
  })

  test('bfloat16, raw or as patterns in int32_data', () => {
    const patterns = [0x3f80, 0xc049, 0x7f80]
    for (const made of [
      raw(DataType.BFLOAT16, Uint16Array.from(patterns)), tensor(DataType.BFLOAT16, [3], { int32Data: patterns })
    ]) {
      assert.deepEqual(readFloat64(made), Float64Array.of(1, -3.140625, Infinity))
      assert.deepEqual(readFloat32(made), Float32Array.of(1, -3.140625, Infinity))
    }
  })

  test('scalars and tensors without elements', () => {
    assert.deepEqual(readFloat32(tensor(DataType.FLOAT, [], { floatData: [7] })), Float32Array.of(7))
    for (const dataType of [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.BFLOAT16]) {
      assert.equal(readFloat32(tensor(dataType, [0, 3], {})).length, 0)
      assert.equal(readFloat64(tensor(dataType, [2, 0], {})).length, 0)
    }
  })

  test('aligned float32 is a view of the file, anything else a copy', () => {
    const bytes = Buffer.from(new ArrayBuffer(32))
    for (let offset = 0; offset < 8; offset++) {
      bytes.writeFloatLE(third, offset)
      bytes.writeFloatLE(-2, offset + 4)
      const values = readFloat32(tensor(DataType.FLOAT, [2], { rawData: bytes.subarray(offset, offset + 8) }))
      assert.deepEqual(values, Float32Array.of(third, -2))
      assert.equal(values.buffer === bytes.buffer, offset % 4 === 0)
    }
  })

  test('every wide type from bytes that are not aligned', () => {
    const misaligned = (values: ArrayBufferView) => Buffer.concat([Buffer.of(0), bytesOf(values)]).subarray(1)
    const read = (dataType: number, values: ArrayBufferView) => {
      return [...readFloat64(tensor(dataType, [1], { rawData: misaligned(values) }))]
    }
    assert.deepEqual(read(DataType.DOUBLE, Float64Array.of(1 / 3)), [1 / 3])
    assert.deepEqual(read(DataType.FLOAT16, Uint16Array.of(0x3c00)), [1])
    assert.deepEqual(read(DataType.BFLOAT16, Uint16Array.of(0x3f80)), [1])
    assert.deepEqual(readIntegers(tensor(DataType.INT64, [1], { rawData: misaligned(BigInt64Array.of(-5n)) })), [-5])
  })

  test('other types are refused by name', () => {
    for (const dataType of [DataType.INT64, DataType.BOOL, DataType.STRING, 0, 17, 99]) {
      const made = tensor(dataType, [1], { rawData: new Uint8Array(8) })
      assert.throws(() => readFloat32(made), hasCode('ONNX_MALFORMED', { received: dataType }))
      assert.throws(() => readFloat64(made), /"t" is not of a float type/)
    }
  })
})

describe('integer tensors', () => {
  const cases: Array<[what: string, dataType: number, values: number[], raw: ArrayBufferView, typed: Content]> = [
    ['int64', DataType.INT64, [-1, 2 ** 53 - 1], BigInt64Array.of(-1n, 2n ** 53n - 1n), {
      int64Data: [-1n, 2n ** 53n - 1n]
    }],
    ['uint64', DataType.UINT64, [0, 2 ** 53 - 1], BigUint64Array.of(0n, 2n ** 53n - 1n), {
      uint64Data: [0n, 2n ** 53n - 1n]
    }],
    ['uint32', DataType.UINT32, [0, 2 ** 32 - 1], Uint32Array.of(0, 2 ** 32 - 1), { uint64Data: [0n, 2n ** 32n - 1n] }],
    ['int32', DataType.INT32, [-(2 ** 31), 5], Int32Array.of(-(2 ** 31), 5), { int32Data: [-(2 ** 31), 5] }],
    ['int16', DataType.INT16, [-32768, 5], Int16Array.of(-32768, 5), { int32Data: [-32768, 5] }],
    ['uint16', DataType.UINT16, [0, 65535], Uint16Array.of(0, 65535), { int32Data: [0, 65535] }],
    ['int8', DataType.INT8, [-128, 127], Int8Array.of(-128, 127), { int32Data: [-128, 127] }],
    ['uint8', DataType.UINT8, [0, 255], Uint8Array.of(0, 255), { int32Data: [0, 255] }],
    ['bool', DataType.BOOL, [1, 0], Uint8Array.of(1, 0), { int32Data: [1, 0] }]
  ]
  for (const [what, dataType, values, bytes, typed] of cases) {
    test(`${what}, raw or typed`, () => {
      assert.deepEqual(readIntegers(tensor(dataType, [2], { rawData: bytesOf(bytes) })), values)
      assert.deepEqual(readIntegers(tensor(dataType, [2], { rawData: Buffer.from(bytesOf(bytes)) })), values)
      assert.deepEqual(readIntegers(tensor(dataType, [2], typed)), values)
      assert.deepEqual(readIntegers(tensor(dataType, [0], {})), [])
    })
  }

  test('integers that a number cannot hold are refused', () => {
    for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]) {
      assert.throws(() => readIntegers(raw(DataType.INT64, BigInt64Array.of(value))), hasCode('ONNX_UNSUPPORTED'))
      const typed = tensor(DataType.INT64, [1], { int64Data: [value] })
      assert.throws(() => readIntegers(typed), hasCode('ONNX_UNSUPPORTED'))
    }
    const unsigned = raw(DataType.UINT64, BigUint64Array.of(2n ** 64n - 1n))
    assert.throws(() => readIntegers(unsigned), hasCode('ONNX_UNSUPPORTED'))
  })

  test('other types are refused by name', () => {
    for (const dataType of [DataType.FLOAT, DataType.STRING, DataType.BFLOAT16, 0, 99]) {
      const made = tensor(dataType, [1], { rawData: new Uint8Array(8) })
      assert.throws(() => readIntegers(made), hasCode('ONNX_MALFORMED', { received: dataType }))
    }
  })
})

describe('tensors that do not hold what they say', () => {
  const read = (made: TensorProto) => isFloatTensor(made) ? readFloat64(made) : readIntegers(made)

  test('too few or too many values, in either form', () => {
    for (const dims of [[3], [1], [], [2, 2], [0]]) {
      const expected = dims.reduce((product, dim) => product * dim, 1)
      for (const made of [
        tensor(DataType.FLOAT, dims, { rawData: new Uint8Array(8) }),
        tensor(DataType.FLOAT, dims, { floatData: [1, 2] }),
        tensor(DataType.DOUBLE, dims, { rawData: new Uint8Array(16) }),
        tensor(DataType.FLOAT16, dims, { int32Data: [1, 2] }),
        tensor(DataType.INT64, dims, { int64Data: [1n, 2n] }),
        tensor(DataType.BOOL, dims, { rawData: new Uint8Array(2) })
      ]) {
        assert.throws(() => read(made), hasCode('ONNX_MALFORMED', { expected, received: 2 }))
      }
    }
  })

  test('no values at all', () => {
    for (const dataType of [DataType.FLOAT, DataType.DOUBLE, DataType.BFLOAT16, DataType.INT64, DataType.UINT8]) {
      assert.throws(() => read(tensor(dataType, [1], {})), hasCode('ONNX_MALFORMED', { expected: 1, received: 0 }))
    }
  })

  test('raw bytes that are no whole number of elements', () => {
    const widths: Array<[dataType: number, width: number]> = [
      [DataType.FLOAT, 4], [DataType.DOUBLE, 8], [DataType.FLOAT16, 2], [DataType.BFLOAT16, 2], [DataType.INT64, 8],
      [DataType.UINT64, 8], [DataType.INT32, 4], [DataType.UINT32, 4], [DataType.INT16, 2], [DataType.UINT16, 2]
    ]
    for (const [dataType, width] of widths) {
      for (let extra = 1; extra < width; extra++) {
        const made = tensor(dataType, [2], { rawData: new Uint8Array(2 * width + extra) })
        assert.throws(() => read(made), hasCode('ONNX_MALFORMED'), `${dataType} and ${extra}`)
      }
      assert.equal(read(tensor(dataType, [2], { rawData: new Uint8Array(2 * width) })).length, 2)
    }
  })

  test('tensors whose bytes stand in another file', () => {
    const external = { dataLocation: EXTERNAL, externalData: [{ key: 'location', value: '/etc/passwd' }] }
    for (const dataType of [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.INT64]) {
      for (const dims of [[0], [2]]) {
        const made = tensor(dataType, dims, external)
        assert.ok(isExternal(made))
        assert.throws(() => read(made), hasCode('ONNX_UNSUPPORTED'))
        if (isFloatTensor(made)) assert.throws(() => readFloat32(made), hasCode('ONNX_UNSUPPORTED'))
      }
    }
    assert.ok(!isExternal(tensor(DataType.FLOAT, [0], {})))
  })
})

describe('dimensions', () => {
  test('are numbers; a scalar has none', () => {
    assert.deepEqual(dimsOf(tensor(DataType.FLOAT, [2, 0, 3], {})), [2, 0, 3])
    assert.deepEqual(dimsOf(tensor(DataType.FLOAT, [], {})), [])
  })

  test('that are negative or ask for more elements than can be counted are refused', () => {
    for (const dims of [[-1], [2, -3], [-2, -2], [0, -1], [2 ** 53], [2 ** 27, 2 ** 27], [2 ** 62, 2 ** 62]]) {
      assert.throws(() => dimsOf(tensor(DataType.FLOAT, dims, {})), hasCode('ONNX_MALFORMED', { received: dims }))
      assert.throws(() => readFloat32(tensor(DataType.FLOAT, dims, { floatData: [1] })), hasCode('ONNX_MALFORMED'))
    }
  })
})

test('every type is a float, an integer or neither', () => {
  const floats = [DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE, DataType.BFLOAT16] as number[]
  for (let dataType = 0; dataType < 30; dataType++) {
    const made = tensor(dataType, [], {})
    const isKnown = (Object.values(DataType) as number[]).includes(dataType)
    assert.equal(isFloatTensor(made), floats.includes(dataType))
    assert.equal(isIntegerTensor(made), isKnown && !floats.includes(dataType) && dataType !== DataType.STRING)
  }
})

describe('made tensors', () => {
  test('float32Tensor lies over the values it was given', () => {
    const values = Float32Array.of(1, 2, 3, 4).subarray(1, 3)
    const made = float32Tensor('w', [2, 1], values)
    assert.deepEqual([made.name, made.dataType, dimsOf(made)], ['w', DataType.FLOAT, [2, 1]])
    assert.deepEqual(readFloat32(made), Float32Array.of(2, 3))
    values[0] = 9
    assert.equal(readFloat32(made)[0], 9)
  })

  test('what is made is read back', () => {
    fc.assert(fc.property(fc.array(fc.float()), fc.array(fc.maxSafeInteger()), (floats, integers) => {
      const values = Float32Array.from(floats)
      assert.deepEqual(readFloat32(float32Tensor('f', [floats.length], values)), values)
      assert.deepEqual(readIntegers(int64Tensor('i', [integers.length], integers)), integers.map((value) => value + 0))
    }), { seed: runSeed })
  })
})
