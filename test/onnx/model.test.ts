import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { BankswitchError } from '#src/base/errors.js'
import { looksLikeModel, MODEL_BYTES_MAX, opsetOf, parseModel, serializeModel } from '#src/onnx/model.js'
import { shapeOf } from '#src/onnx/node.js'
import { readFloat32 } from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { runSeed } from '../support/run-seed.js'
import { field, message } from '../support/protobuf.js'

const NODES_MAX = 200_000

/** Field numbers of onnx.proto. */
const MODEL = { irVersion: 1, producerName: 2, graph: 7, opsetImport: 8 }
const GRAPH = { node: 1, name: 2, initializer: 5 }
const NODE = { input: 1, output: 2, opType: 4, attribute: 5 }
const ATTRIBUTE = { name: 1, graph: 6 }
const TENSOR = { dims: 1, dataType: 2, name: 8, rawData: 9 }

const standardOpset = (version = 17) => field(MODEL.opsetImport, message(field(1, ''), field(2, version)))

/** A graph of one node; every message may get further fields. */
function model ({ inModel = [], inGraph = [], inNode = [], inTensor = [] }: Record<string, Uint8Array[]> = {}) {
  const node = message(field(NODE.input, 'x'), field(NODE.output, 'y'), field(NODE.opType, 'Relu'), ...inNode)
  const tensor = message(
    field(TENSOR.dims, 2), field(TENSOR.dataType, 1), field(TENSOR.name, 'w'),
    field(TENSOR.rawData, new Uint8Array(Float32Array.of(1, 2).buffer)), ...inTensor
  )
  const graph = message(
    field(GRAPH.node, node), field(GRAPH.name, 'g'), field(GRAPH.initializer, tensor), ...inGraph
  )
  return message(
    field(MODEL.irVersion, 8), field(MODEL.producerName, 'hand'), field(MODEL.graph, graph), standardOpset(), ...inModel
  )
}

describe('parseModel', () => {
  test('reads what was put together by hand', () => {
    const { irVersion, producerName, graph } = parseModel(model())
    assert.deepEqual([irVersion, producerName, graph.name], [8n, 'hand', 'g'])
    assert.deepEqual(graph.node.map(({ opType, input, output }) => [opType, input, output]), [['Relu', ['x'], ['y']]])
    assert.deepEqual(readFloat32(graph.initializer[0]!), Float32Array.of(1, 2))
  })

  test('reads a model from a Buffer that shares its memory with others', () => {
    const whole = Buffer.concat([Buffer.from('xyz'), model(), Buffer.from('xyz')])
    const parsed = parseModel(whole.subarray(3, -3))
    assert.deepEqual(readFloat32(parsed.graph.initializer[0]!), Float32Array.of(1, 2))
  })

  test('what it serialises it parses to the same', () => {
    const g = new GraphBuilder({ opset: 13 })
    const x = g.input('x', ['batch', 3, 'height', null as unknown as string])
    g.output(g.head(g.relu(g.batchNorm(g.conv(x, { inputs: 3, outputs: 4, bias: true }), 4)), 4, 2), ['batch', 2])
    const parsed = parseModel(g.bytes())
    assert.deepEqual(serializeModel(parsed), g.bytes())
    assert.deepEqual(parseModel(serializeModel(parsed)), parsed)
    assert.deepEqual(shapeOf(parsed.graph.input[0]!), [null, 3, null, null])
    assert.equal(parsed.graph.input[0]!.type!.tensorType!.shape!.dim[2]!.value.value, 'height')
  })

  test('fields that it does not know survive a round trip, wherever they stand', () => {
    const unknown = (number: number) => [field(number, `of a later version: ${number}`), field(number + 1000, 2n ** 63n)]
    const bytes = model({ inModel: unknown(26), inGraph: unknown(14), inNode: unknown(10), inTensor: unknown(40) })
    const again = serializeModel(parseModel(bytes))
    for (const extra of [26, 14, 10, 40].flatMap(unknown)) {
      assert.ok(Buffer.from(again).includes(Buffer.from(extra)))
      assert.ok(!Buffer.from(serializeModel(parseModel(model()))).includes(Buffer.from(extra)))
    }
    assert.equal(again.length, bytes.length)
  })

  test('weights are views of the file, not copies', () => {
    const bytes = model()
    const { rawData } = parseModel(bytes).graph.initializer[0]!
    assert.equal(rawData.buffer, bytes.buffer)
  })
})

describe('what is no model', () => {
  const isNoModel = hasCode('ONNX_NOT_A_MODEL')

  test('nothing, zeros, text and files of other kinds', () => {
    const wrong: Readonly<Record<string, Uint8Array>> = {
      nothing: new Uint8Array(),
      zeros: new Uint8Array(1000),
      ones: new Uint8Array(1000).fill(0xff),
      'a Git LFS pointer': Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'),
      'a JSON file': Buffer.from('{"a":1}'),
      'an HTML page': Buffer.from('<!doctype html>'),
      'a zip or .pth file': Buffer.from('PK\u0003\u0004\0\0\0\0\0\0'),
      'a pickle': Buffer.from([0x80, 0x02, 0x7d, 0x71]),
      'an HDF5 file': Buffer.from([0x89, 0x48, 0x44, 0x46]),
      'a PNG file': Buffer.from([0x89, 0x50, 0x4e, 0x47]),
      'a safetensors file': Buffer.concat([Buffer.from([8, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}      ')]),
      'only a version': field(MODEL.irVersion, 8)
    }
    for (const [what, bytes] of Object.entries(wrong)) assert.throws(() => parseModel(bytes), isNoModel, what)
  })

  test('what begins with no field of a model, though a whole one follows', () => {
    assert.throws(() => parseModel(message(field(100, 'x'), model())), isNoModel)
    assert.throws(() => parseModel(message(field(9, 1), model())), isNoModel)
  })

  test('a model without graph, without nodes, or without the standard operator set', () => {
    const node = field(GRAPH.node, message(field(NODE.opType, 'Relu')))
    assert.throws(() => parseModel(message(field(1, 8), standardOpset())), /it has no graph/)
    assert.throws(() => parseModel(message(field(1, 8), field(MODEL.graph, ''), standardOpset())), /has no nodes/)
    const other = field(MODEL.opsetImport, message(field(1, 'com.microsoft'), field(2, 1)))
    for (const opset of [[], [other]]) {
      assert.throws(() => parseModel(message(field(1, 8), field(MODEL.graph, node), ...opset)), /standard operator set/)
    }
  })

  test('a model cut off anywhere is refused, or was whole already', () => {
    const bytes = model()
    let whole = 0
    for (let length = 0; length < bytes.length; length++) {
      try {
        parseModel(bytes.subarray(0, length))
        whole++
      } catch (error) {
        isNoModel(error)
      }
    }
    assert.equal(whole, 0, 'the operator set comes last')
  })

  test('changed bytes give a model or an error of ours', () => {
    const bytes = model()
    const edit = fc.tuple(fc.nat(), fc.nat({ max: 255 }))
    fc.assert(fc.property(fc.array(edit, { minLength: 1, maxLength: 5 }), (edits) => {
      const changed = bytes.slice()
      for (const [position, byte] of edits) changed[position % bytes.length] = byte
      try {
        serializeModel(parseModel(changed))
      } catch (error) {
        assert.ok(error instanceof BankswitchError, String(error))
      }
    }), { seed: runSeed, numRuns: 1000 })
  })

  test('a length that points beyond the end', () => {
    for (const length of [5, 0x7fffffff]) {
      const bytes = message(field(1, 8), Uint8Array.of((MODEL.graph << 3) | 2), field(0, length).subarray(1))
      assert.throws(() => parseModel(bytes), isNoModel)
    }
  })

  test('graphs within graphs, deeper than a stack bears', () => {
    const headers: Uint8Array[] = []
    let size = 0
    const within = [ATTRIBUTE.graph, NODE.attribute, GRAPH.node]
    for (const number of [...Array.from({ length: 50_000 }, () => within).flat(), MODEL.graph]) {
      const [tag] = field(number, '')
      const length = field(0, size).subarray(1)
      headers.push(Uint8Array.of(tag!, ...length))
      size += 1 + length.length
    }
    assert.throws(() => parseModel(Buffer.concat([field(1, 8), standardOpset(), ...headers.reverse()])), isNoModel)
  })
})

describe('limits', () => {
  test('as many nodes as allowed, and one more', () => {
    const withNodes = (count: number) => message(
      field(1, 8), field(MODEL.graph, new Uint8Array(2 * count).fill(0x0a).map((byte, at) => at % 2 === 0 ? byte : 0)),
      standardOpset()
    )
    assert.equal(parseModel(withNodes(NODES_MAX)).graph.node.length, NODES_MAX)
    assert.throws(() => parseModel(withNodes(NODES_MAX + 1)), hasCode('ONNX_TOO_LARGE', {
      expected: NODES_MAX, received: NODES_MAX + 1
    }))
  })

  test('bytes beyond what protobuf can be', () => {
    const standIn = { length: MODEL_BYTES_MAX + 1 } as Uint8Array
    assert.throws(() => parseModel(standIn), hasCode('ONNX_TOO_LARGE', { expected: 2 ** 31 - 1, received: 2 ** 31 }))
  })
})

describe('looksLikeModel', () => {
  test('every first field of a model, and no other wire type of it', () => {
    for (const number of [1, 5]) assert.ok(looksLikeModel(field(number, 1)))
    for (const number of [2, 3, 4, 6, 7, 8, 14]) assert.ok(looksLikeModel(field(number, 'x')))
    for (const number of [2, 3, 4, 6, 7, 8, 14]) assert.ok(!looksLikeModel(field(number, 1)))
    for (const number of [0, 1, 5, 16, 100]) assert.ok(!looksLikeModel(field(number, 'x')))
  })

  test('needs one byte only', () => {
    assert.ok(looksLikeModel(Uint8Array.of(0x08)))
    assert.ok(!looksLikeModel(Uint8Array.of()))
    assert.ok(!looksLikeModel(Uint8Array.of(0)))
  })
})

describe('opsetOf', () => {
  test('is the version of the standard operator set, under either name, among others', () => {
    const node = field(MODEL.graph, field(GRAPH.node, message(field(NODE.opType, 'Relu'))))
    const opset = (name: string, version: number) => {
      return field(MODEL.opsetImport, message(field(1, name), field(2, version)))
    }
    assert.equal(opsetOf(parseModel(message(field(1, 8), node, opset('ml', 3), opset('', 21)))), 21)
    assert.equal(opsetOf(parseModel(message(field(1, 8), node, opset('ai.onnx', 9), opset('ml', 3)))), 9)
    assert.equal(opsetOf(parseModel(message(field(1, 8), node, field(MODEL.opsetImport, field(2, 11))))), 11)
  })
})

test('attributes with graphs are parsed', () => {
  const body = message(field(GRAPH.node, message(field(NODE.opType, 'Identity'))), field(GRAPH.name, 'then'))
  const attribute = field(NODE.attribute, message(field(ATTRIBUTE.name, 'then_branch'), field(ATTRIBUTE.graph, body)))
  const { graph } = parseModel(model({ inNode: [attribute] }))
  assert.equal(graph.node[0]!.attribute[0]!.g!.node[0]!.opType, 'Identity')
})
