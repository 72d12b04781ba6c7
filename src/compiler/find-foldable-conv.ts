/**
 * Finds the Conv that can take up a batch norm. Cases:
 *
 *  1. the batch norm's input is made by a Conv with constant float32 weights: foldable
 *  2. that Conv has a constant bias: foldable, the bias is kept
 *  3. something else reads the Conv's output too, or it is a graph output: not foldable
 *  4. the Conv's weights or bias are computed, or of another type: not foldable
 *  5. several Convs share the weights: foldable, each gets a port of its own
 */
import { constantOf } from '../onnx/constant.js'
import { isOnnxDomain } from '../onnx/model.js'
import { DataType, dimsOf, readFloat32 } from '../onnx/tensor.js'
import type { GraphIndex } from '../onnx/graph.js'
import type { NodeProto } from '../onnx/generated/onnx_pb.js'
import type { BatchNormSite } from './read-batch-norms.js'

export interface FoldableConv {
  node: NodeProto
  /** Output channels first. */
  dims: number[]
  weights: Float32Array
  bias?: Float32Array
}

export function findFoldableConv (index: GraphIndex, site: BatchNormSite): FoldableConv | undefined {
  const node = index.producerOf.get(site.input)
  if (node?.opType !== 'Conv' || !isOnnxDomain(node.domain) || index.readersOf.get(site.input) !== 1) return undefined
  const tensor = index.initializerOf.get(node.input[1] ?? '')
  if (tensor?.dataType !== DataType.FLOAT) return undefined
  const dims = dimsOf(tensor)
  const { channels } = site.layer
  if (dims[0] !== channels) return undefined
  const weights = readFloat32(tensor)
  const biasName = node.input[2] ?? ''
  if (biasName === '') return { node, dims, weights }
  const bias = constantOf(index, biasName)
  return bias?.values.length === channels ? { node, dims, weights, bias: Float32Array.from(bias.values) } : undefined
}
