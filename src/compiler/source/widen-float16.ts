/**
 * Pass: a float16 network as the float32 network that computes the same, more exactly.
 *
 * ONNX Runtime has no float16 convolutions for processors: it casts every one of them up and down again. Statistics
 * rounded to float16 would not be those of a bank (variances below 6e-8 vanish, and 1e-5 keeps three digits). So all
 * arithmetic is widened, and only what crosses the graph's edge stays float16. Cases:
 *
 *  1. initializers and tensors in attributes: widened, exactly
 *  2. Cast and others that name float16 as their type (`to`, `dtype`): float32 instead
 *  3. graph inputs: stay, with a Cast behind them
 *  4. graph outputs: stay, with a Cast before them
 *  5. nested graphs and functions: all of these, their own inputs and outputs become float32
 */
import { createNamer, nestedGraphs, renameValues } from '../../onnx/graph.js'
import { makeNode } from '../../onnx/node.js'
import { DataType, dimsOf, float32Tensor, readFloat32 } from '../../onnx/tensor.js'
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from '../../onnx/generated/onnx_pb.js'
import type { OnnxModel } from '../../onnx/model.js'

/** Attributes that hold an element type. */
const TYPE_ATTRIBUTES = ['to', 'dtype']

/** Edits `model` in place; tells whether there was any float16 in it. Throws ONNX_MALFORMED for broken tensors. */
export function widenFloat16 (model: OnnxModel): boolean {
  const { graph } = model
  const counter = { widened: 0 }
  widenGraph(graph, counter)
  for (const body of model.functions) for (const node of body.node) widenNode(node, counter)
  const inputs = graph.input.filter(isFloat16)
  const outputs = graph.output.filter(isFloat16)
  if (counter.widened + inputs.length + outputs.length === 0) return false
  const fresh = createNamer(graph)
  const defaults = new Set(graph.initializer.map(({ name }) => name))
  const before: NodeProto[] = []
  const after: NodeProto[] = []
  for (const output of outputs) {
    const wide = fresh(`${output.name}/float32`)
    renameValue(graph, output.name, wide)
    after.push(cast(wide, output.name, DataType.FLOAT16))
  }
  for (const input of inputs) {
    if (defaults.has(input.name)) {
      input.type!.tensorType!.elemType = DataType.FLOAT
      continue
    }
    const wide = fresh(`${input.name}/float32`)
    renameValue(graph, input.name, wide)
    before.push(cast(input.name, wide, DataType.FLOAT))
  }
  graph.node = [...before, ...graph.node, ...after]
  return true
}

function cast (from: string, to: string, type: number): NodeProto {
  return makeNode('Cast', `${to}/cast`, [from], [to], { to: { int: type } })
}

function isFloat16 ({ type }: ValueInfoProto): boolean {
  return type?.tensorType?.elemType === DataType.FLOAT16
}

function widenGraph (graph: GraphProto, counter: { widened: number }): void {
  graph.initializer = graph.initializer.map((tensor) => widenTensor(tensor, counter))
  // Types of inner values would contradict what they are now; the runtime infers them again.
  graph.valueInfo = []
  for (const node of graph.node) widenNode(node, counter)
}

function widenNode (node: NodeProto, counter: { widened: number }): void {
  for (const attribute of node.attribute) {
    if (attribute.t !== undefined) attribute.t = widenTensor(attribute.t, counter)
    attribute.tensors = attribute.tensors.map((tensor) => widenTensor(tensor, counter))
    if (TYPE_ATTRIBUTES.includes(attribute.name) && attribute.i === BigInt(DataType.FLOAT16)) {
      attribute.i = BigInt(DataType.FLOAT)
      counter.widened++
    }
  }
  for (const nested of nestedGraphs(node)) {
    widenGraph(nested, counter)
    for (const { type } of [...nested.input, ...nested.output].filter(isFloat16)) {
      type!.tensorType!.elemType = DataType.FLOAT
    }
  }
}

function widenTensor (tensor: TensorProto, counter: { widened: number }): TensorProto {
  if (tensor.dataType !== DataType.FLOAT16) return tensor
  counter.widened++
  return float32Tensor(tensor.name, dimsOf(tensor), readFloat32(tensor))
}

/** Everywhere but among the graph's inputs and outputs. */
function renameValue (graph: GraphProto, from: string, to: string): void {
  const rename = (name: string): string => name === from ? to : name
  for (const node of graph.node) renameValues(node, rename)
  for (const tensor of graph.initializer) tensor.name = rename(tensor.name)
}
