/**
 * Pass: a list of pieces that is made only to be taken apart again, as the Split that it is.
 *
 * Exporters write `torch.split` and `torch.chunk` as SplitToSequence and a SequenceAt for each piece. The runtime then
 * copies each piece twice, and leaves its blocked layout for it. Cases:
 *
 *  1. SplitToSequence with constant sizes, read only by SequenceAt with constant positions: Split
 *  2. positions that count from the end
 *  3. a position that is asked for twice: the second is an Identity
 *  4. a scalar as size: cuts what is there into pieces of that size, as many as there are; left alone
 *  5. pieces without their axis (`keepdims` 0 and no sizes): left alone
 *  6. a list that something else reads, or that is an output; positions that depend on an input or are out of range:
 *     left alone
 */
import { constantOf } from '../../onnx/constant.js'
import { createNamer, indexGraph, removeUnused, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, opsetOf, type OnnxModel } from '../../onnx/model.js'
import { intAttribute, makeNode } from '../../onnx/node.js'
import type { NodeProto } from '../../onnx/generated/onnx_pb.js'

/** From this operator set on Split takes its sizes as an input. */
const SIZES_AS_INPUT_OPSET = 13

/** Edits `model` in place; tells whether anything changed. */
export function splitSequences (model: OnnxModel): boolean {
  const { graph } = model
  if (opsetOf(model) < SIZES_AS_INPUT_OPSET) return false
  const index = indexGraph(graph)
  const fresh = createNamer(graph)
  const replacements = new Map<NodeProto, NodeProto[]>()
  for (const node of graph.node) {
    if (node.opType !== 'SplitToSequence' || !isOnnxDomain(node.domain)) continue
    const pieces = piecesOf(index, node)
    if (pieces === undefined) continue
    const outputs = Array.from({ length: pieces.count }, () => '')
    for (const [reader, position] of pieces.positions) {
      const [value] = reader.output as [string]
      const isFirst = outputs[position] === ''
      if (isFirst) outputs[position] = value
      replacements.set(reader, isFirst ? [] : [makeNode('Identity', reader.name, [outputs[position]!], [value])])
    }
    const made = outputs.map((name, at) => name === '' ? fresh(`${node.output[0]!}/${at}`) : name)
    replacements.set(node, [makeNode('Split', node.name, node.input, made, {
      axis: { int: intAttribute(node, 'axis', 0) }
    })])
  }
  if (replacements.size === 0) return false
  graph.node = graph.node.flatMap((node) => replacements.get(node) ?? [node])
  removeUnused(graph)
  return true
}

/** How many pieces there are, and which of them each reader takes. */
function piecesOf (
  index: GraphIndex, node: NodeProto
): { count: number, positions: Map<NodeProto, number> } | undefined {
  const sizes = constantOf(index, node.input[1] ?? '')
  if (sizes?.dims.length !== 1) return undefined
  const count = sizes.values.length
  const [list] = node.output as [string]
  const positions = new Map<NodeProto, number>()
  for (const reader of index.graph.node) {
    if (!reader.input.includes(list)) continue
    const position = constantOf(index, reader.input[1] ?? '')?.values[0] ?? NaN
    const at = position < 0 ? position + count : position
    if (reader.opType !== 'SequenceAt' || !isOnnxDomain(reader.domain) || !(at >= 0 && at < count)) return undefined
    positions.set(reader, at)
  }
  return positions.size > 0 && positions.size === index.readersOf.get(list) ? { count, positions } : undefined
}
