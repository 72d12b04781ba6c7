/**
 * Values that are known without running the graph.
 *
 * Exporters do not write a parameter as a plain initializer: they merge equal ones behind Identity nodes, fill them
 * with ConstantOfShape, or expand a scalar to the shape of another tensor (torch's dynamo exporter writes
 * Shape -> Expand and CastLike -> Expand per convolution without bias). `constantOf` follows such chains.
 *
 * Cases, by operator: 1 initializer, 2 Constant, 3 Identity, 4 ConstantOfShape, 5 Cast and CastLike between floats,
 * 6 Unsqueeze, Squeeze, Reshape and Flatten, 7 Shape, 8 Expand, 9 Concat of 1-D. Everything else is not constant here,
 * although a runtime might fold it.
 */
import { floatAttribute, intsAttribute, attributeOf, intAttribute } from './node.js'
import { elementCount } from '../base/dims.js'
import { DataType, dimsOf, isExternal, isFloatTensor, isIntegerTensor, readFloat64, readIntegers } from './tensor.js'
import type { GraphIndex } from './graph.js'
import type { NodeProto, TensorProto } from './generated/onnx_pb.js'

export interface Constant {
  dims: number[]
  /** Row-major; integers too. */
  values: Float64Array
  /** Name of the initializer (or Constant node's output) that the values come from, where there is exactly one. */
  origin?: string
}

const CHAIN_MAX = 32

/** Larger constants are weights, which no chain of ours makes: refuse to expand beyond. */
const EXPANDED_ELEMENTS_MAX = 1 << 26

/** The value's constant content, or undefined when it depends on an input or on an operator not followed here. */
export function constantOf (index: GraphIndex, value: string, depth = 0): Constant | undefined {
  if (value === '' || depth > CHAIN_MAX) return undefined
  const initializer = index.initializerOf.get(value)
  if (initializer !== undefined) return fromTensor(initializer, value)
  const node = index.producerOf.get(value)
  if (node === undefined || (node.domain !== '' && node.domain !== 'ai.onnx')) return undefined
  const input = (slot: number) => constantOf(index, node.input[slot] ?? '', depth + 1)
  switch (node.opType) {
    case 'Constant': return fromConstantNode(node)
    case 'Identity': return input(0)
    case 'ConstantOfShape': return fill(input(0), attributeOf(node, 'value')?.t)
    case 'Cast': return castTo(input(0), intAttribute(node, 'to', DataType.FLOAT))
    case 'CastLike': return input(0)
    case 'Unsqueeze':
    case 'Squeeze':
    case 'Flatten':
    case 'Reshape': return reshape(node, input)
    case 'Shape': return shape(node, index)
    case 'Expand': return expand(input(0), input(1))
    case 'Concat': return concat(node.input.map((_, slot) => input(slot)))
    default: return undefined
  }
}

function fromTensor (tensor: TensorProto, origin: string): Constant | undefined {
  if (isExternal(tensor)) return undefined
  if (isFloatTensor(tensor)) return { dims: dimsOf(tensor), values: readFloat64(tensor), origin }
  if (isIntegerTensor(tensor)) return { dims: dimsOf(tensor), values: Float64Array.from(readIntegers(tensor)), origin }
  return undefined
}

function fromConstantNode (node: NodeProto): Constant | undefined {
  const origin = node.output[0] ?? ''
  const tensor = attributeOf(node, 'value')?.t
  if (tensor !== undefined) return fromTensor(tensor, origin)
  const floats = attributeOf(node, 'value_floats')?.floats
  if (floats !== undefined) return { dims: [floats.length], values: Float64Array.from(floats), origin }
  const ints = intsAttribute(node, 'value_ints')
  if (ints !== undefined) return { dims: [ints.length], values: Float64Array.from(ints), origin }
  if (attributeOf(node, 'value_float') !== undefined) {
    return { dims: [], values: Float64Array.of(floatAttribute(node, 'value_float', 0)), origin }
  }
  if (attributeOf(node, 'value_int') !== undefined) {
    return { dims: [], values: Float64Array.of(intAttribute(node, 'value_int', 0)), origin }
  }
  return undefined
}

function fill (shape: Constant | undefined, value: TensorProto | undefined): Constant | undefined {
  if (shape === undefined) return undefined
  const dims = Array.from(shape.values)
  if (elementCount(dims) > EXPANDED_ELEMENTS_MAX) return undefined
  const filler = value === undefined ? 0 : fromTensor(value, '')?.values[0]
  return filler === undefined ? undefined : { dims, values: new Float64Array(elementCount(dims)).fill(filler) }
}

/** Casts between float types keep our float64; float to integer truncates, as ONNX says. */
function castTo (constant: Constant | undefined, dataType: number): Constant | undefined {
  if (constant === undefined || dataType === DataType.STRING) return undefined
  const isInteger = dataType === DataType.INT64 || dataType === DataType.INT32
  return isInteger ? { dims: constant.dims, values: constant.values.map(Math.trunc) } : constant
}

/** The new dimensions may be wrong for an exotic Reshape; callers look at the element count only. */
function reshape (node: NodeProto, input: (slot: number) => Constant | undefined): Constant | undefined {
  const data = input(0)
  if (data === undefined) return undefined
  const count = data.values.length
  if (node.opType !== 'Reshape') return { ...data, dims: count === 1 ? [1] : [count] }
  const wanted = input(1)
  if (wanted === undefined) return undefined
  const known = Array.from(wanted.values).filter((dim) => dim > 0).reduce((product, dim) => product * dim, 1)
  return {
    ...data,
    dims: Array.from(wanted.values, (dim, axis) => dim > 0 ? dim : dim === 0 ? data.dims[axis] ?? 1 : count / known)
  }
}

function shape (node: NodeProto, index: GraphIndex): Constant | undefined {
  const of = constantOf(index, node.input[0] ?? '')
  const initializer = index.initializerOf.get(node.input[0] ?? '')
  const dims = initializer !== undefined ? dimsOf(initializer) : of?.dims
  if (dims === undefined) return undefined
  const sliced = dims.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', dims.length))
  return { dims: [sliced.length], values: Float64Array.from(sliced) }
}

/** Expands a scalar or a one-element tensor; a wider one only when it has the wanted size already. */
function expand (data: Constant | undefined, shape: Constant | undefined): Constant | undefined {
  if (data === undefined || shape === undefined) return undefined
  const dims = Array.from(shape.values)
  const count = elementCount(dims)
  if (data.values.length === count) return { ...data, dims }
  if (data.values.length !== 1 || count > EXPANDED_ELEMENTS_MAX) return undefined
  return { dims, values: new Float64Array(count).fill(data.values[0]!) }
}

function concat (parts: Array<Constant | undefined>): Constant | undefined {
  const known = parts.filter((part) => part !== undefined && part.dims.length === 1) as Constant[]
  if (known.length < parts.length) return undefined
  const values = Float64Array.from(known.flatMap(({ values }) => Array.from(values)))
  return { dims: [values.length], values }
}
