/**
 * Pass: a Reshape to sizes of which one is computed and all others are constant, without the computation.
 *
 * Exporters compute the batch's size and put it in front of constant ones: Concat(Unsqueeze(Gather(Shape(x), 0)), [9]).
 * A size of -1 stands for what is left over, and with all others given that is the only size that fits. Cases:
 *
 *  1. one computed size among constant ones: it becomes -1
 *  2. a constant 0, which copies a size of the input: stays, unless `allowzero` makes it a size
 *  3. a constant -1, or several computed sizes: left alone
 *  4. a computed part that may hold several sizes: left alone
 *  5. sizes that something else reads too: the others keep them
 */
import { constantOf } from '../../onnx/constant.js'
import { createNamer, indexGraph, removeUnused, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../../onnx/model.js'
import { intAttribute } from '../../onnx/node.js'
import { int64Tensor } from '../../onnx/tensor.js'
import type { NodeProto } from '../../onnx/generated/onnx_pb.js'

/** What is left over. */
const OPEN = -1

/** Operators that make one number of one number. */
const OF_ONE = new Set(['Unsqueeze', 'Squeeze', 'Reshape', 'Flatten', 'Identity', 'Cast'])
const OF_TWO = new Set(['Add', 'Sub', 'Mul', 'Div'])

const CHAIN_MAX = 16

/** Edits `model` in place; tells whether anything changed. */
export function openReshapes (model: OnnxModel): boolean {
  const { graph } = model
  const index = indexGraph(graph)
  const fresh = createNamer(graph)
  let hasChanged = false
  for (const node of graph.node) {
    if (node.opType !== 'Reshape' || !isOnnxDomain(node.domain)) continue
    const sizes = sizesOf(index, node)
    if (sizes === undefined) continue
    const name = fresh(`${node.input[1]!}/open`)
    graph.initializer.push(int64Tensor(name, [sizes.length], sizes))
    node.input = [node.input[0]!, name]
    hasChanged = true
  }
  if (hasChanged) removeUnused(graph)
  return hasChanged
}

function sizesOf (index: GraphIndex, reshape: NodeProto): number[] | undefined {
  const concat = index.producerOf.get(reshape.input[1] ?? '')
  if (concat?.opType !== 'Concat' || !isOnnxDomain(concat.domain)) return undefined
  const sizes: number[] = []
  for (const part of concat.input) {
    const constant = constantOf(index, part)
    if (constant !== undefined) sizes.push(...constant.values)
    else if (isOneNumber(index, part, 0)) sizes.push(OPEN)
    else return undefined
  }
  const isZeroASize = intAttribute(reshape, 'allowzero', 0) === 1 && sizes.includes(0)
  return sizes.filter((size) => size < 0).length === 1 && isComputed(index, concat) && !isZeroASize ? sizes : undefined
}

/** A constant -1 is no computed size, and nothing is gained. */
function isComputed (index: GraphIndex, concat: NodeProto): boolean {
  return concat.input.some((part) => constantOf(index, part) === undefined)
}

function isOneNumber (index: GraphIndex, value: string, depth: number): boolean {
  const constant = constantOf(index, value)
  if (constant !== undefined) return constant.values.length === 1
  const node = index.producerOf.get(value)
  if (node === undefined || !isOnnxDomain(node.domain) || depth > CHAIN_MAX) return false
  const isOne = (slot: number) => isOneNumber(index, node.input[slot] ?? '', depth + 1)
  if (OF_ONE.has(node.opType)) return isOne(0)
  if (OF_TWO.has(node.opType)) return isOne(0) && isOne(1)
  const length = (slot: number) => constantOf(index, node.input[slot] ?? '')?.values.length
  switch (node.opType) {
    case 'Gather': return isShape(index, node.input[0]!) && length(1) === 1
    case 'Shape': return isNext(intAttribute(node, 'start', 0), intAttribute(node, 'end', NaN))
    case 'Slice': return isShape(index, node.input[0]!) && isSliceOfOne(index, node)
    default: return false
  }
}

/** Of one axis, in steps of one. */
function isSliceOfOne (index: GraphIndex, { input }: NodeProto): boolean {
  const [from, to, step] = [1, 2, 4].map((slot) => constantOf(index, input[slot] ?? '')?.values)
  const isStepOne = (input[4] ?? '') === '' || step?.[0] === 1
  return from?.length === 1 && to?.length === 1 && isStepOne && isNext(from[0]!, to[0]!)
}

/** Counted from the same end. */
function isNext (from: number, to: number): boolean {
  return to === from + 1 && (from >= 0 || to < 0)
}

/** A list of sizes, which has one axis. */
function isShape (index: GraphIndex, value: string): boolean {
  const node = index.producerOf.get(value)
  return node?.opType === 'Shape' && isOnnxDomain(node.domain)
}
