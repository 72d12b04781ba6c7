/**
 * Part of the pass that restores batch norms: frozen ones, which exporters write as a Mul and an Add by constants per
 * channel (torchvision's FrozenBatchNorm2d computes x * scale + shift, and both are known when the export ends).
 *
 * A pair becomes the BatchNormalization of the state whose scale and shift (bank/fold.ts) it has. Cases:
 *
 *  1. the constants may stand on either side, as [C, 1, 1] or [1, C, 1, 1]; for sequences with one axis behind the
 *     channels, for volumes with three
 *  2. the product is read by something else too: left alone
 *  3. several batch norms explain a pair (fresh ones are all alike): the one whose name is nearest to that of the
 *     weights of the convolution before
 *  4. no batch norm of the state explains it: left alone, for it may be a layer's own scale
 */
import { constantOf } from '../../onnx/constant.js'
import { createNamer, indexGraph, removeUnused, type GraphIndex } from '../../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../../onnx/model.js'
import { makeNode } from '../../onnx/node.js'
import { addParameters } from './insert-batch-norms.js'
import {
  best, candidates, largest, RELATIVE_TOLERANCE,
  type Explanation, type Normalisation, type ReferenceState
} from './reference-state.js'
import type { NodeProto } from '../../onnx/generated/onnx_pb.js'

/** What a frozen batch norm has become. */
interface Pair {
  data: string
  mul: NodeProto
  add: NodeProto
  scale: Float64Array
  shift: Float64Array
}

/** Edits `model` in place; adds the keys of what it has given back to `used`, and takes none that is there. */
export function restoreFrozen ({ graph }: OnnxModel, state: ReferenceState, used: Set<string>): void {
  const index = indexGraph(graph)
  const readerOf = new Map(graph.node.flatMap((node) => node.input.map((value) => [value, node])))
  const found = new Map<NodeProto, Normalisation>()
  const replacements = new Map<NodeProto, NodeProto[]>()
  for (const mul of graph.node) {
    const pair = pairAt(index, readerOf, mul)
    if (pair === undefined) continue
    const weights = index.producerOf.get(pair.data)?.input[1] ?? ''
    const explanation = best(explanationsOf(pair, state, used), () => weights.replace(/\.weight$/, ''))
    if (explanation === undefined) continue
    const { normalisation, epsilon } = explanation
    used.add(normalisation.key)
    const output = pair.add.output[0]!
    const batchNorm = makeNode('BatchNormalization', '', [pair.data], [output], { epsilon: { float: epsilon } })
    found.set(batchNorm, normalisation)
    replacements.set(mul, [batchNorm]).set(pair.add, [])
  }
  graph.node = graph.node.flatMap((node) => replacements.get(node) ?? [node])
  // Frees the names of what the exporter made of the parameters, and may have left behind.
  removeUnused(graph)
  const fresh = createNamer(graph)
  for (const [node, { key, statistics }] of found) {
    node.name = fresh(`${key}/BatchNormalization`)
    node.input.push(...addParameters(graph, fresh, key, statistics))
  }
}

function pairAt (index: GraphIndex, readerOf: ReadonlyMap<string, NodeProto>, mul: NodeProto): Pair | undefined {
  const product = mul.output[0] ?? ''
  const times = perChannel(index, mul, 'Mul')
  const add = readerOf.get(product)
  if (times === undefined || add === undefined || index.readersOf.get(product) !== 1) return undefined
  const plus = perChannel(index, add, 'Add')
  if (plus === undefined || plus.data !== product || plus.values.length !== times.values.length) return undefined
  return { data: times.data, mul, add, scale: times.values, shift: plus.values }
}

/** What a Mul or Add by one constant for each channel works on, and the constants. */
function perChannel (
  index: GraphIndex, node: NodeProto, opType: string
): { data: string, values: Float64Array } | undefined {
  if (node.opType !== opType || !isOnnxDomain(node.domain)) return undefined
  for (const slot of [0, 1]) {
    const [data, constant] = [node.input[1 - slot] ?? '', constantOf(index, node.input[slot] ?? '')]
    if (constant === undefined || constantOf(index, data) !== undefined) continue
    const [, ...behind] = constant.dims.slice(constant.dims[0] === 1 ? 1 : 0)
    if (behind.length > 0 && behind.every((size) => size === 1)) return { data, values: constant.values }
  }
  return undefined
}

function explanationsOf (
  { scale, shift }: Pair, state: ReferenceState, used: ReadonlySet<string>
): Explanation[] {
  return candidates(state, scale.length, used).flatMap((candidate) => {
    const error = Math.max(deviation(scale, candidate.scale), deviation(shift, candidate.shift))
    return error <= RELATIVE_TOLERANCE ? [{ ...candidate, error }] : []
  })
}

/** The largest difference, relative to the largest value. */
function deviation (actual: Float64Array, expected: Float64Array): number {
  return largest(actual.map((value, at) => value - expected[at]!)) / Math.max(largest(actual), largest(expected))
}
