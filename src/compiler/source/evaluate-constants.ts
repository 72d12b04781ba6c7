/**
 * Pass: what depends on no input, evaluated once, at compile time.
 *
 * Exporters write chains where a number is meant: a convolution's bias as Expand(CastLike(0, x), Shape(weight)), the
 * bounds of a Clip behind casts, weights as Constant nodes or behind a Transpose. The runtime fuses nothing into what
 * it does not see as a constant. Here ONNX Runtime itself evaluates such nodes, level by level, and initializers take
 * their place. Cases:
 *
 *  1. a Constant node of numbers: an initializer of the same name, which counts as a weight
 *  2. Shape and Size of a constant: from its dimensions; the constant is not touched, however large it is
 *  3. CastLike of a constant to the type of a value that is none: only the type is read, so it is a Cast
 *  4. any other node of the standard operator set whose inputs are all constant: evaluated
 *  5. the bias of a Conv or ConvTranspose that is all zeros: dropped
 *  6. nodes and initializers that nothing reads any more: removed; an initializer that is a graph input too is a
 *     default that could be overridden, and taken as a constant: the artefact is compiled for it
 *  7. random numbers, and Dropout: left alone
 *  8. BatchNormalization, and what brings the parameters of one where `constantOf` can follow it: left alone, because
 *     layer keys come from those names (layer-key.ts); other readers of such a value get a copy
 *  9. QuantizeLinear, DequantizeLinear: left alone, the runtime needs them to compute with 8 bits
 * 10. If, Loop, Scan, and other nodes with nested graphs; sequences and optional values; strings: left alone
 * 11. results of unknown size, or larger than what they are made from and a MiB: left alone, and so is everything
 *     beyond RESULT_BYTES_MAX
 * 12. what makes an output of the graph: left alone; what it reads is evaluated
 * 13. what the runtime cannot run: left alone
 */
import { elementCount } from '../../base/dims.js'
import { constantOf } from '../../onnx/constant.js'
import type { NodeProto, TensorProto } from '../../onnx/generated/onnx_pb.js'
import { createNamer, indexGraph, nestedGraphs, removeUnused, renameValues, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../../onnx/model.js'
import { attributeOf, intAttribute, makeNode } from '../../onnx/node.js'
import { DataType, dimsOf, float32Tensor, int64Tensor, isExternal, readFloat32 } from '../../onnx/tensor.js'
import { typesOf } from './value-types.js'
import { RESULT_BYTES_MAX, runConstantNodes, type Budget } from './run-constant-nodes.js'

const LEFT_ALONE = new Set([
  'RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Multinomial', 'Bernoulli', 'Dropout',
  'BatchNormalization', 'QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear',
  'SequenceEmpty', 'SequenceConstruct', 'SequenceInsert', 'SequenceErase', 'SequenceAt', 'SequenceLength',
  'SplitToSequence', 'ConcatFromSequence', 'Optional', 'OptionalGetElement', 'OptionalHasElement'
])

const PARAMETER_SLOTS = [1, 2, 3, 4]

/** Edits `model` in place; tells whether anything changed. Throws ONNX_MALFORMED for broken tensors. */
export async function evaluateConstants (model: OnnxModel): Promise<boolean> {
  const { graph } = model
  const hasLifted = liftConstants(model)
  const hasCast = await settleCasts(model)
  const results = await evaluate(model)
  if (results.size > 0) install(model, results)
  const hasDropped = dropZeroBiases(indexGraph(graph))
  if (!hasLifted && !hasCast && results.size === 0 && !hasDropped) return false
  const defaults = new Set(graph.initializer.map(({ name }) => name))
  graph.input = graph.input.filter(({ name }) => !defaults.has(name))
  removeUnused(graph)
  return true
}

function isKnownOperator (node: NodeProto): boolean {
  return isOnnxDomain(node.domain) && !LEFT_ALONE.has(node.opType) && nestedGraphs(node).length === 0
}

function liftConstants ({ graph }: OnnxModel): boolean {
  const outputs = new Set(graph.output.map(({ name }) => name))
  const before = graph.node.length
  graph.node = graph.node.filter((node) => {
    if (node.opType !== 'Constant' || !isOnnxDomain(node.domain) || outputs.has(node.output[0]!)) return true
    const tensor = constantTensor(node)
    if (tensor !== undefined) graph.initializer.push(tensor)
    return tensor === undefined
  })
  return graph.node.length < before
}

/** What a Constant node holds, under the name of its output; undefined for texts and sparse tensors. */
function constantTensor (node: NodeProto): TensorProto | undefined {
  const [name = ''] = node.output
  const tensor = attributeOf(node, 'value')?.t
  if (tensor !== undefined) {
    if (tensor.dataType === DataType.STRING) return undefined
    tensor.name = name
    return tensor
  }
  const float = attributeOf(node, 'value_float')
  if (float !== undefined) return float32Tensor(name, [], Float32Array.of(float.f))
  const floats = attributeOf(node, 'value_floats')?.floats
  if (floats !== undefined) return float32Tensor(name, [floats.length], Float32Array.from(floats))
  const int = attributeOf(node, 'value_int')
  if (int !== undefined) return int64Tensor(name, [], [int.i])
  const ints = attributeOf(node, 'value_ints')?.ints
  return ints === undefined ? undefined : int64Tensor(name, [ints.length], ints)
}

/** Case 3, wherever it stands: what is cast may prove to be a constant only later. */
async function settleCasts (model: OnnxModel): Promise<boolean> {
  const { initializerOf } = indexGraph(model.graph)
  const nodes = model.graph.node.filter((node) => {
    return node.opType === 'CastLike' && isOnnxDomain(node.domain) && !initializerOf.has(node.input[1]!)
  })
  const types = await typesOf(model, new Set(nodes.map(({ input }) => input[1]!)))
  let hasChanged = false
  for (const node of nodes) {
    const to = types.get(node.input[1]!)
    if (to === undefined) continue
    const cast = makeNode('Cast', node.name, [node.input[0]!], node.output, { to: { int: to } })
    Object.assign(node, { opType: cast.opType, input: cast.input, attribute: cast.attribute })
    hasChanged = true
  }
  return hasChanged
}

/** The values of all nodes that depend on no input. */
async function evaluate (model: OnnxModel): Promise<Map<string, TensorProto>> {
  const { graph } = model
  const outputs = new Set(graph.output.map(({ name }) => name))
  const known = new Map(graph.initializer.filter((tensor) => {
    return !isExternal(tensor) && tensor.dataType !== DataType.STRING
  }).map((tensor) => [tensor.name, tensor]))
  const results = new Map<string, TensorProto>()
  const budget: Budget = { bytesLeft: RESULT_BYTES_MAX }
  let waiting = graph.node.filter((node) => isKnownOperator(node) && !node.output.some((name) => outputs.has(name)))
  for (;;) {
    const isReady = ({ input }: NodeProto) => {
      return input.length > 0 && input.every((name) => name === '' || known.has(name))
    }
    const ready = waiting.filter(isReady)
    if (ready.length === 0) return results
    waiting = waiting.filter((node) => !isReady(node))
    const shapes = ready.filter(({ opType }) => opType === 'Shape' || opType === 'Size')
    const others = ready.filter((node) => !shapes.includes(node))
    const made = [
      ...shapes.map((node) => shapeTensor(node, known.get(node.input[0]!)!)),
      ...(await runConstantNodes(model, others, known, budget)).values()
    ]
    for (const tensor of made) {
      known.set(tensor.name, tensor)
      results.set(tensor.name, tensor)
    }
  }
}

function shapeTensor (node: NodeProto, tensor: TensorProto): TensorProto {
  const dims = dimsOf(tensor)
  const [name = ''] = node.output
  if (node.opType === 'Size') return int64Tensor(name, [], [elementCount(dims)])
  const shape = dims.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', dims.length))
  return int64Tensor(name, [shape.length], shape)
}

/** Initializers instead of nodes; where batch norms need the nodes (case 8), beside them and under another name. */
function install ({ graph }: OnnxModel, results: ReadonlyMap<string, TensorProto>): void {
  const index = indexGraph(graph)
  const kept = parameterNodes(index)
  const fresh = createNamer(graph)
  const copies = new Map<string, string>()
  graph.node = graph.node.filter((node) => {
    const tensors = node.output.flatMap((name) => results.get(name) ?? [])
    if (tensors.length === 0) return true
    for (const tensor of tensors) {
      if (kept.has(node)) {
        const copy = fresh(`${tensor.name}/value`)
        copies.set(tensor.name, copy)
        tensor.name = copy
      }
      graph.initializer.push(tensor)
    }
    return kept.has(node)
  })
  if (copies.size === 0) return
  for (const node of graph.node) {
    if (kept.has(node)) continue
    const parameters = isBatchNorm(node) ? node.input.slice(1) : []
    renameValues(node, (value) => copies.get(value) ?? value)
    if (parameters.length > 0) node.input = [node.input[0]!, ...parameters]
  }
}

/** The nodes between initializers and the parameters of batch norms, where these can be read through them. */
function parameterNodes (index: GraphIndex): Set<NodeProto> {
  const kept = new Set<NodeProto>()
  const values = index.graph.node.filter(isBatchNorm).flatMap(({ input }) => {
    return PARAMETER_SLOTS.map((slot) => input[slot] ?? '').filter((name) => constantOf(index, name) !== undefined)
  })
  for (let value = values.pop(); value !== undefined; value = values.pop()) {
    const node = index.producerOf.get(value)
    if (node === undefined || kept.has(node)) continue
    kept.add(node)
    values.push(...node.input)
  }
  return kept
}

function isBatchNorm (node: NodeProto): boolean {
  return node.opType === 'BatchNormalization' && isOnnxDomain(node.domain)
}

function dropZeroBiases ({ graph, initializerOf }: GraphIndex): boolean {
  let hasDropped = false
  for (const node of graph.node) {
    if (!['Conv', 'ConvTranspose'].includes(node.opType) || !isOnnxDomain(node.domain)) continue
    const bias = initializerOf.get(node.input[2] ?? '')
    if (bias?.dataType !== DataType.FLOAT || !readFloat32(bias).every((value) => value === 0)) continue
    node.input = node.input.slice(0, 2)
    hasDropped = true
  }
  return hasDropped
}
