/**
 * Values that are known without running the graph.
 *
 * Exporters do not write a parameter as a plain initializer: they merge equal ones behind Identity nodes, fill them
 * with ConstantOfShape, or expand a scalar to the shape of another tensor (torch's dynamo exporter writes
 * Shape -> Expand and CastLike -> Expand per convolution without bias). `constantOf` follows such chains.
 *
 * Cases, by operator: 1 initializer, 2 Constant, 3 Identity, 4 ConstantOfShape, 5 Cast to a float type, int32 or int64,
 * and CastLike, taken for a cast to floats, 6 Unsqueeze, Squeeze, Reshape and Flatten, 7 Shape, 8 Expand, 9 Concat of
 * 1-D. Refused: 10 everything else, although a runtime might fold it, 11 chains that are too long, too branched or
 * closed, 12 shapes that no tensor has or that ask for too many elements.
 */
import { elementCount } from '../base/dims.js'
import { floatAttribute, intsAttribute, attributeOf, intAttribute } from './node.js'
import { DataType, dimsOf, isExternal, isFloatTensor, isIntegerTensor, readFloat64, readIntegers } from './tensor.js'
import { isOnnxDomain } from './model.js'
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

/** Values looked at for one constant. A chain alone does not bound them: Concat(x, x) doubles at every link. */
const STEPS_MAX = 1000

/** Elements made for one constant, all links together. More are weights, which no chain of ours makes. */
const ELEMENTS_MAX = 1 << 22

/** Far above any tensor's number of axes. */
const RANK_MAX = 64

interface Walk {
  index: GraphIndex
  stepsLeft: number
  elementsLeft: number
}

/** Constant content of an input slot, or undefined. */
type Input = (slot: number) => Constant | undefined

/**
 * The value's constant content, or undefined when it depends on an input or is refused. Throws ONNX_MALFORMED and
 * ONNX_UNSUPPORTED of the tensors it reads.
 */
export function constantOf (index: GraphIndex, value: string): Constant | undefined {
  return follow({ index, stepsLeft: STEPS_MAX, elementsLeft: ELEMENTS_MAX }, value, 0)
}

function follow (walk: Walk, value: string, depth: number): Constant | undefined {
  if (value === '' || depth > CHAIN_MAX || --walk.stepsLeft < 0) return undefined
  const initializer = walk.index.initializerOf.get(value)
  if (initializer !== undefined) return fromTensor(initializer, value)
  const node = walk.index.producerOf.get(value)
  if (node === undefined || !isOnnxDomain(node.domain)) return undefined
  const input: Input = (slot) => follow(walk, node.input[slot] ?? '', depth + 1)
  switch (node.opType) {
    case 'Constant': return fromConstantNode(node)
    case 'Identity': return input(0)
    case 'ConstantOfShape': return fill(walk, input(0), attributeOf(node, 'value')?.t)
    case 'Cast': return castTo(input(0), intAttribute(node, 'to', DataType.FLOAT))
    case 'CastLike': return input(0)
    case 'Unsqueeze': return unsqueeze(node, input)
    case 'Squeeze': return squeeze(node, input)
    case 'Flatten': return flatten(node, input(0))
    case 'Reshape': return reshape(node, input(0), input(1))
    case 'Shape': return shape(node, walk.index.initializerOf.get(node.input[0] ?? ''), input)
    case 'Expand': return expand(walk, input(0), input(1))
    case 'Concat': return concat(walk, node.input.map((_, slot) => input(slot)))
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

/** A shape that came as a value, or undefined when no tensor has it. */
function dimsFrom (shape: Constant | undefined): number[] | undefined {
  if (shape === undefined || shape.values.length > RANK_MAX) return undefined
  const dims = Array.from(shape.values)
  return dims.every(isSize) ? dims : undefined
}

function isSize (dim: number): boolean {
  return Number.isSafeInteger(dim) && dim >= 0
}

/** Room for that many elements, or undefined when the walk has used up its share. */
function allocate (walk: Walk, count: number): Float64Array | undefined {
  walk.elementsLeft -= count
  return walk.elementsLeft >= 0 ? new Float64Array(count) : undefined
}

function fill (walk: Walk, shape: Constant | undefined, value: TensorProto | undefined): Constant | undefined {
  const dims = dimsFrom(shape)
  const filler = value === undefined ? 0 : fromTensor(value, '')?.values[0]
  if (dims === undefined || filler === undefined) return undefined
  const values = allocate(walk, elementCount(dims))?.fill(filler)
  return values === undefined ? undefined : { dims, values }
}

const CAST_TO_FLOAT: readonly number[] = [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.BFLOAT16]
const CAST_TO_INTEGER: readonly number[] = [DataType.INT64, DataType.INT32]

/** Casts between float types keep our float64; float to integer truncates, as ONNX says. */
function castTo (constant: Constant | undefined, dataType: number): Constant | undefined {
  if (constant === undefined || CAST_TO_FLOAT.includes(dataType)) return constant
  if (!CAST_TO_INTEGER.includes(dataType)) return undefined
  return { dims: constant.dims, values: constant.values.map(Math.trunc) }
}

/** The same values under other dimensions, which must hold as many. */
function withDims (data: Constant, dims: number[]): Constant | undefined {
  return elementCount(dims) === data.values.length ? { ...data, dims } : undefined
}

/** Axes as the second input (from opset 13 on) or an attribute, counted from 0; none when neither is there. */
function axesOf (node: NodeProto, input: Input, rankOf: (count: number) => number): number[] | 'none' | undefined {
  const isInput = (node.input[1] ?? '') !== ''
  const given = isInput ? input(1)?.values : intsAttribute(node, 'axes')
  if (given === undefined) return isInput ? undefined : 'none'
  if (given.length > RANK_MAX) return undefined
  const rank = rankOf(given.length)
  const axes = Array.from(given, (axis) => axis < 0 ? axis + rank : axis)
  const isValid = new Set(axes).size === axes.length && axes.every((axis) => axis >= 0 && axis < rank)
  return isValid ? axes : undefined
}

function unsqueeze (node: NodeProto, input: Input): Constant | undefined {
  const data = input(0)
  if (data === undefined) return undefined
  const axes = axesOf(node, input, (count) => data.dims.length + count)
  if (axes === undefined || axes === 'none') return undefined
  const dims = [...data.dims]
  for (const axis of axes.sort((a, b) => a - b)) dims.splice(axis, 0, 1)
  return withDims(data, dims)
}

function squeeze (node: NodeProto, input: Input): Constant | undefined {
  const data = input(0)
  if (data === undefined) return undefined
  const axes = axesOf(node, input, () => data.dims.length)
  if (axes === undefined) return undefined
  return withDims(data, data.dims.filter((dim, axis) => axes === 'none' ? dim !== 1 : !axes.includes(axis)))
}

function flatten (node: NodeProto, data: Constant | undefined): Constant | undefined {
  if (data === undefined) return undefined
  const axis = intAttribute(node, 'axis', 1)
  return withDims(data, [elementCount(data.dims.slice(0, axis)), elementCount(data.dims.slice(axis))])
}

/** 0 stands for the size in the same place (unless `allowzero`), -1 for what is left. */
function reshape (node: NodeProto, data: Constant | undefined, wanted: Constant | undefined): Constant | undefined {
  if (data === undefined || wanted === undefined || wanted.values.length > RANK_MAX) return undefined
  const isZeroKept = intAttribute(node, 'allowzero', 0) !== 0
  const dims = Array.from(wanted.values, (dim, axis) => dim === 0 && !isZeroKept ? data.dims[axis] ?? 0 : dim)
  const open = dims.indexOf(-1)
  if (open >= 0) dims[open] = data.values.length / elementCount(dims.toSpliced(open, 1))
  return dims.every(isSize) ? withDims(data, dims) : undefined
}

/** Of an initializer, even one that lies elsewhere or is of a type not read here, and of every other constant. */
function shape (node: NodeProto, initializer: TensorProto | undefined, input: Input): Constant | undefined {
  const dims = initializer === undefined ? input(0)?.dims : dimsOf(initializer)
  if (dims === undefined) return undefined
  const sliced = dims.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', dims.length))
  return { dims: [sliced.length], values: Float64Array.from(sliced) }
}

/** Expands a scalar or a one-element tensor; a wider one only when it has the wanted size already. */
function expand (walk: Walk, data: Constant | undefined, shape: Constant | undefined): Constant | undefined {
  const wanted = dimsFrom(shape)
  if (data === undefined || wanted === undefined) return undefined
  const dims = broadcastDims(data.dims, wanted)
  if (dims === undefined) return undefined
  const count = elementCount(dims)
  if (data.values.length === count) return { ...data, dims }
  if (data.values.length !== 1) return undefined
  const values = allocate(walk, count)?.fill(data.values[0]!)
  return values === undefined ? undefined : { dims, values }
}

/** Numpy's rule, which Expand follows in both directions: a missing axis or one of size 1 takes the other's size. */
function broadcastDims (a: readonly number[], b: readonly number[]): number[] | undefined {
  const rank = Math.max(a.length, b.length)
  const dims: number[] = []
  for (let axis = 0; axis < rank; axis++) {
    const [left, right] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1]
    if (left !== right && left !== 1 && right !== 1) return undefined
    dims.push(left === 1 ? right : left)
  }
  return dims
}

function concat (walk: Walk, parts: Array<Constant | undefined>): Constant | undefined {
  const known = parts.filter((part) => part !== undefined && part.dims.length === 1) as Constant[]
  if (known.length < parts.length) return undefined
  const values = allocate(walk, known.reduce((sum, part) => sum + part.values.length, 0))
  let at = 0
  for (const part of known) {
    values?.set(part.values, at)
    at += part.values.length
  }
  return values === undefined ? undefined : { dims: [at], values }
}
