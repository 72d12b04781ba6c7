/**
 * The stem as a single convolution of the network's input, as it is in most networks for small pictures. Its moments
 * can then be had without ONNX Runtime: see signature/convolution-moments.ts. Cases:
 *
 *  1. a Conv over two dimensions in float32, of the network's input, by constants: taken
 *  2. in groups, dilated, or padded by its strides (auto_pad) or by less than nothing: not taken
 *  3. of what another node makes, as of an input that the graph normalises: not taken
 */
import { isOnnxDomain } from '../onnx/model.js'
import { attributeOf, intAttribute, intsAttribute } from '../onnx/node.js'
import { DataType, dimsOf, isExternal, readFloat32 } from '../onnx/tensor.js'
import { tapsOf, type Convolution } from '../signature/convolution-moments.js'
import type { NodeProto, TensorProto } from '../onnx/generated/onnx_pb.js'
import type { GraphIndex } from '../onnx/graph.js'

/** What makes the value; undefined for what is not taken. */
export function stemConvolution (index: GraphIndex, value: string): Convolution | undefined {
  const node = index.producerOf.get(value)
  if (node?.opType !== 'Conv' || !isOnnxDomain(node.domain)) return undefined
  const [image = '', kernel = '', bias = ''] = node.input
  const weights = constantOf(index, kernel)
  const biases = bias === '' ? 'none' : constantOf(index, bias)
  const padding = intsAttribute(node, 'pads') ?? [0, 0, 0, 0]
  if (weights === undefined || biases === undefined) return undefined
  if (!isImage(index, image) || !isPlain(node, padding)) return undefined
  const [channels, inputChannels, height, width, ...more] = dimsOf(weights)
  if (width === undefined || more.length > 0) return undefined
  const [down, right] = intsAttribute(node, 'strides') ?? [1, 1]
  return {
    inputChannels: inputChannels!,
    kernel: [height!, width],
    strides: [down!, right!],
    padding: padding as [number, number, number, number],
    weights: readFloat32(weights),
    biases: biases === 'none' ? new Float32Array(channels!) : readFloat32(biases)
  }
}

/** Only these of the channels. */
export function withChannels (convolution: Convolution, picked: readonly number[]): Convolution {
  const taps = tapsOf(convolution)
  const weights = new Float32Array(picked.length * taps)
  for (const [at, channel] of picked.entries()) {
    weights.set(convolution.weights.subarray(channel * taps, (channel + 1) * taps), at * taps)
  }
  return { ...convolution, weights, biases: Float32Array.from(picked, (channel) => convolution.biases[channel]!) }
}

function constantOf ({ initializerOf }: GraphIndex, name: string): TensorProto | undefined {
  const tensor = initializerOf.get(name)
  return tensor?.dataType === DataType.FLOAT && !isExternal(tensor) ? tensor : undefined
}

function isImage ({ graph }: GraphIndex, name: string): boolean {
  return graph.input.some((input) => input.name === name && input.type?.tensorType?.elemType === DataType.FLOAT)
}

/** By auto_pad. */
export function isPaddedByStrides (node: NodeProto): boolean {
  const rule = attributeOf(node, 'auto_pad')
  return rule !== undefined && Buffer.from(rule.s).toString() !== 'NOTSET'
}

/** Case 2. */
function isPlain (node: NodeProto, padding: readonly number[]): boolean {
  return !isPaddedByStrides(node) &&
    intAttribute(node, 'group', 1) === 1 &&
    (intsAttribute(node, 'dilations') ?? []).every((dilation) => dilation === 1) &&
    padding.every((size) => size >= 0)
}
