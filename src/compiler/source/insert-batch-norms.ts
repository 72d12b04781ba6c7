/**
 * Pass: a batch norm that changes nothing behind every convolution, for a network that has none.
 *
 * Its bank is the identity: mean 0, variance 1, beta 0 and gamma sqrt(1 + epsilon), so that gamma / sqrt(variance +
 * epsilon) is 1. Other banks then shift and scale the channels of every convolution. Cases:
 *
 *  1. a Conv or ConvTranspose with constant weights: gets one, under the name of its weights
 *  2. one whose output goes into a batch norm already: left alone
 *  3. one in a nested graph: left alone
 */
import { createNamer, indexGraph, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../../onnx/model.js'
import { intAttribute, makeNode } from '../../onnx/node.js'
import { dimsOf, float32Tensor } from '../../onnx/tensor.js'
import { compilerErrors } from '../errors.js'
import type { GraphProto, NodeProto } from '../../onnx/generated/onnx_pb.js'

const EPSILON = 1e-5

export interface BatchNormToAdd {
  /** Module path, the prefix of the parameters' names. */
  key: string
  epsilon: number
  statistics: Readonly<Record<'weight' | 'bias' | 'running_mean' | 'running_var', Float32Array>>
}

/** Edits `model` in place. Throws COMPILE_NOTHING_TO_INSERT when there is no convolution for it. */
export function insertBatchNorms (model: OnnxModel): void {
  const index = indexGraph(model.graph)
  const batchNorms = model.graph.node.filter(({ opType }) => opType === 'BatchNormalization')
  const normalised = new Set(batchNorms.map(({ input }) => input[0]!))
  const keys = new Map<NodeProto, BatchNormToAdd>()
  for (const node of model.graph.node) {
    const channels = convolutionChannels(index, node)
    if (channels === undefined || normalised.has(node.output[0]!)) continue
    keys.set(node, { key: `${nameOf(node)}.bn`, epsilon: EPSILON, statistics: identity(channels) })
  }
  if (keys.size === 0) {
    throw compilerErrors.COMPILE_NOTHING_TO_INSERT('no convolution with constant weights lacks a batch norm')
  }
  addBatchNorms(model, keys)
}

/** Puts a BatchNormalization behind each of the nodes; edits `model` in place. */
export function addBatchNorms (model: OnnxModel, batchNorms: ReadonlyMap<NodeProto, BatchNormToAdd>): void {
  const { graph } = model
  const fresh = createNamer(graph)
  graph.node = graph.node.flatMap((node) => {
    const added = batchNorms.get(node)
    if (added === undefined) return [node]
    const output = node.output[0]!
    const inner = fresh(`${output}/plain`)
    node.output = [inner]
    const parameters = addParameters(graph, fresh, added.key, added.statistics)
    const name = fresh(`${added.key}/BatchNormalization`)
    return [node, makeNode('BatchNormalization', name, [inner, ...parameters], [output], {
      epsilon: { float: added.epsilon }
    })]
  })
}

/** Adds the four parameters of a batch norm to the graph, and gives their names, in the order of the node's inputs. */
export function addParameters (
  graph: GraphProto, fresh: (wish: string) => string, key: string, statistics: BatchNormToAdd['statistics']
): string[] {
  return (['weight', 'bias', 'running_mean', 'running_var'] as const).map((suffix) => {
    const values = statistics[suffix]
    const name = fresh(`${key}.${suffix}`)
    graph.initializer.push(float32Tensor(name, [values.length], values))
    return name
  })
}

/** Output channels of a convolution with constant weights, else undefined. */
function convolutionChannels (index: GraphIndex, node: NodeProto): number | undefined {
  if (!isOnnxDomain(node.domain)) return undefined
  const tensor = index.initializerOf.get(node.input[1] ?? '')
  if (tensor === undefined) return undefined
  if (node.opType === 'Conv') return dimsOf(tensor)[0]
  return node.opType === 'ConvTranspose' ? dimsOf(tensor)[1]! * intAttribute(node, 'group', 1) : undefined
}

function nameOf (node: NodeProto): string {
  const weights = node.input[1]!
  if (weights.endsWith('.weight')) return weights.slice(0, -'.weight'.length)
  return node.name === '' ? node.output[0]! : node.name
}

function identity (channels: number): BatchNormToAdd['statistics'] {
  const filled = (value: number) => new Float32Array(channels).fill(value)
  return {
    weight: filled(Math.sqrt(1 + Math.fround(EPSILON))),
    bias: filled(0),
    running_mean: filled(0),
    running_var: filled(1)
  }
}
