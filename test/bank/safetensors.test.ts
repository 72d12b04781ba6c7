import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { bytesOf } from '#src/base/bytes.js'
import { BankswitchError } from '#src/base/errors.js'
import {
  floatValues, parseSafetensors, serializeSafetensors, type TensorToWrite
} from '#src/bank/formats/safetensors.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'
import { f32, rawSafetensors, safetensorsOf } from '../support/safetensors-file.js'

const MIB = 2 ** 20
const HEADER_BYTES_MAX = 16 * MIB
const TENSORS_MAX = 100_000

/** An entry of a header, as text. */
function entry (name: string, offsets: readonly [number, number], shape = `[${offsets[1] - offsets[0]}]`, dtype = 'U8') {
  return `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":${shape},"data_offsets":[${offsets.join()}]}`
}

function parseEntries (entries: readonly string[], body: number | Uint8Array = 0) {
  return parseSafetensors(rawSafetensors(`{${entries.join()}}`, body))
}

const isMalformed = hasCode('SAFETENSORS_MALFORMED')

describe('files that are read', () => {
  test('tensors with dtype, shape and bytes, and the metadata', () => {
    const file = safetensorsOf({ a: f32(1, 2), 'b.c': { dtype: 'I64', shape: [], bytes: new Uint8Array(8).fill(1) } }, {
      format: 'pt', empty: ''
    })
    const { tensors, metadata } = parseSafetensors(file)
    assert.deepEqual([...metadata], [['format', 'pt'], ['empty', '']])
    assert.deepEqual([...tensors], [
      ['a', { dtype: 'F32', shape: [2], bytes: Uint8Array.of(0, 0, 128, 63, 0, 0, 0, 64) }],
      ['b.c', { dtype: 'I64', shape: [], bytes: new Uint8Array(8).fill(1) }]
    ])
  })

  test('a file without tensors', () => {
    for (const header of ['{}', '{ }      ', '{"__metadata__":{}}']) {
      const { tensors, metadata } = parseSafetensors(rawSafetensors(header))
      assert.equal(tensors.size + metadata.size, 0)
    }
  })

  test('a file that lies anywhere in a larger buffer', () => {
    const file = safetensorsOf({ a: f32(1) })
    const whole = Buffer.concat([Buffer.from('abc'), file, Buffer.from('xyz')])
    const { tensors } = parseSafetensors(whole.subarray(3, 3 + file.length))
    assert.deepEqual([...floatValues('a', tensors.get('a')!)], [1])
  })

  test('entries in any order, and tensors without elements between others', () => {
    const { tensors } = parseEntries([
      entry('last', [2, 3]), entry('none', [2, 2]), entry('first', [0, 2]),
      entry('none too', [0, 0], '[0,1099511627776]')
    ], Uint8Array.of(7, 8, 9))
    assert.deepEqual(tensors.get('first')!.bytes, Uint8Array.of(7, 8))
    assert.deepEqual(tensors.get('last')!.bytes, Uint8Array.of(9))
    assert.equal(tensors.get('none')!.bytes.length, 0)
    assert.deepEqual(tensors.get('none too')!.shape, [0, 2 ** 40])
  })

  test('names that are names of Object\'s own, empty, numeric or not ASCII', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', '0', '10', '2', 'ü', '😀', 'a"\\', '\0']
    const { tensors } = parseEntries(names.map((name, at) => entry(name, [at, at + 1])), names.length)
    assert.deepEqual(new Set(tensors.keys()), new Set(names))
    assert.equal(tensors.get('toString')!.bytes.length, 1)
    const { metadata } = parseSafetensors(rawSafetensors('{"__metadata__":{"__proto__":"x","constructor":"y"}}'))
    assert.deepEqual([...metadata], [['__proto__', 'x'], ['constructor', 'y']])
  })

  test('every dtype of whole bytes', () => {
    const dtypesOfWidth = {
      1: ['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'],
      2: ['I16', 'U16', 'F16', 'BF16'],
      4: ['I32', 'U32', 'F32'],
      8: ['C64', 'F64', 'I64', 'U64']
    }
    const widths = Object.entries(dtypesOfWidth).flatMap(([width, dtypes]) => {
      return dtypes.map((dtype) => [dtype, Number(width)] as const)
    })
    for (const [dtype, width] of widths) {
      const size = 6 * width
      assert.equal(parseEntries([entry('x', [0, size], '[2,3]', dtype)], size).tensors.get('x')!.dtype, dtype)
      assert.throws(() => parseEntries([entry('x', [0, size + 1], '[2,3]', dtype)], size + 1), isMalformed)
    }
  })

  test('a header of exactly the limit, and exactly as many tensors as allowed', () => {
    assert.equal(parseSafetensors(rawSafetensors('{}'.padEnd(HEADER_BYTES_MAX))).tensors.size, 0)
    const entries = Array.from({ length: TENSORS_MAX }, (_, at) => entry(`t${at}`, [0, 0]))
    assert.equal(parseEntries(entries).tensors.size, TENSORS_MAX)
    assert.throws(() => parseEntries([...entries, entry('x', [0, 0])]), hasCode('SAFETENSORS_MALFORMED', {
      expected: TENSORS_MAX, received: TENSORS_MAX + 1
    }))
  })
})

describe('the length of the header', () => {
  test('a file of fewer than 8 bytes', () => {
    for (let length = 0; length < 8; length++) {
      assert.throws(() => parseSafetensors(new Uint8Array(length)), isMalformed)
    }
  })

  test('no header at all', () => {
    assert.throws(() => parseSafetensors(new Uint8Array(8)), isMalformed)
    assert.throws(() => parseSafetensors(new Uint8Array(100)), isMalformed)
  })

  test('longer than the file: told by both numbers, and nothing is allocated for it', () => {
    for (const declared of [3n, 4n, 100n, 2n ** 31n, 2n ** 32n + 2n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      assert.throws(() => parseSafetensors(rawSafetensors('{}', 0, declared)), hasCode('SAFETENSORS_MALFORMED', {
        expected: 2, received: String(declared)
      }))
    }
  })

  test('longer than the limit, although the file is large enough', () => {
    const header = '{}'.padEnd(HEADER_BYTES_MAX + 1)
    assert.throws(() => parseSafetensors(rawSafetensors(header)), hasCode('SAFETENSORS_MALFORMED', {
      expected: HEADER_BYTES_MAX, received: String(header.length)
    }))
  })

  test('shorter than the header', () => {
    assert.throws(() => parseSafetensors(rawSafetensors(`{${entry('a', [0, 4])}}`, 4, 20n)), isMalformed)
  })
})

describe('the header', () => {
  const refused: Readonly<Record<string, string | Uint8Array>> = {
    'begins with a space': ' {}',
    'begins with a byte order mark': '\ufeff{}',
    'is an array': '[]',
    'is a string': '"{}"',
    'is no JSON': '{]',
    'is cut off': '{"a":{"dtype":"U8"',
    'has a tail': '{}{}',
    'is padded with zeros': '{}\0\0\0\0',
    'is no UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    'nests too deep': `{"a":${'['.repeat(1000)}${']'.repeat(1000)}}`,
    'nests a little too deep': '{"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}}',
    'has a name twice': `{${entry('a', [0, 0])},${entry('a', [0, 0])}}`,
    'has a name twice, once escaped': `{${entry('a', [0, 0])},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`,
    'has metadata twice': '{"__metadata__":{},"__metadata__":{}}',
    'has a key of the metadata twice': '{"__metadata__":{"a":"1","a":"2"}}',
    'has a field of an entry twice': '{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'has half a surrogate pair in a name': '{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    'has half a surrogate pair in a key of the metadata': '{"__metadata__":{"\\udc00":""}}',
    'has half a surrogate pair in the metadata': '{"__metadata__":{"a":"x\\ud83dy"}}',
    'has half a pair at the end of a key and the other in its text': '{"__metadata__":{"\\ud83d":"\\ude00"}}',
    'has metadata null': '{"__metadata__":null}',
    'has a list as metadata': '{"__metadata__":["a"]}',
    'has a number in the metadata': '{"__metadata__":{"a":1}}',
    'has an object in the metadata': '{"__metadata__":{"a":{}}}',
    'has a null entry': '{"a":null}',
    'has a list as entry': '{"a":[]}',
    'has an entry without dtype': '{"a":{"shape":[0],"data_offsets":[0,0]}}',
    'has an entry without shape': '{"a":{"dtype":"U8","data_offsets":[0,0]}}',
    'has an entry without offsets': '{"a":{"dtype":"U8","shape":[0]}}',
    'has an entry with another field': '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":0}}',
    'has an entry with fields that only look right when joined': '{"a":{"data_offsets,dtype":"U8","shape":[0]}}',
    'has a number as dtype': '{"a":{"dtype":1,"shape":[0],"data_offsets":[0,0]}}',
    'has a number as shape': '{"a":{"dtype":"U8","shape":0,"data_offsets":[0,0]}}',
    'has a null shape': '{"a":{"dtype":"U8","shape":null,"data_offsets":[0,0]}}',
    'has strings in a shape': '{"a":{"dtype":"U8","shape":["0"],"data_offsets":[0,0]}}',
    'has one offset': '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}}',
    'has three offsets': '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}}',
    'has an object as offsets': '{"a":{"dtype":"U8","shape":[0],"data_offsets":{"0":0,"1":0}}}'
  }
  for (const [what, header] of Object.entries(refused)) {
    test(`is refused when it ${what}`, () => {
      assert.throws(() => parseSafetensors(rawSafetensors(header)), isMalformed)
    })
  }

  test('is refused when a number is not made of digits, as the reference reader does', () => {
    for (const number of ['4.0', '4e0', '4E0', '4e+0', '40e-1', '-4', '4.5', '"4"', 'null', '+4', '04', '0x4']) {
      assert.throws(() => parseEntries([`"a":{"dtype":"U8","shape":[${number}],"data_offsets":[0,4]}`], 4), isMalformed)
      assert.throws(() => parseEntries([`"a":{"dtype":"U8","shape":[4],"data_offsets":[0,${number}]}`], 4), isMalformed)
    }
    assert.throws(() => parseEntries(['"a":{"dtype":"U8","shape":[4],"data_offsets":[-0,4]}'], 4), isMalformed)
    assert.equal(parseEntries(['"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'], 4).tensors.size, 1)
  })

  test('is refused when a number leaves 2^53, where JSON.parse is not exact', () => {
    const numbers = ['9007199254740992', '9007199254740993', '18446744073709551616', '1'.repeat(400)]
    for (const number of numbers) {
      for (const [size, offset] of [[number, 0], [0, number]]) {
        const text = `"a":{"dtype":"U8","shape":[${size},0],"data_offsets":[${offset},${offset}]}`
        assert.throws(() => parseEntries([text]), isMalformed, text)
      }
    }
  })

  test('is refused when the sizes of a shape overflow, even when one of them is 0', () => {
    const large = 2 ** 40
    for (const shape of [`[${large},${large}]`, `[${large},${large},0]`, `[0,${large},${large}]`]) {
      assert.throws(() => parseEntries([entry('a', [0, 0], shape)]), isMalformed, shape)
    }
    assert.throws(() => parseEntries([entry('a', [0, 0], '[9007199254740991,0]', 'F64')]), isMalformed)
  })

  test('unknown dtypes, types of less than a byte, and names of Object\'s own are SAFETENSORS_UNSUPPORTED', () => {
    const dtypes = ['F4', 'F6_E2M3', 'F6_E3M2', 'f32', 'F32 ', 'F128', '', 'toString', '__proto__', 'constructor']
    for (const dtype of dtypes) {
      assert.throws(() => parseEntries([entry('a', [0, 0], '[0]', dtype)]), hasCode('SAFETENSORS_UNSUPPORTED', {
        tensor: 'a', received: dtype
      }))
    }
  })
})

describe('the layout of the tensors', () => {
  const refused: Readonly<Record<string, [entries: string[], body: number]>> = {
    'do not begin at 0': [[entry('a', [1, 3])], 3],
    'leave a hole': [[entry('a', [0, 2]), entry('b', [3, 4])], 4],
    overlap: [[entry('a', [0, 3]), entry('b', [2, 4])], 4],
    'stand in the same place': [[entry('a', [0, 4]), entry('b', [0, 4])], 4],
    'lie within another': [[entry('a', [0, 4]), entry('b', [1, 2])], 4],
    'leave bytes over': [[entry('a', [0, 4])], 5],
    'are none while there are bytes': [[], 1],
    'reach beyond the file': [[entry('a', [0, 4])], 3],
    'reach far beyond the file': [[entry('a', [0, 2 ** 50])], 3],
    'have reversed offsets': [[entry('a', [4, 0], '[4]')], 4],
    'are smaller than their shape says': [[entry('a', [0, 4], '[5]')], 4],
    'are larger than their shape says': [[entry('a', [0, 4], '[3]')], 4],
    'are smaller than their type says': [[entry('a', [0, 4], '[2]', 'F32')], 4],
    'are scalars without bytes': [[entry('a', [0, 0], '[]')], 0],
    'are scalars of several elements': [[entry('a', [0, 8], '[]', 'F32')], 8],
    'are empty and have bytes': [[entry('a', [0, 4], '[0,4]')], 4]
  }
  for (const [what, [entries, body]] of Object.entries(refused)) {
    test(`is refused when tensors ${what}`, () => {
      assert.throws(() => parseEntries(entries, body), isMalformed)
    })
  }

  test('an error names the tensor, what was expected and what was received', () => {
    assert.throws(() => parseEntries([entry('a', [0, 2]), entry('b', [3, 4])], 4), (error: unknown) => {
      assert.ok(hasCode('SAFETENSORS_MALFORMED', { expected: 2, received: 3 })(error))
      assert.match((error as Error).message, /"b" does not begin where the one before it ended/)
      return true
    })
    assert.throws(() => parseEntries([entry('a', [0, 4])], 3), /"a" reaches beyond the end of the file/)
    assert.throws(() => parseEntries([entry('a', [4, 0], '[4]')], 4), /data_offsets of "a" must be \[begin, end\]/)
  })

  test('no error grows with the file', () => {
    const long = 'x'.repeat(100_000)
    for (const header of [`{${entry(long, [1, 2])}}`, `{"a":{"${long}":1}}`, `{"__metadata__":{"${long}":1}}`,
      `{"a":{"dtype":"${long}","shape":[0],"data_offsets":[0,0]}}`, `{"${long}":1,"${long}":2}`,
      `{"a":{"dtype":"U8","shape":[${'1,'.repeat(50_000)}"1"],"data_offsets":[0,0]}}`]) {
      assert.throws(() => parseSafetensors(rawSafetensors(header, 2)), isShort)
    }
  })
})

/** Errors go out to clients and into logs: their size must not follow the file's. */
function isShort (error: unknown): boolean {
  assert.ok(error instanceof BankswitchError, String(error))
  assert.match(error.code, /^SAFETENSORS_/)
  assert.ok(error.message.length < 1000, error.message)
  assert.ok(JSON.stringify(error.details).length < 1000)
  return true
}

describe('floatValues', () => {
  const valuesOf = (dtype: string, shape: number[], bytes: Uint8Array) => floatValues('x', { dtype, shape, bytes })

  test('reads the four float types', () => {
    assert.deepEqual(valuesOf('F32', [2], bytesOf(Float32Array.of(0.1, -0))), Float32Array.of(0.1, -0))
    assert.deepEqual(valuesOf('F64', [2], bytesOf(Float64Array.of(0.1, 1e300))), Float64Array.of(0.1, 1e300))
    assert.deepEqual(valuesOf('F16', [3], bytesOf(Uint16Array.of(0x3c00, 0xc000, 1))), Float32Array.of(1, -2, 2 ** -24))
    assert.deepEqual(valuesOf('BF16', [2], bytesOf(Uint16Array.of(0x3f80, 0xc049))), Float32Array.of(1, -3.140625))
    assert.deepEqual(valuesOf('F32', [], bytesOf(Float32Array.of(7))), Float32Array.of(7))
    assert.equal(valuesOf('F32', [0], new Uint8Array()).length, 0)
  })

  test('reads tensors that are not aligned, as most are in a file whose header is not padded', () => {
    for (let pad = 0; pad < 8; pad++) {
      const file = safetensorsOf({
        [`${'p'.repeat(pad)}`]: { dtype: 'U8', shape: [1], bytes: Uint8Array.of(1) },
        half: { dtype: 'F16', shape: [1], bytes: bytesOf(Uint16Array.of(0x3c00)) },
        single: f32(2, 3),
        double: { dtype: 'F64', shape: [1], bytes: bytesOf(Float64Array.of(1 / 3)) }
      })
      const { tensors } = parseSafetensors(Buffer.from(file))
      const read = (name: string) => [...floatValues(name, tensors.get(name)!)]
      assert.deepEqual([read('half'), read('single'), read('double')], [[1], [2, 3], [1 / 3]])
    }
  })

  test('copies nothing that is aligned', () => {
    const file = serializeSafetensors([{ name: 'a', dtype: 'F32', shape: [2], bytes: bytesOf(Float32Array.of(1, 2)) }], new Map())
    assert.equal(floatValues('a', parseSafetensors(file).tensors.get('a')!).buffer, file.buffer)
  })

  test('refuses what is no float of 16 bits or more, naming the tensor', () => {
    for (const dtype of ['I64', 'U64', 'I32', 'U8', 'BOOL', 'F8_E4M3', 'C64']) {
      assert.throws(() => valuesOf(dtype, [1], new Uint8Array(8)), hasCode('SAFETENSORS_UNSUPPORTED', {
        tensor: 'x', expected: ['F32', 'F64', 'F16', 'BF16'], received: dtype
      }))
    }
  })
})

describe('serializeSafetensors', () => {
  const tensor = (name: string, dtype: TensorToWrite['dtype'], ...values: number[]): TensorToWrite => {
    const array = dtype === 'F32'
      ? Float32Array.from(values)
      : dtype === 'F64' ? Float64Array.from(values) : BigInt64Array.from(values, BigInt)
    return { name, dtype, shape: [values.length], bytes: bytesOf(array) }
  }

  test('writes byte for byte what the reference writer would', () => {
    const header = '{"__metadata__":{"format":"pt"},' +
      '"z":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
      '"n":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},' +
      '"a":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},' +
      '"b":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}}'
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8)
    assert.notEqual(padded, header, 'the padding is part of the case')
    const expected = Buffer.concat([
      Uint8Array.of(padded.length & 0xff, padded.length >> 8, 0, 0, 0, 0, 0, 0),
      Buffer.from(padded),
      Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0),
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0xe0, 0x3f),
      Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0),
      Uint8Array.of(0, 0, 0x40, 0x40)
    ])
    const tensors = [tensor('b', 'F32', 3), tensor('n', 'F64', 0.5), tensor('z', 'I64', 5), tensor('a', 'F32', 1, -2)]
    const file = serializeSafetensors(tensors, new Map([['format', 'pt']]))
    assert.equal(Buffer.from(file).toString('latin1'), expected.toString('latin1'))
  })

  test('a file without tensors or metadata', () => {
    assert.deepEqual(
      [...serializeSafetensors([], new Map())], [8, 0, 0, 0, 0, 0, 0, 0, ...Buffer.from('{}      ')]
    )
  })

  test('the same content gives the same bytes, whatever order it came in', () => {
    const tensors = ['c', 'a', 'd', 'b'].map((name, at) => tensor(name, at % 2 === 0 ? 'F32' : 'F64', at))
    const metadata: Array<[string, string]> = [['x', '1'], ['b', '2'], ['10', '3']]
    const file = serializeSafetensors(tensors, new Map(metadata))
    assert.deepEqual(serializeSafetensors(tensors.toReversed(), new Map(metadata.toReversed())), file)
  })

  test('names sort by their UTF-8 bytes, numbers among them', () => {
    const names = ['😀', '\uffee', 'b', '10', '9', 'B', 'é', '']
    const file = serializeSafetensors(names.map((name) => tensor(name, 'F32', 1)), new Map([['7', 'x']]))
    const header = Buffer.from(file.subarray(8)).toString('utf8')
    const order = [...header.matchAll(/"([^"]*)":\{"dtype"/g)].map(([, name]) => name)
    assert.deepEqual(order, ['', '10', '9', 'B', 'b', 'é', '\uffee', '😀'])
    assert.ok(header.startsWith('{"__metadata__":{"7":"x"},'))
    assert.deepEqual(new Set(parseSafetensors(file).tensors.keys()), new Set(names))
  })

  test('the tensors begin at a multiple of 8', () => {
    for (let length = 1; length <= 17; length++) {
      const file = serializeSafetensors([tensor('ü'.repeat(length), 'F32', 1)], new Map())
      const size = Number(new DataView(file.buffer).getBigUint64(0, true))
      assert.equal(size % 8, 0)
      assert.equal(file.length, 8 + size + 4)
    }
  })

  test('what is written is read back, whatever the names, shapes and metadata', () => {
    const special = fc.constantFrom('__proto__', 'constructor', '1')
    const text = fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), special)
    const content = fc.record({
      dtype: fc.constantFrom<TensorToWrite['dtype'][]>('F32', 'F64', 'I64'),
      shape: fc.array(fc.nat({ max: 4 }), { maxLength: 3 })
    })
    const names = fc.dictionary(text.filter((name) => name !== '__metadata__'), content, { maxKeys: 8 })
    const metadatas = fc.dictionary(text, text)
    fc.assert(fc.property(names, metadatas, fc.nat({ max: 255 }), (contents, metadata, fill) => {
      const tensors = Object.entries(contents).map(([name, { dtype, shape }], at): TensorToWrite => {
        const size = shape.reduce((product, dim) => product * dim, dtype === 'F32' ? 4 : 8)
        return { name, dtype, shape, bytes: new Uint8Array(size).fill(fill + at) }
      })
      const parsed = parseSafetensors(serializeSafetensors(tensors, new Map(Object.entries(metadata))))
      assert.deepEqual(new Map(parsed.metadata), new Map(Object.entries(metadata)))
      assert.equal(parsed.tensors.size, tensors.length)
      for (const { name, ...rest } of tensors) assert.deepEqual(parsed.tensors.get(name), rest)
    }), { seed: runSeed })
  })
})

describe('damaged files', () => {
  const file = safetensorsOf({
    'bn1.running_mean': f32(1, 2, 3),
    'bn1.running_var': f32(1, 1, 1),
    n: { dtype: 'I64', shape: [], bytes: new Uint8Array(8) },
    'conv.weight': { dtype: 'F16', shape: [2, 1, 3, 3], bytes: new Uint8Array(36) }
  }, { format: 'pt' })

  /** Either a whole file, every byte of which is accounted for, or an error of ours. */
  const parseOrRefuse = (bytes: Uint8Array) => {
    let tensors
    try {
      ({ tensors } = parseSafetensors(bytes))
    } catch (error) {
      return isShort(error)
    }
    const header = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
    const total = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes.length, 0)
    assert.equal(8 + header + total, bytes.length)
    return true
  }

  test('cut off anywhere, a file is refused', () => {
    for (let length = 0; length < file.length; length++) {
      assert.throws(() => parseSafetensors(file.subarray(0, length)), isMalformed)
    }
  })

  test('with any single byte changed, a file is read or refused', () => {
    for (let at = 0; at < file.length; at++) {
      for (const flip of [0x01, 0x04, 0x20, 0x80, 0xff]) {
        const changed = file.slice()
        changed[at]! ^= flip
        parseOrRefuse(changed)
      }
    }
  })

  test('with bytes changed, inserted and deleted, a file is read or refused', () => {
    const interesting = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...Buffer.from('{}[]":,\\0919.-e')))
    const edits = fc.array(fc.tuple(fc.constantFrom('change', 'insert', 'delete'), fc.nat(), interesting), {
      minLength: 1, maxLength: 6
    })
    fc.assert(fc.property(edits, (list) => {
      const bytes = [...file]
      for (const [edit, position, byte] of list) {
        const at = position % bytes.length
        if (edit === 'change') bytes[at] = byte
        else if (edit === 'insert') bytes.splice(at, 0, byte)
        else bytes.splice(at, 1)
      }
      parseOrRefuse(Uint8Array.from(bytes))
    }), { seed: runSeed, numRuns: 2000 })
  })

  test('with parts of the header put in other places, a file is read or refused', () => {
    const text = Buffer.from(file.subarray(8)).toString('latin1')
    const header = text.slice(0, text.lastIndexOf('}') + 1)
    const body = file.subarray(8 + header.length)
    const parts = header.split(/(?<=[{}[\],:"])|(?=[{}[\],:"])/)
    fc.assert(fc.property(fc.nat(), fc.nat(), fc.nat({ max: 12 }), (from, to, count) => {
      const changed = [...parts]
      const moved = changed.slice(from % parts.length, from % parts.length + count)
      changed.splice(to % parts.length, count, ...moved)
      parseOrRefuse(rawSafetensors(changed.join(''), body))
    }), { seed: runSeed, numRuns: 1000 })
  })
})
