/**
 * Pass: batch norms that the exporter folded away, put back with the help of the state_dict that the model was exported
 * from.
 *
 * A folded convolution has weights W' = scale * W and bias b' = shift + scale * b, with scale and shift of the batch
 * norm behind it (bank/fold.ts). The pair (convolution, batch norm) of the state that explains a node's weights and
 * bias is found by its numbers, because exporters rename what they fold; the node then gets the state's W and b again
 * and a BatchNormalization behind it. For a bank with other statistics that is y' = r * y + s, r = scale_new / scale,
 * s = shift_new - r * shift, without the division by a scale that may be 0. Cases:
 *
 *  1. Conv with W [O, I / group, …], ConvTranspose with W [I, O / group, …], Gemm with W [O, I] (transB) or [I, O]
 *  2. W' equal to W of the state: nothing was folded into it
 *  3. several batch norms explain a node (fresh ones are all alike): the one whose name is nearest to the convolution's
 *  4. a batch norm of the state that neither explains a node nor stands in the graph: refused
 *  5. epsilon is in no state_dict: of the usual ones, that which explains the weights best
 *  6. a batch norm that was frozen, and stands as Mul and Add: restore-frozen.ts
 */
import { elementCount } from '../../base/dims.js'
import { constantOf } from '../../onnx/constant.js'
import { createNamer, indexGraph, removeUnused, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../../onnx/model.js'
import { intAttribute } from '../../onnx/node.js'
import { dimsOf, float32Tensor, readFloat32 } from '../../onnx/tensor.js'
import { compilerErrors } from '../errors.js'
import { readBatchNorms } from '../read-batch-norms.js'
import { addBatchNorms, type BatchNormToAdd } from './insert-batch-norms.js'
import {
  best, candidates, largest, readReferenceState, RELATIVE_TOLERANCE,
  type Candidate, type Convolution, type Explanation, type ReferenceState
} from './reference-state.js'
import { restoreFrozen } from './restore-frozen.js'
import type { NodeProto } from '../../onnx/generated/onnx_pb.js'

const NAMED_MAX = 20

/** A node that may have taken up a batch norm. */
interface FoldedNode extends Omit<Convolution, 'key'> {
  channels: number
  /** The largest weight, which errors are relative to. */
  weightSize: number
  /** Output channel of each weight. */
  channelOf (element: number): number
}

interface FoldExplanation extends Explanation {
  convolution: Convolution
}

/**
 * Edits `model` in place, by the state_dict in the safetensors file at `statePath`.
 * Throws COMPILE_REFERENCE_MISMATCH, what `parseSafetensors` throws, and the errno error of an unreadable file.
 */
export async function restoreBatchNorms (model: OnnxModel, statePath: string): Promise<void> {
  restoreFrom(model, await readReferenceState(statePath))
}

function restoreFrom (model: OnnxModel, state: ReferenceState): void {
  const used = new Set(keysInGraph(indexGraph(model.graph)))
  restoreFrozen(model, state, used)
  const index = indexGraph(model.graph)
  const found = new Map<NodeProto, BatchNormToAdd>()
  const fresh = createNamer(model.graph)
  for (const node of model.graph.node) {
    const folded = foldedNode(index, node)
    if (folded === undefined) continue
    const explanation = explain(folded, state, used)
    if (explanation === undefined) continue
    const { convolution, normalisation: { key, statistics }, epsilon } = explanation
    used.add(key)
    giveBack(model, fresh, node, convolution)
    found.set(node, { key, statistics, epsilon })
  }
  const missing = state.normalisations.filter(({ key }) => !used.has(key)).map(({ key }) => key)
  if (missing.length > 0 || state.normalisations.length === 0) {
    throw compilerErrors.COMPILE_REFERENCE_MISMATCH(
      'the reference state does not explain the weights of the model: it is of another network, or of another training',
      { expected: state.normalisations.length, received: used.size, missing: missing.slice(0, NAMED_MAX) }
    )
  }
  // Frees the names of what the exporter folded and left behind.
  removeUnused(model.graph)
  addBatchNorms(model, found)
}

function keysInGraph (index: GraphIndex): string[] {
  if (!index.graph.node.some(({ opType }) => opType === 'BatchNormalization')) return []
  return readBatchNorms(index).layers.map(({ key }) => key)
}

/** What a Conv, ConvTranspose or Gemm with constant weights computes with, in the order of PyTorch's weights. */
function foldedNode (index: GraphIndex, node: NodeProto): FoldedNode | undefined {
  const tensor = index.initializerOf.get(node.input[1] ?? '')
  if (tensor === undefined || !isOnnxDomain(node.domain)) return undefined
  if (!['Conv', 'ConvTranspose', 'Gemm'].includes(node.opType)) return undefined
  const isReversed = isTransposedGemm(node)
  const dims = isReversed ? dimsOf(tensor).reverse() : dimsOf(tensor)
  const weights = isReversed ? transposed(readFloat32(tensor), dimsOf(tensor)) : readFloat32(tensor)
  const bias = constantOf(index, node.input[2] ?? '')?.values
  const [rows = 0, columns = 0, ...kernel] = dims
  const common = {
    weights, dims, weightSize: largest(weights), ...(bias === undefined ? {} : { bias: Float32Array.from(bias) })
  }
  if (node.opType !== 'ConvTranspose') {
    const inner = weights.length / rows
    return { ...common, channels: rows, channelOf: (element) => Math.floor(element / inner) }
  }
  const group = intAttribute(node, 'group', 1)
  const area = elementCount(kernel)
  const channelOf = (element: number): number => {
    const row = Math.floor(element / (area * columns))
    return Math.floor(row / (rows / group)) * columns + Math.floor(element / area) % columns
  }
  return { ...common, channels: columns * group, channelOf }
}

/** A Gemm whose weights stand as [I, O], the other way round than PyTorch's. */
function isTransposedGemm (node: NodeProto): boolean {
  return node.opType === 'Gemm' && intAttribute(node, 'transB', 0) !== 1
}

function transposed (values: Float32Array, [rows = 0, columns = 0]: readonly number[]): Float32Array {
  const result = new Float32Array(values.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column]!
  }
  return result
}

function explain (
  folded: FoldedNode, state: ReferenceState, used: ReadonlySet<string>
): FoldExplanation | undefined {
  const possible = candidates(state, folded.channels, used)
  const explanations: FoldExplanation[] = []
  for (const convolution of state.convolutions) {
    if (convolution.dims.join() !== folded.dims.join()) continue
    for (const candidate of possible) {
      const error = errorOf(folded, convolution, candidate)
      if (error <= RELATIVE_TOLERANCE) explanations.push({ ...candidate, convolution, error })
    }
  }
  return best(explanations, ({ convolution }) => convolution.key)
}

/** The largest deviation of folded weights and bias, relative to the largest of each; Infinity when it is hopeless. */
function errorOf (folded: FoldedNode, convolution: Convolution, { normalisation, scale, shift }: Candidate): number {
  const { bias } = normalisation.statistics
  const { weightSize } = folded
  let weightError = 0
  for (let at = 0; at < folded.weights.length; at++) {
    const expected = scale[folded.channelOf(at)]! * convolution.weights[at]!
    weightError = Math.max(weightError, Math.abs(folded.weights[at]! - expected))
    if (weightError > RELATIVE_TOLERANCE * weightSize) return Infinity
  }
  const biasSize = Math.max(folded.bias === undefined ? 0 : largest(folded.bias), largest(bias))
  let biasError = 0
  for (let channel = 0; channel < folded.channels; channel++) {
    const own = convolution.bias?.[channel] ?? 0
    const expected = shift[channel]! + scale[channel]! * own
    biasError = Math.max(biasError, Math.abs((folded.bias?.[channel] ?? 0) - expected))
  }
  return Math.max(weightError / weightSize, biasError / biasSize)
}

/** The node computes with the state's own weights again; each node has them for itself. */
function giveBack (
  model: OnnxModel, fresh: (wish: string) => string, node: NodeProto, { key, weights, dims, bias }: Convolution
): void {
  const add = (name: string, shape: readonly number[], content: Float32Array): string => {
    const unique = fresh(name)
    model.graph.initializer.push(float32Tensor(unique, shape, content))
    return unique
  }
  const isReversed = isTransposedGemm(node)
  const parameters = [add(
    `${key}.weight`, isReversed ? [...dims].reverse() : dims, isReversed ? transposed(weights, dims) : weights
  )]
  if (bias !== undefined) parameters.push(add(`${key}.bias`, [bias.length], bias))
  node.input = [node.input[0]!, ...parameters]
}
