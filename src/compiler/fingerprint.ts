/**
 * The identity of a network as far as statistics are concerned: a bank belongs to a fingerprint and is refused by any
 * model with another one.
 *
 * It covers, in execution order, the weights and geometry of every Conv, ConvTranspose, Gemm and MatMul, and the key,
 * channels and epsilon of every batch norm. It leaves out the statistics, names and everything without weights, so the
 * same trunk exported under another bank, by another exporter version or with a softmax at its end keeps its
 * fingerprint.
 */
import { createHash, type Hash } from 'node:crypto'
import { constantOf } from '../onnx/constant.js'
import { topologicalOrder, type GraphIndex } from '../onnx/graph.js'
import { isOnnxDomain } from '../onnx/model.js'
import { attributeOf, intAttribute, intsAttribute } from '../onnx/node.js'
import { bytesOf } from '../base/bytes.js'
import type { NodeProto } from '../onnx/generated/onnx_pb.js'
import type { BatchNorms } from './read-batch-norms.js'

/** Written in front of everything, so that a change of this recipe changes every fingerprint. */
const RECIPE = 'bankswitch fingerprint 1'

const WEIGHTED = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul'])
const GEOMETRY = ['strides', 'dilations', 'pads', 'output_padding']

/** 64 hex digits. Throws ONNX_CYCLIC. */
export function fingerprintOf (index: GraphIndex, { sites }: BatchNorms): string {
  const hash = createHash('sha256').update(RECIPE)
  const siteOf = new Map(sites.map((site) => [site.node, site]))
  for (const node of topologicalOrder(index)) {
    const site = siteOf.get(node)
    if (site !== undefined) {
      const { key, channels, epsilon } = site.layer
      hash.update(JSON.stringify(['bn', key, channels, epsilon]))
    } else if (WEIGHTED.has(node.opType) && isOnnxDomain(node.domain)) {
      addWeighted(hash, index, node)
    }
  }
  return hash.digest('hex')
}

function addWeighted (hash: Hash, index: GraphIndex, node: NodeProto): void {
  const geometry = GEOMETRY.map((name) => {
    const values = intsAttribute(node, name) ?? []
    return values.every((value) => value === defaultOf(name)) ? [] : values
  })
  const flags = ['group', 'transA', 'transB'].map((name) => intAttribute(node, name, name === 'group' ? 1 : 0))
  hash.update(JSON.stringify([node.opType, flags, geometry, ...autoPad(node)]))
  for (const input of node.input.slice(0, 2)) {
    const constant = constantOf(index, input)
    if (constant === undefined) continue
    hash.update(JSON.stringify(constant.dims))
    hash.update(bytesOf(Float32Array.from(constant.values)))
  }
}

/** Nothing where padding is explicit, which is the default. */
function autoPad (node: NodeProto): string[] {
  const mode = Buffer.from(attributeOf(node, 'auto_pad')?.s ?? []).toString()
  return mode === '' || mode === 'NOTSET' ? [] : [mode]
}

function defaultOf (geometry: string): number {
  return geometry === 'strides' || geometry === 'dilations' ? 1 : 0
}
