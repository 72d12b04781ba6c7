import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { constantOf, type Constant } from '#src/onnx/constant.js'
import { AttributeProtoSchema, TensorProtoSchema, type AttributeProto } from '#src/onnx/generated/onnx_pb.js'
import { indexGraph } from '#src/onnx/graph.js'
import { makeNode } from '#src/onnx/node.js'
import { DataType, float32Tensor, int64Tensor } from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** A graph with an input `x` and a vector `w` of 1, 2, 3. */
function builder (): GraphBuilder {
  const g = new GraphBuilder()
  g.input('x', ['n', 3])
  g.floats('w', [3], (at) => at + 1)
  return g
}

function resolve (g: GraphBuilder, value: string): Constant | undefined {
  return constantOf(indexGraph(g.model.graph), value)
}

/** Asserts dimensions, values and origin. */
function assertConstant (g: GraphBuilder, value: string, dims: number[], values: number[], origin?: string): void {
  const constant = resolve(g, value)
  assert.ok(constant !== undefined, 'it is constant')
  assert.deepEqual([constant.dims, [...constant.values], constant.origin], [dims, values, origin])
}

function assertNoConstant (g: GraphBuilder, value: string): void {
  assert.equal(resolve(g, value), undefined)
}

/** A Constant node with an attribute that the builder cannot make. */
function constantNode (g: GraphBuilder, attribute: Partial<Omit<AttributeProto, '$typeName' | '$unknown'>>): string {
  const output = g.fresh('constant')
  const node = makeNode('Constant', '', [], [output])
  node.attribute.push(create(AttributeProtoSchema, attribute))
  g.push(node)
  return output
}

describe('case 1, initializers', () => {
  test('of every float and integer type', () => {
    const g = builder()
    assertConstant(g, 'w', [3], [1, 2, 3], 'w')
    const int32Data = [0x3c00]
    g.tensor(create(TensorProtoSchema, { name: 'half', dims: [1n, 1n], dataType: DataType.FLOAT16, int32Data }))
    assertConstant(g, 'half', [1, 1], [1], 'half')
    g.tensor(create(TensorProtoSchema, { name: 'double', dataType: DataType.DOUBLE, doubleData: [1 / 3] }))
    assertConstant(g, 'double', [], [1 / 3], 'double')
    g.ints('i', [4, -5])
    assertConstant(g, 'i', [2], [4, -5], 'i')
    g.tensor(create(TensorProtoSchema, { name: 'bool', dims: [2n], dataType: DataType.BOOL, int32Data: [1, 0] }))
    assertConstant(g, 'bool', [2], [1, 0], 'bool')
  })

  test('that are graph inputs too count as their default', () => {
    const g = builder()
    g.input('w', [3])
    assertConstant(g, 'w', [3], [1, 2, 3], 'w')
  })

  test('of strings, or lying in another file, are none', () => {
    const g = builder()
    const stringData = [Buffer.from('a')]
    g.tensor(create(TensorProtoSchema, { name: 's', dims: [1n], dataType: DataType.STRING, stringData }))
    g.tensor(create(TensorProtoSchema, { name: 'e', dims: [1n], dataType: DataType.FLOAT, dataLocation: 1 }))
    assertNoConstant(g, 's')
    assertNoConstant(g, 'e')
  })

  test('that are broken are refused with their own error', () => {
    const g = builder()
    g.tensor(create(TensorProtoSchema, { name: 'short', dims: [2n], dataType: DataType.FLOAT, floatData: [1] }))
    const int64Data = [2n ** 63n - 1n]
    g.tensor(create(TensorProtoSchema, { name: 'max', dims: [1n], dataType: DataType.INT64, int64Data }))
    assert.throws(() => resolve(g, 'short'), hasCode('ONNX_MALFORMED'))
    assert.throws(() => resolve(g, 'max'), hasCode('ONNX_UNSUPPORTED'))
  })
})

describe('case 2, Constant nodes', () => {
  test('in every form that holds numbers', () => {
    const g = builder()
    const tensor = g.node('Constant', [], { value: { tensor: float32Tensor('', [2, 1], Float32Array.of(5, 6)) } })
    assertConstant(g, tensor, [2, 1], [5, 6], tensor)
    const float = constantNode(g, { name: 'value_float', f: 0.1 })
    assertConstant(g, float, [], [Math.fround(0.1)], float)
    const int = constantNode(g, { name: 'value_int', i: -7n })
    assertConstant(g, int, [], [-7], int)
    const floats = constantNode(g, { name: 'value_floats', floats: [1, 0.5] })
    assertConstant(g, floats, [2], [1, 0.5], floats)
    const ints = constantNode(g, { name: 'value_ints', ints: [3n, -4n] })
    assertConstant(g, ints, [2], [3, -4], ints)
    const none = constantNode(g, { name: 'value_ints', ints: [] })
    assertConstant(g, none, [0], [], none)
    const zero = constantNode(g, { name: 'value_float', f: 0 })
    assertConstant(g, zero, [], [0], zero)
  })

  test('of strings or sparse tensors are none', () => {
    const g = builder()
    assertNoConstant(g, constantNode(g, { name: 'value_string', s: Buffer.from('a') }))
    assertNoConstant(g, constantNode(g, { name: 'sparse_value' }))
    assertNoConstant(g, g.node('Constant', []))
  })
})

describe('case 3, Identity', () => {
  test('chains keep values and origin', () => {
    const g = builder()
    let value = 'w'
    for (let link = 0; link < 32; link++) value = g.node('Identity', [value])
    assertConstant(g, value, [3], [1, 2, 3], 'w')
  })

  test('chains that are too long are refused (case 11)', () => {
    const g = builder()
    let value = 'w'
    for (let link = 0; link < 33; link++) value = g.node('Identity', [value])
    assertNoConstant(g, value)
  })

  test('under the other name of the standard operator set', () => {
    const g = builder()
    g.push(makeNode('Identity', '', ['w'], ['same'], {}, 'ai.onnx'))
    assertConstant(g, 'same', [3], [1, 2, 3], 'w')
  })
})

describe('case 4, ConstantOfShape', () => {
  test('fills with 0 or with the value, which has one element', () => {
    const g = builder()
    const shape = g.ints('shape', [2, 3])
    assertConstant(g, g.node('ConstantOfShape', [shape]), [2, 3], [0, 0, 0, 0, 0, 0])
    const value = { tensor: float32Tensor('', [1], Float32Array.of(0.5)) }
    assertConstant(g, g.node('ConstantOfShape', [shape], { value }), [2, 3], Array(6).fill(0.5))
    const one = { tensor: int64Tensor('', [1], [7]) }
    assertConstant(g, g.node('ConstantOfShape', [g.ints('three', [3])], { value: one }), [3], [7, 7, 7])
  })

  test('of no axes is a scalar, with a size of 0 it is empty', () => {
    const g = builder()
    assertConstant(g, g.node('ConstantOfShape', [g.ints('none', [])]), [], [0])
    assertConstant(g, g.node('ConstantOfShape', [g.ints('empty', [4, 0])]), [4, 0], [])
  })

  test('of a shape from the input, or with a value that is none, is no constant', () => {
    const g = builder()
    assertNoConstant(g, g.node('ConstantOfShape', [g.node('Shape', ['x'])]))
    const empty = { tensor: float32Tensor('', [0], new Float32Array()) }
    assertNoConstant(g, g.node('ConstantOfShape', [g.ints('shape', [2])], { value: empty }))
  })

  test('of shapes that no tensor has is refused (case 12)', () => {
    const g = builder()
    const shapes = [[-1], [-2, -2], [-1, 0], [2 ** 22 + 1], [2 ** 12, 2 ** 12], [2 ** 52, 2 ** 52]]
    for (const [at, sizes] of shapes.entries()) {
      assertNoConstant(g, g.node('ConstantOfShape', [g.ints(`shape${at}`, sizes)]))
    }
    for (const size of [1.5, NaN, Infinity]) {
      assertNoConstant(g, g.node('ConstantOfShape', [g.floats(`odd${size}`, [1], () => size)]))
    }
    assertNoConstant(g, g.node('ConstantOfShape', [g.ints('axes', Array(65).fill(1))]))
  })
})

describe('case 5, casts', () => {
  const cast = (g: GraphBuilder, value: string, to: number) => g.node('Cast', [value], { to: { int: to } })

  test('between floats keep float64 and the origin', () => {
    const g = builder()
    g.tensor(create(TensorProtoSchema, { name: 'third', dims: [1n], dataType: DataType.DOUBLE, doubleData: [1 / 3] }))
    for (const to of [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.BFLOAT16]) {
      assertConstant(g, cast(g, 'third', to), [1], [1 / 3], 'third')
    }
    assertConstant(g, cast(g, g.ints('i', [2]), DataType.FLOAT), [1], [2], 'i')
  })

  test('to int32 and int64 cut towards zero', () => {
    const g = builder()
    const value = g.floats('f', [4], (at) => [1.9, -1.9, 0.5, 7][at]!)
    for (const to of [DataType.INT32, DataType.INT64]) {
      assert.deepEqual([...resolve(g, cast(g, value, to))!.values], [1, -1, 0, 7])
    }
  })

  test('to types whose rules are others (wrapping, truth) are not followed', () => {
    const g = builder()
    const { BOOL, INT8, UINT8, INT16, UINT64, STRING } = DataType
    for (const to of [BOOL, INT8, UINT8, INT16, UINT64, STRING, 99]) {
      assertNoConstant(g, cast(g, 'w', to))
    }
  })

  test('CastLike is taken for a cast to floats, whatever the other input is', () => {
    const g = builder()
    assertConstant(g, g.node('CastLike', [g.scalar(0), 'x']), [], [0], g.model.graph.initializer.at(-1)!.name)
    assertConstant(g, g.node('CastLike', ['w', 'w']), [3], [1, 2, 3], 'w')
    assertNoConstant(g, g.node('CastLike', ['x', 'w']))
  })
})

describe('case 6, other dimensions of the same values', () => {
  const grid = (g: GraphBuilder) => g.floats('grid', [1, 2, 1, 3], (at) => at)
  const values = [0, 1, 2, 3, 4, 5]

  test('Unsqueeze, axes as input or attribute, in any order, from either end', () => {
    const g = builder()
    assertConstant(g, g.node('Unsqueeze', ['w', g.ints('a1', [0])]), [1, 3], [1, 2, 3], 'w')
    assertConstant(g, g.node('Unsqueeze', ['w', g.ints('a2', [1])]), [3, 1], [1, 2, 3], 'w')
    assertConstant(g, g.node('Unsqueeze', ['w', g.ints('a3', [-1, 0])]), [1, 3, 1], [1, 2, 3], 'w')
    assertConstant(g, g.node('Unsqueeze', ['w'], { axes: { ints: [2, 1] } }), [3, 1, 1], [1, 2, 3], 'w')
    assertConstant(g, g.node('Unsqueeze', ['w'], { axes: { ints: [1, 0] } }), [1, 1, 3], [1, 2, 3], 'w')
    assertConstant(g, g.node('Unsqueeze', [g.scalar(7), 'a1']), [1], [7], g.model.graph.initializer.at(-1)!.name)
  })

  test('Squeeze, with axes or all sizes of 1', () => {
    const g = builder()
    grid(g)
    assertConstant(g, g.node('Squeeze', ['grid']), [2, 3], values, 'grid')
    assertConstant(g, g.node('Squeeze', ['grid', '']), [2, 3], values, 'grid')
    assertConstant(g, g.node('Squeeze', ['grid', g.ints('a1', [0])]), [2, 1, 3], values, 'grid')
    assertConstant(g, g.node('Squeeze', ['grid', g.ints('a2', [-2])]), [1, 2, 3], values, 'grid')
    assertConstant(g, g.node('Squeeze', ['grid'], { axes: { ints: [0, 2] } }), [2, 3], values, 'grid')
    assertConstant(g, g.node('Squeeze', [g.floats('one', [1], () => 7)]), [], [7], 'one')
  })

  test('Flatten', () => {
    const g = builder()
    grid(g)
    assertConstant(g, g.node('Flatten', ['grid']), [1, 6], values, 'grid')
    assertConstant(g, g.node('Flatten', ['grid'], { axis: { int: 2 } }), [2, 3], values, 'grid')
    assertConstant(g, g.node('Flatten', ['grid'], { axis: { int: 0 } }), [1, 6], values, 'grid')
    assertConstant(g, g.node('Flatten', ['grid'], { axis: { int: -1 } }), [2, 3], values, 'grid')
    assertConstant(g, g.node('Flatten', ['w'], { axis: { int: 1 } }), [3, 1], [1, 2, 3], 'w')
  })

  test('Reshape: sizes, 0 for the same size, -1 for the rest', () => {
    const g = builder()
    grid(g)
    const reshape = (sizes: number[], allowzero = 0) => {
      return g.node('Reshape', ['grid', g.ints(g.fresh('shape'), sizes)], { allowzero: { int: allowzero } })
    }
    assertConstant(g, reshape([6]), [6], values, 'grid')
    assertConstant(g, reshape([3, 2]), [3, 2], values, 'grid')
    assertConstant(g, reshape([-1]), [6], values, 'grid')
    assertConstant(g, reshape([0, -1]), [1, 6], values, 'grid')
    assertConstant(g, reshape([0, 0, 3]), [1, 2, 3], values, 'grid')
    assertConstant(g, g.node('Reshape', [g.floats('one', [1], () => 7), g.ints('scalar', [])]), [], [7], 'one')
    g.floats('empty', [0, 3], () => 0)
    const kept = g.node('Reshape', ['empty', g.ints('kept', [3, 0])], { allowzero: { int: 1 } })
    assertConstant(g, kept, [3, 0], [], 'empty')
  })

  test('what does not fit, or has no constant axes, is refused (case 12)', () => {
    const g = builder()
    grid(g)
    const shapes = [[5], [4, -1], [-1, -1], [-2, 3], [0, 0, 0, 0, 0], [7, 0], [-1, 0, 0, 5]]
    for (const [at, sizes] of shapes.entries()) {
      assertNoConstant(g, g.node('Reshape', ['grid', g.ints(`shape${at}`, sizes)]))
    }
    assertNoConstant(g, g.node('Reshape', ['grid', g.ints('zero', [0])], { allowzero: { int: 1 } }))
    assertNoConstant(g, g.node('Reshape', ['grid', g.node('Shape', ['x'])]))
    assertNoConstant(g, g.node('Reshape', ['grid']))
    assertNoConstant(g, g.node('Squeeze', ['grid', g.ints('wide', [1])]))
    for (const axes of [[4], [-5], [0, 0], [0, -4]]) {
      assertNoConstant(g, g.node('Squeeze', ['grid'], { axes: { ints: axes } }))
      assertNoConstant(g, g.node('Unsqueeze', ['w'], { axes: { ints: axes } }))
    }
    const axes = Array.from({ length: 65 }, (_, at) => at)
    assertNoConstant(g, g.node('Unsqueeze', ['w'], { axes: { ints: axes } }))
    assertNoConstant(g, g.node('Reshape', ['grid', g.ints('deep', [6, ...axes.slice(1).map(() => 1)])]))
    assertNoConstant(g, g.node('Squeeze', ['grid', 'x']))
    assertNoConstant(g, g.node('Unsqueeze', ['w', 'x']))
    assertNoConstant(g, g.node('Unsqueeze', ['w']))
    for (const operator of ['Unsqueeze', 'Squeeze', 'Flatten', 'Reshape']) {
      assertNoConstant(g, g.node(operator, ['x', g.ints(`axes of ${operator}`, [0])]))
    }
  })
})

describe('case 7, Shape', () => {
  test('of initializers, also those whose values are not read here', () => {
    const g = builder()
    g.floats('kernel', [8, 4, 3, 1], () => 0)
    g.tensor(create(TensorProtoSchema, { name: 'e', dims: [5n, 6n], dataType: DataType.FLOAT, dataLocation: 1 }))
    assertConstant(g, g.node('Shape', ['kernel']), [4], [8, 4, 3, 1])
    assertConstant(g, g.node('Shape', ['e']), [2], [5, 6])
    assertConstant(g, g.node('Shape', [g.scalar(1)]), [0], [])
  })

  test('between start and end', () => {
    const g = builder()
    g.floats('kernel', [8, 4, 3, 1], () => 0)
    const shape = (start: number, end?: number) => g.node('Shape', ['kernel'], {
      start: { int: start }, ...(end === undefined ? {} : { end: { int: end } })
    })
    assertConstant(g, shape(0, 1), [1], [8])
    assertConstant(g, shape(1), [3], [4, 3, 1])
    assertConstant(g, shape(-2), [2], [3, 1])
    assertConstant(g, shape(1, -1), [2], [4, 3])
    assertConstant(g, shape(0, 100), [4], [8, 4, 3, 1])
    assertConstant(g, shape(3, 1), [0], [])
  })

  test('of other constants', () => {
    const g = builder()
    const unsqueezed = g.node('Unsqueeze', ['w', g.ints('axes', [1])])
    assertConstant(g, g.node('Shape', [unsqueezed]), [2], [3, 1])
    assertConstant(g, g.node('Shape', [g.node('Identity', ['w'])]), [1], [3])
  })

  test('of an input depends on the request', () => {
    const g = builder()
    assertNoConstant(g, g.node('Shape', ['x']))
    assertNoConstant(g, g.node('Shape', [g.node('Relu', ['w'])]))
  })
})

describe('case 8, Expand', () => {
  const expand = (g: GraphBuilder, data: string, sizes: number[]) => {
    return g.node('Expand', [data, g.ints(g.fresh('shape'), sizes)])
  }

  test('of a scalar or one element fills', () => {
    const g = builder()
    const scalar = g.scalar(0.5)
    assertConstant(g, expand(g, scalar, [3]), [3], [0.5, 0.5, 0.5])
    assertConstant(g, expand(g, scalar, [0]), [0], [])
    g.floats('one', [1, 1], () => 2)
    assertConstant(g, expand(g, 'one', [2]), [1, 2], [2, 2])
    assertConstant(g, expand(g, 'one', [2, 1, 2]), [2, 1, 2], [2, 2, 2, 2])
  })

  test('that changes nothing keeps values and origin', () => {
    const g = builder()
    assertConstant(g, expand(g, 'w', [3]), [3], [1, 2, 3], 'w')
    assertConstant(g, expand(g, 'w', [1]), [3], [1, 2, 3], 'w')
    assertConstant(g, expand(g, 'w', [1, 3]), [1, 3], [1, 2, 3], 'w')
    assertConstant(g, expand(g, g.scalar(4), []), [], [4], g.model.graph.initializer.at(-2)!.name)
  })

  test('as torch\'s dynamo exporter writes a bias of zeros', () => {
    const g = builder()
    g.floats('conv.weight', [4, 3, 1, 1], () => 1)
    const shape = g.node('Shape', ['conv.weight'], { start: { int: 0 }, end: { int: 1 } })
    const zero = g.node('CastLike', [constantNode(g, { name: 'value_float', f: 0 }), 'conv.weight'])
    assertConstant(g, g.node('Expand', [zero, shape]), [4], [0, 0, 0, 0])
  })

  test('that would repeat several values is refused, though it asks for as many elements', () => {
    const g = builder()
    assertNoConstant(g, expand(g, 'w', [3, 1]))
    assertNoConstant(g, expand(g, 'w', [2, 3]))
    assertNoConstant(g, expand(g, 'w', [3, 3]))
  })

  test('of sizes that do not fit, are none, or are too many is refused (case 12)', () => {
    const g = builder()
    for (const sizes of [[2], [4], [-1], [-3], [0]]) assertNoConstant(g, expand(g, 'w', sizes))
    const scalar = g.scalar(1)
    for (const sizes of [[-1], [-2, -2], [2 ** 22 + 1], [2 ** 20, 2 ** 20], Array<number>(65).fill(1)]) {
      assertNoConstant(g, expand(g, scalar, sizes))
    }
    assertNoConstant(g, g.node('Expand', [scalar, g.node('Shape', ['x'])]))
    assertNoConstant(g, g.node('Expand', ['x', g.ints('shape', [3])]))
    assertNoConstant(g, g.node('Expand', [scalar]))
  })
})

describe('case 9, Concat', () => {
  test('of vectors, in order', () => {
    const g = builder()
    const one = g.floats('one', [1], () => 9)
    assertConstant(g, g.node('Concat', ['w', one, 'w'], { axis: { int: 0 } }), [7], [1, 2, 3, 9, 1, 2, 3])
    assertConstant(g, g.node('Concat', ['w'], { axis: { int: -1 } }), [3], [1, 2, 3])
    g.floats('empty', [0], () => 0)
    assertConstant(g, g.node('Concat', ['empty', 'w'], { axis: { int: 0 } }), [3], [1, 2, 3])
  })

  test('of more axes, where the order of values would be another, is refused', () => {
    const g = builder()
    const column = g.node('Unsqueeze', ['w', g.ints('axes', [1])])
    assertNoConstant(g, g.node('Concat', [column, column], { axis: { int: 1 } }))
    assertNoConstant(g, g.node('Concat', [g.scalar(1), g.scalar(2)], { axis: { int: 0 } }))
  })

  test('with a part that is no constant is refused', () => {
    const g = builder()
    assertNoConstant(g, g.node('Concat', ['w', 'x'], { axis: { int: 0 } }))
    assertNoConstant(g, g.node('Concat', ['w', ''], { axis: { int: 0 } }))
  })

  test('of too many elements is refused before they are joined (case 12)', () => {
    const g = builder()
    const half = g.node('ConstantOfShape', [g.ints('shape', [2 ** 21])])
    assert.equal(resolve(g, half)!.values.length, 2 ** 21)
    assertNoConstant(g, g.node('Concat', [half, half], { axis: { int: 0 } }))
  })

  test('of many parts that are made for it is refused while they are made (case 12)', () => {
    const g = builder()
    const part = g.node('Expand', [g.scalar(1), g.ints('shape', [2 ** 20])])
    assertNoConstant(g, g.node('Concat', Array<string>(400).fill(part), { axis: { int: 0 } }))
  })
})

describe('case 10, everything else', () => {
  test('inputs, missing values and unknown names', () => {
    const g = builder()
    assertNoConstant(g, 'x')
    assertNoConstant(g, '')
    assertNoConstant(g, 'nowhere')
    assertNoConstant(g, 'constructor')
    assertNoConstant(g, g.node('Identity', ['x']))
    assertNoConstant(g, g.node('Identity', ['']))
    assertNoConstant(g, g.node('Identity', []))
  })

  test('operators that a runtime might fold, and those of other operator sets', () => {
    const g = builder()
    for (const operator of ['Add', 'Mul', 'Relu', 'Transpose', 'Slice', 'Gather', 'Neg', 'identity', 'Range', 'Tile']) {
      assertNoConstant(g, g.node(operator, ['w', 'w']))
    }
    g.push(makeNode('Identity', '', ['w'], ['foreign'], {}, 'com.microsoft'))
    assertNoConstant(g, 'foreign')
  })

  test('statistics that are taken from the request (track_running_stats=False)', () => {
    const g = builder()
    assertNoConstant(g, g.node('Identity', [g.node('ReduceMean', ['x'])]))
  })
})

describe('case 11, chains without an end', () => {
  test('a node that reads itself, and cycles of several', () => {
    const g = builder()
    g.node('Identity', ['loop'], {}, ['loop'])
    assertNoConstant(g, 'loop')
    g.node('Shape', ['b'], {}, ['a'])
    g.node('ConstantOfShape', ['a'], {}, ['b'])
    assertNoConstant(g, 'a')
    assertNoConstant(g, 'b')
  })

  test('values that double at every link', () => {
    const g = builder()
    let joined = 'w'
    let expanded = g.floats('one', [1], () => 1)
    for (let link = 0; link < 32; link++) {
      joined = g.node('Concat', [joined, joined], { axis: { int: 0 } })
      expanded = g.node('Expand', [expanded, expanded])
    }
    assertNoConstant(g, joined)
    assertNoConstant(g, expanded)
  })

  test('a wide Concat is no chain', () => {
    const g = builder()
    const parts = Array.from({ length: 400 }, () => g.node('Identity', ['w']))
    assert.equal(resolve(g, g.node('Concat', parts, { axis: { int: 0 } }))!.values.length, 1200)
  })
})
