/**
 * Pass: finds every BatchNormalization and resolves its four parameters.
 *
 * Parameters are bound by (node, input slot), never by initializer name: exporters merge equal initializers and route
 * them through other nodes. A layer is one set of statistics; a site is one node. Cases:
 *
 *  1. parameters are initializers, or constants behind a chain that `constantOf` follows
 *  2. parameters are initializers that are graph inputs too (overridable defaults): taken as constants
 *  3. two nodes read the very same four parameters with the same epsilon and no module path tells them apart: one
 *     layer with two sites, which is what a module called twice is in PyTorch
 *  4. two nodes read the same parameters but differ in module path or epsilon: two layers (fresh weights that were
 *     merged)
 *  5. training_mode=1, or outputs beyond the first in use: refused, the statistics would come from the request
 *  6. parameters computed from an input: refused
 *  7. spatial=0 (opset 7 and 8): refused, it has statistics per pixel
 *  8. inside the body of If, Loop or Scan, or of a function of the model: refused
 *  9. arrays of different lengths, none at all, or values that no bank may hold: malformed
 * 10. no output of the graph depends on it: no site, as if it were not there
 * 11. more channels than a port can number: refused
 */
import { completeBank, type Bank, type BatchNormLayer, type PartialLayer } from '../bank/bank.js'
import { PADDING } from '../bank/port.js'
import { BankswitchError } from '../base/errors.js'
import { constantOf, type Constant } from '../onnx/constant.js'
import { onnxErrors } from '../onnx/errors.js'
import { describeNode, nestedGraphs, type GraphIndex } from '../onnx/graph.js'
import { isOnnxDomain } from '../onnx/model.js'
import { floatAttribute, intAttribute } from '../onnx/node.js'
import { isExternal } from '../onnx/tensor.js'
import { compilerErrors } from './errors.js'
import { layerKeyCandidates } from './layer-key.js'
import type { FunctionProto, NodeProto } from '../onnx/generated/onnx_pb.js'

/** Default of the operator, and of PyTorch. */
const EPSILON_DEFAULT = 1e-5

/** A port numbers its channels from 0 in 16 bits, of which the last number means padding. */
const CHANNELS_MAX = PADDING

export interface BatchNormSite {
  readonly node: NodeProto
  readonly layer: BatchNormLayer
  /** The value that is normalised. */
  readonly input: string
  readonly output: string
}

export interface BatchNorms {
  /** In the order of the graph's nodes. */
  readonly layers: readonly BatchNormLayer[]
  readonly sites: readonly BatchNormSite[]
  /** The statistics that stand in the model. */
  readonly ownBank: Bank
}

export const EXPORT_ADVICE = 'export with model.eval() and torch.onnx.export(model, (x,), "model.onnx", dynamo=True, ' +
  'optimize=False, external_data=False), which keeps batch norms with fixed statistics'

/**
 * Throws COMPILE_NO_BATCH_NORM when there is none, and the refusals of the numbered cases. `functions` are those of the
 * model; only the first reading of a model needs them.
 */
export function readBatchNorms (index: GraphIndex, functions: readonly FunctionProto[] = []): BatchNorms {
  for (const body of functions) refuseNested(body.name, `function "${body.name}"`, [body])
  for (const node of index.graph.node) refuseNested(node.name, `node ${describeNode(node)}`, nestedGraphs(node))
  const live = liveNodes(index)
  const nodes = index.graph.node.filter((node) => isBatchNorm(node) && live.has(node))
  if (nodes.length === 0) {
    throw compilerErrors.COMPILE_NO_BATCH_NORM(
      `the model has no BatchNormalization node to switch; if they were folded away at export, ${EXPORT_ADVICE}`
    )
  }
  const read = nodes.map((node) => ({ node, parameters: readParameters(index, node) }))
  const keys = assignKeys(read)
  const layers = new Map<string, BatchNormLayer>()
  const own = new Map<string, PartialLayer>()
  const sites = read.map(({ node, parameters }, at) => {
    const key = keys[at]!
    const channels = parameters[0]!.values.length
    let layer = layers.get(key)
    if (layer === undefined) {
      layer = { key, channels, epsilon: epsilonOf(node) }
      layers.set(key, layer)
      const [gamma, beta, mean, variance] = parameters.map(({ values }) => values)
      own.set(key, { gamma: gamma!, beta: beta!, mean: mean!, variance: variance! })
    }
    return { node, layer, input: node.input[0]!, output: node.output[0]! }
  })
  const list = [...layers.values()]
  return { layers: list, sites, ownBank: ownBankOf(list, own) }
}

function epsilonOf (node: NodeProto): number {
  return floatAttribute(node, 'epsilon', EPSILON_DEFAULT)
}

function isBatchNorm (node: NodeProto): boolean {
  return node.opType === 'BatchNormalization' && isOnnxDomain(node.domain)
}

interface Body {
  node: NodeProto[]
}

function refuseNested (name: string, description: string, bodies: readonly Body[]): void {
  const contains = ({ node }: Body): boolean => node.some((inner) => {
    return isBatchNorm(inner) || nestedGraphs(inner).some(contains)
  })
  if (!bodies.some(contains)) return
  throw compilerErrors.COMPILE_BATCH_NORM_NESTED(
    `${description} has a batch norm inside its body; export the model without control flow and functions`,
    { node: name }
  )
}

/** The nodes that an output of the graph depends on. */
function liveNodes ({ outputs, producerOf }: GraphIndex): Set<NodeProto> {
  const live = new Set<NodeProto>()
  const values = [...outputs]
  const addReads = (node: NodeProto): void => {
    values.push(...node.input)
    for (const nested of nestedGraphs(node)) {
      values.push(...nested.output.map(({ name }) => name))
      for (const inner of nested.node) addReads(inner)
    }
  }
  for (let value = values.pop(); value !== undefined; value = values.pop()) {
    const node = producerOf.get(value)
    if (node === undefined || live.has(node)) continue
    live.add(node)
    addReads(node)
  }
  return live
}

/** The four parameters in slot order: gamma (which ONNX calls scale), beta, mean, variance. */
function readParameters (index: GraphIndex, node: NodeProto): Constant[] {
  const isTraining = intAttribute(node, 'training_mode', 0) !== 0 || node.output.slice(1).some((name) => name !== '')
  if (isTraining) {
    throw compilerErrors.COMPILE_BATCH_NORM_TRAINING(
      `batch norm ${describeNode(node)} is in training mode and would take its statistics from the request; ${EXPORT_ADVICE}`,
      { node: node.name }
    )
  }
  if (intAttribute(node, 'spatial', 1) === 0) {
    throw compilerErrors.COMPILE_BATCH_NORM_SPATIAL(
      `batch norm ${describeNode(node)} has statistics per pixel (spatial=0), which no later operator set has`,
      { node: node.name }
    )
  }
  if ([0, 1, 2, 3, 4].some((slot) => (node.input[slot] ?? '') === '')) {
    throw compilerErrors.COMPILE_BATCH_NORM_MALFORMED(
      `batch norm ${describeNode(node)} lacks an input`, { node: node.name, expected: 5, received: node.input }
    )
  }
  const parameters = [1, 2, 3, 4].map((slot) => readParameter(index, node, slot))
  const lengths = parameters.map(({ values }) => values.length)
  if (lengths[0] === 0 || new Set(lengths).size > 1) {
    throw compilerErrors.COMPILE_BATCH_NORM_MALFORMED(
      `the parameters of batch norm ${describeNode(node)} differ in length, or are empty`,
      { node: node.name, received: lengths }
    )
  }
  if (lengths[0]! > CHANNELS_MAX) {
    throw compilerErrors.COMPILE_BATCH_NORM_CHANNELS(
      `batch norm ${describeNode(node)} has too many channels`,
      { node: node.name, expected: CHANNELS_MAX, received: lengths[0] }
    )
  }
  return parameters
}

function readParameter (index: GraphIndex, node: NodeProto, slot: number): Constant {
  const name = node.input[slot]!
  const constant = constantOf(index, name)
  if (constant !== undefined) return constant
  const initializer = index.initializerOf.get(name)
  if (initializer !== undefined && isExternal(initializer)) {
    throw onnxErrors.ONNX_UNSUPPORTED(
      `input ${slot} of batch norm ${describeNode(node)} lies in an external file; ${EXPORT_ADVICE}`,
      { node: node.name, slot }
    )
  }
  throw compilerErrors.COMPILE_BATCH_NORM_DYNAMIC(
    `input ${slot} of batch norm ${describeNode(node)} is computed in the graph (track_running_stats=False?), so ` +
    `there are no statistics to switch; ${EXPORT_ADVICE}`,
    { node: node.name, slot }
  )
}

/**
 * One key per node, the same for nodes of one layer. The first candidate that no other layer has wins; when all are
 * taken the first is numbered.
 */
function assignKeys (read: ReadonlyArray<{ node: NodeProto, parameters: readonly Constant[] }>): string[] {
  const keyOf = new Map<string, string>()
  const taken = new Set<string>()
  return read.map(({ node, parameters }, at) => {
    const origins = parameters.map(({ origin }) => origin)
    const { path, names } = layerKeyCandidates(node, origins)
    const shared = origins.every((origin) => origin !== undefined) ? origins.join('\n') : `node ${at}`
    const identity = `${path ?? ''}\n${epsilonOf(node)}\n${shared}`
    const known = keyOf.get(identity)
    if (known !== undefined) return known
    const candidates = [...names, ...(node.name === '' ? [] : [node.name]), `batch_norm_${at}`]
    const key = candidates.find((candidate) => !taken.has(candidate)) ?? numbered(candidates[0]!, taken)
    keyOf.set(identity, key)
    taken.add(key)
    return key
  })
}

function numbered (name: string, taken: ReadonlySet<string>): string {
  let number = 2
  while (taken.has(`${name}#${number}`)) number++
  return `${name}#${number}`
}

function ownBankOf (layers: readonly BatchNormLayer[], own: ReadonlyMap<string, PartialLayer>): Bank {
  try {
    return completeBank(layers, own, new Map())
  } catch (cause) {
    if (!(cause instanceof BankswitchError)) throw cause
    throw compilerErrors.COMPILE_BATCH_NORM_MALFORMED(
      `the statistics in the model are refused: ${cause.message}`, cause.details, cause
    )
  }
}
