/**
 * What the last operator of a network hides from a comparison of outputs.
 *
 * A confident classifier's Softmax gives 1 and 0 for noise whatever its logits are exactly, so a graph with a wrong
 * channel can agree to the last digit. The value in front of such an operator has not been squashed and is compared
 * too, where the optimiser kept its name: it gives values in its own layouts new ones.
 */
import { create } from '@bufbuild/protobuf'
import { ValueInfoProtoSchema, type GraphProto, type NodeProto } from '../onnx/generated/onnx_pb.js'
import { indexGraph } from '../onnx/graph.js'
import { isOnnxDomain } from '../onnx/model.js'
import { intAttribute } from '../onnx/node.js'
import { DataType } from '../onnx/tensor.js'

const SQUASHING = new Set(['Softmax', 'Sigmoid', 'HardSigmoid', 'Tanh', 'Clip', 'ArgMax', 'ArgMin', 'Sign'])

const NARROW_TYPES: readonly number[] = [
  DataType.FLOAT16, DataType.BFLOAT16, DataType.BOOL, DataType.UINT8, DataType.INT32, DataType.INT64
]

/** Operators that may stand between those and the output; they change no value. */
const PASSING = new Set(['Identity', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Cast'])

/** Names of the values in front of squashing operators at the graph's outputs, without outputs and graph inputs. */
export function squashedValues (graph: GraphProto): string[] {
  const { producerOf, outputs } = indexGraph(graph)
  const found = [...outputs].flatMap((output) => {
    let hidden: string | undefined
    let node = producerOf.get(output)
    while (node !== undefined && isOnnxDomain(node.domain)) {
      if (SQUASHING.has(node.opType) || isNarrowing(node)) hidden = node.input[0]
      else if (!PASSING.has(node.opType)) break
      node = producerOf.get(node.input[0] ?? '')
    }
    return hidden ?? []
  })
  return [...new Set(found)].filter((name) => producerOf.has(name) && !outputs.has(name))
}

/** A cast to a type of fewer digits. */
function isNarrowing (node: NodeProto): boolean {
  return node.opType === 'Cast' && NARROW_TYPES.includes(intAttribute(node, 'to', 0))
}

/** Makes values outputs of the graph, in place. */
export function exposeValues (graph: GraphProto, names: readonly string[]): void {
  graph.output.push(...names.map((name) => create(ValueInfoProtoSchema, { name })))
}
