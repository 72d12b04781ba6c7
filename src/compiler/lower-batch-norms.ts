/**
 * Pass: replaces every BatchNormalization by its planned, switchable form.
 *
 * Ports of `fold` and `affine` become initializers full of sentinels, for the runtime's optimiser to place; ports of
 * `generic` become graph inputs at once, because the optimiser must not fuse them into anything. Cases:
 *
 *  1. fold: the Conv takes the port weight and bias and makes the batch norm's output; the batch norm goes
 *  2. fold of a Conv with a constant bias: that bias joins the port's shift when a bank is packed
 *  3. affine: depthwise Conv with kernel 1x1
 *  4. generic: BatchNormalization with mean 0, variance 1 and epsilon 0, so that gamma and beta are scale and shift
 *
 * Initializers that are graph inputs too (overridable defaults) become plain constants: the artefact is compiled for
 * them, and the optimiser needs to know them.
 */
import { createNamer, removeUnused } from '../onnx/graph.js'
import { makeNode, makeValueInfo } from '../onnx/node.js'
import { DataType, float32Tensor } from '../onnx/tensor.js'
import type { PortRole } from '../bank/port.js'
import { makeSentinel, type SentinelRange } from './sentinels.js'
import type { OnnxModel } from '../onnx/model.js'
import type { NodeProto } from '../onnx/generated/onnx_pb.js'
import type { FoldableConv } from './find-foldable-conv.js'
import type { SiteKind } from './plan.js'
import type { BatchNormSite } from './read-batch-norms.js'

/** A port before the optimiser has placed it: elements in the order of the original operator. */
export interface PortSource {
  site: number
  layerKey: string
  role: PortRole
  /** Dimensions of the tensor in the lowered graph. */
  dims: number[]
  /** Channel of each element. */
  channel: Uint16Array
  weights?: Float32Array
  bias?: Float32Array
  /** Set for a port that the optimiser places. */
  range?: SentinelRange
  /** Set for a port that is a graph input already. */
  input?: string
}

export interface SiteToLower {
  site: BatchNormSite
  kind: SiteKind
  conv?: FoldableConv
}

export const PORT_PREFIX = 'bankswitch.port.'

const VARIANCE_ONE = 1

/** Edits `model`, whose nodes the sites must refer to, in place. Returns every port, in site order. */
export function lowerBatchNorms (model: OnnxModel, sites: readonly SiteToLower[]): PortSource[] {
  const { graph } = model
  const fresh = createNamer(graph)
  const defaults = new Set(graph.initializer.map(({ name }) => name))
  graph.input = graph.input.filter(({ name }) => !defaults.has(name))
  const ports: PortSource[] = []
  let elements = 0
  const addSentinel = (port: Omit<PortSource, 'range' | 'input'>): string => {
    const range = { first: elements, length: port.channel.length }
    elements += range.length
    const name = fresh(`${PORT_PREFIX}${ports.length}`)
    graph.initializer.push(float32Tensor(name, port.dims, makeSentinel(range)))
    ports.push({ ...port, range })
    return name
  }
  const addInput = (port: Omit<PortSource, 'range' | 'input'>): string => {
    const input = fresh(`${PORT_PREFIX}${ports.length}`)
    graph.input.push(makeValueInfo(input, DataType.FLOAT, port.dims))
    ports.push({ ...port, input })
    return input
  }
  const replacement = new Map<NodeProto, NodeProto | undefined>()
  for (const [at, { site, kind, conv }] of sites.entries()) {
    const { channels, key: layerKey } = site.layer
    const common = { site: at, layerKey }
    const vector = { ...common, dims: [channels], channel: perChannel(channels, 1) }
    if (kind === 'fold') {
      const { node, dims, weights, bias } = conv!
      const weight = addSentinel({
        ...common, role: 'weight', dims, channel: perChannel(channels, weights.length / channels), weights
      })
      const shift = addSentinel({ ...vector, role: 'shift', ...(bias === undefined ? {} : { bias }) })
      node.input = [node.input[0]!, weight, shift]
      node.output = [site.output]
      replacement.set(site.node, undefined)
    } else if (kind === 'affine') {
      const scale = addSentinel({ ...vector, role: 'scale', dims: [channels, 1, 1, 1] })
      const shift = addSentinel({ ...vector, role: 'shift' })
      replacement.set(site.node, makeNode('Conv', fresh(`${site.node.name}/affine`), [site.input, scale, shift], [site.output], {
        group: { int: channels }, kernel_shape: { ints: [1, 1] }
      }))
    } else {
      const scale = addInput({ ...vector, role: 'scale' })
      const shift = addInput({ ...vector, role: 'shift' })
      replacement.set(site.node, genericNode(model, site, fresh, scale, shift))
    }
  }
  graph.node = graph.node.flatMap((node) => replacement.has(node) ? replacement.get(node) ?? [] : node)
  removeUnused(graph)
  return ports
}

function genericNode (
  model: OnnxModel, site: BatchNormSite, fresh: (wish: string) => string, scale: string, shift: string
): NodeProto {
  const { channels } = site.layer
  const zero = fresh(`bankswitch.zero.${channels}`)
  const one = fresh(`bankswitch.one.${channels}`)
  model.graph.initializer.push(
    float32Tensor(zero, [channels], new Float32Array(channels)),
    float32Tensor(one, [channels], new Float32Array(channels).fill(VARIANCE_ONE))
  )
  return makeNode(
    'BatchNormalization', fresh(`${site.node.name}/generic`), [site.input, scale, shift, zero, one], [site.output],
    { epsilon: { float: 0 } }
  )
}

/** Channel of each element when the channel is the outermost axis, `inner` elements each. */
function perChannel (channels: number, inner: number): Uint16Array {
  const channel = new Uint16Array(channels * inner)
  for (let number = 0; number < channels; number++) channel.fill(number, number * inner, (number + 1) * inner)
  return channel
}
