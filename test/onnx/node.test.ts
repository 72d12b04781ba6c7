import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { AttributeProtoSchema, NodeProtoSchema, ValueInfoProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import {
  attributeOf, AttributeType, floatAttribute, intAttribute, intsAttribute, makeAttribute, makeNode, makeValueInfo,
  shapeOf
} from '#src/onnx/node.js'
import { DataType, float32Tensor, readFloat32 } from '#src/onnx/tensor.js'

/** The node as a reader of its bytes sees it. */
function written (node: ReturnType<typeof makeNode>) {
  return fromBinary(NodeProtoSchema, toBinary(NodeProtoSchema, node))
}

describe('makeNode', () => {
  test('has its fields, and the standard operator set unless told otherwise', () => {
    const inputs = ['x', '', 'b']
    const node = makeNode('Conv', 'conv1', inputs, ['y'])
    assert.deepEqual(
      [node.opType, node.name, node.input, node.output, node.domain, node.attribute],
      ['Conv', 'conv1', ['x', '', 'b'], ['y'], '', []]
    )
    inputs.push('later')
    assert.equal(node.input.length, 3)
    assert.equal(makeNode('Conv', '', [], [], {}, 'com.microsoft.nchwc').domain, 'com.microsoft.nchwc')
  })

  test('attributes carry the type that ONNX asks for', () => {
    const tensor = float32Tensor('', [1], Float32Array.of(5))
    const node = written(makeNode('X', '', [], [], {
      f: { float: 0.5 }, i: { int: -3 }, l: { ints: [1, -2] }, t: { tensor }
    }))
    assert.deepEqual(node.attribute.map(({ name, type }) => [name, type]), [
      ['f', AttributeType.FLOAT], ['i', AttributeType.INT], ['l', AttributeType.INTS], ['t', AttributeType.TENSOR]
    ])
    assert.equal(attributeOf(node, 'f')!.f, 0.5)
    assert.equal(attributeOf(node, 'i')!.i, -3n)
    assert.deepEqual(attributeOf(node, 'l')!.ints, [1n, -2n])
    assert.deepEqual(readFloat32(attributeOf(node, 't')!.t!), Float32Array.of(5))
  })

  test('an empty list is there, and a list of none', () => {
    assert.deepEqual(makeAttribute('axes', { ints: [] }).type, AttributeType.INTS)
  })
})

describe('attributes', () => {
  const node = makeNode('BatchNormalization', '', [], [], {
    epsilon: { float: 1e-5 },
    training_mode: { int: 1 },
    large: { int: Number.MAX_SAFE_INTEGER },
    pads: { ints: [0, -1, 2] }
  })

  test('an epsilon is float32, widened, whether it was read or just made', () => {
    for (const one of [node, written(node)]) {
      assert.equal(floatAttribute(one, 'epsilon', 1), 9.999999747378752e-06)
      assert.notEqual(floatAttribute(one, 'epsilon', 1), 1e-5)
    }
  })

  test('a default is float32 too', () => {
    assert.equal(floatAttribute(node, 'none', 1e-3), 1.0000000474974513e-03)
    assert.equal(floatAttribute(node, 'none', 0.5), 0.5)
  })

  test('an epsilon of 0 is no missing one', () => {
    assert.equal(floatAttribute(written(makeNode('X', '', [], [], { epsilon: { float: 0 } })), 'epsilon', 1e-5), 0)
  })

  test('integers and their defaults', () => {
    assert.equal(intAttribute(node, 'training_mode', 0), 1)
    assert.equal(intAttribute(node, 'none', 7), 7)
    assert.equal(intAttribute(written(node), 'large', 0), Number.MAX_SAFE_INTEGER)
    assert.equal(intAttribute(written(makeNode('X', '', [], [], { axis: { int: 0 } })), 'axis', 1), 0)
    assert.equal(intAttribute(written(makeNode('X', '', [], [], { axis: { int: -1 } })), 'axis', 1), -1)
  })

  test('lists of integers, or undefined', () => {
    assert.deepEqual(intsAttribute(written(node), 'pads'), [0, -1, 2])
    assert.equal(intsAttribute(node, 'none'), undefined)
  })

  test('a name that is one of Object\'s own is just missing', () => {
    assert.equal(attributeOf(node, 'constructor'), undefined)
  })

  test('an attribute of another type has the zero of the asked one', () => {
    const attribute = create(AttributeProtoSchema, { name: 'axis', f: 3, type: AttributeType.FLOAT })
    const wrong = create(NodeProtoSchema, { attribute: [attribute] })
    assert.equal(intAttribute(wrong, 'axis', 1), 0)
    assert.deepEqual(intsAttribute(wrong, 'axis'), [])
  })
})

describe('shapes', () => {
  test('sizes, names and unknown sizes', () => {
    const info = makeValueInfo('x', DataType.FLOAT, ['batch', 3, null, 0])
    const read = fromBinary(ValueInfoProtoSchema, toBinary(ValueInfoProtoSchema, info))
    assert.deepEqual([read.name, read.type!.tensorType!.elemType], ['x', DataType.FLOAT])
    assert.deepEqual(shapeOf(read), [null, 3, null, 0])
    assert.deepEqual(read.type!.tensorType!.shape!.dim.map(({ value }) => value.case), [
      'dimParam', 'dimValue', undefined, 'dimValue'
    ])
  })

  test('a scalar has no axes, an unknown rank no shape', () => {
    assert.deepEqual(shapeOf(makeValueInfo('x', DataType.FLOAT, [])), [])
    assert.equal(shapeOf(create(ValueInfoProtoSchema, { name: 'x' })), undefined)
    assert.equal(shapeOf(create(ValueInfoProtoSchema, { type: { tensorType: { elemType: 1 } } })), undefined)
  })

  test('a negative size varies: some exporters write -1', () => {
    assert.deepEqual(shapeOf(makeValueInfo('x', DataType.FLOAT, [-1, 3])), [null, 3])
  })
})
