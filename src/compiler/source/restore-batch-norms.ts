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
 */
import { readFile, stat } from 'node:fs/promises'
import { elementCount } from '../../base/dims.js'
import { constantOf } from '../../onnx/constant.js'
import { createNamer, indexGraph, removeUnused, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../../onnx/model.js'
import { intAttribute } from '../../onnx/node.js'
import { dimsOf, float32Tensor, readFloat32 } from '../../onnx/tensor.js'
import { floatValues, parseSafetensors, type SafetensorsFile } from '../../bank/formats/safetensors.js'
import { compilerErrors } from '../errors.js'
import { readBatchNorms } from '../read-batch-norms.js'
import { addBatchNorms, type BatchNormToAdd } from './insert-batch-norms.js'
import type { NodeProto } from '../../onnx/generated/onnx_pb.js'

/** PyTorch's default, timm's and TensorFlow's, and what some detection and face networks use. */
const EPSILONS = [1e-5, 1e-3, 1e-6, 1e-4, 2e-5]

/** Folded weights were rounded once to float32, or to float16 (2^-11) before the model was widened. */
const RELATIVE_TOLERANCE = 2e-3

/** Errors that differ by less tell nothing. */
const ROUNDING = 1e-6

/** A state_dict beyond this is none of a convolutional network that one model file could hold. */
const STATE_BYTES_MAX = 2 ** 31

const NAMED_MAX = 20

interface Convolution {
  key: string
  weights: Float32Array
  dims: number[]
  bias?: Float32Array
}

/** A node that may have taken up a batch norm. */
interface FoldedNode extends Omit<Convolution, 'key'> {
  channels: number
  /** The largest weight, which errors are relative to. */
  weightSize: number
  /** Output channel of each weight. */
  channelOf (element: number): number
}

interface Normalisation {
  key: string
  statistics: BatchNormToAdd['statistics']
}

interface State {
  convolutions: Convolution[]
  normalisations: Normalisation[]
}

interface Explanation {
  convolution: Convolution
  normalisation: Normalisation
  epsilon: number
  error: number
}

/**
 * Edits `model` in place, by the state_dict in the safetensors file at `statePath`.
 * Throws COMPILE_REFERENCE_MISMATCH, what `parseSafetensors` throws, and the errno error of an unreadable file.
 */
export async function restoreBatchNorms (model: OnnxModel, statePath: string): Promise<void> {
  const { size } = await stat(statePath)
  if (size > STATE_BYTES_MAX) {
    throw compilerErrors.COMPILE_REFERENCE_MISMATCH('the reference state is too large', {
      expected: STATE_BYTES_MAX, received: size
    })
  }
  restoreFrom(model, await readFile(statePath))
}

function restoreFrom (model: OnnxModel, stateFile: Uint8Array): void {
  const state = readState(parseSafetensors(stateFile))
  const index = indexGraph(model.graph)
  const used = new Set(keysInGraph(index))
  const found = new Map<NodeProto, BatchNormToAdd>()
  const fresh = createNamer(model.graph)
  for (const node of model.graph.node) {
    const folded = foldedNode(index, node)
    if (folded === undefined) continue
    const best = explain(folded, state, used)
    if (best === undefined) continue
    used.add(best.normalisation.key)
    giveBack(model, fresh, node, best.convolution)
    const { key, statistics } = best.normalisation
    found.set(node, { key, statistics, epsilon: best.epsilon })
  }
  const missing = state.normalisations.filter(({ key }) => !used.has(key)).map(({ key }) => key)
  if (missing.length > 0 || state.normalisations.length === 0) {
    throw compilerErrors.COMPILE_REFERENCE_MISMATCH(
      'the reference state does not explain the weights of the model: it is of another network, or of another training',
      { expected: state.normalisations.length, received: found.size, missing: missing.slice(0, NAMED_MAX) }
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

function readState ({ tensors }: SafetensorsFile): State {
  const state: State = { convolutions: [], normalisations: [] }
  const values = (name: string): Float32Array | undefined => {
    const tensor = tensors.get(name)
    return tensor === undefined ? undefined : Float32Array.from(floatValues(name, tensor))
  }
  for (const [name, { shape }] of tensors) {
    if (name.endsWith('.running_mean')) {
      const key = name.slice(0, -'.running_mean'.length)
      const mean = values(name)!
      const variance = values(`${key}.running_var`)
      if (variance === undefined) continue
      const ones = new Float32Array(mean.length).fill(1)
      state.normalisations.push({
        key,
        statistics: {
          weight: values(`${key}.weight`) ?? ones,
          bias: values(`${key}.bias`) ?? new Float32Array(mean.length),
          running_mean: mean,
          running_var: variance
        }
      })
    } else if (name.endsWith('.weight') && shape.length >= 2) {
      const key = name.slice(0, -'.weight'.length)
      const bias = values(`${key}.bias`)
      state.convolutions.push({
        key, dims: [...shape], weights: values(name)!, ...(bias === undefined ? {} : { bias })
      })
    }
  }
  return state
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
  folded: FoldedNode, { convolutions, normalisations }: State, used: ReadonlySet<string>
): Explanation | undefined {
  const { channels } = folded
  const explanations: Explanation[] = []
  for (const convolution of convolutions) {
    if (convolution.dims.join() !== folded.dims.join()) continue
    for (const normalisation of normalisations) {
      if (used.has(normalisation.key) || normalisation.statistics.running_mean.length !== channels) continue
      for (const epsilon of EPSILONS) {
        const error = errorOf(folded, convolution, normalisation, epsilon)
        if (error <= RELATIVE_TOLERANCE) explanations.push({ convolution, normalisation, epsilon, error })
      }
    }
  }
  return explanations.sort(byErrorAndName)[0]
}

/** Where errors tell nothing, names do. */
function byErrorAndName (a: Explanation, b: Explanation): number {
  if (Math.abs(a.error - b.error) > ROUNDING) return a.error - b.error
  return nearness(b) - nearness(a)
}

/** Length of the common beginning, and a little for a common end (`conv2` and `bn2`). */
function nearness ({ convolution: { key: a }, normalisation: { key: b } }: Explanation): number {
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  return start + (a.at(-1) === b.at(-1) ? 0.5 : 0)
}

function largest (values: Float32Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12)
}

/** The largest deviation of folded weights and bias, relative to the largest of each; Infinity when it is hopeless. */
function errorOf (
  folded: FoldedNode, convolution: Convolution, { statistics }: Normalisation, epsilon: number
): number {
  const { weight, bias, running_mean: mean, running_var: variance } = statistics
  const scale = weight.map((gamma, channel) => gamma / Math.sqrt(variance[channel]! + epsilon))
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
    const expected = bias[channel]! + scale[channel]! * (own - mean[channel]!)
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
