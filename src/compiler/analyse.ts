/** What the plan is made from: the batch norms, where they can be folded, and how large what they work on is. */
import { markOf } from '../bank/convolution-weights.js'
import { bytesOf } from '../base/bytes.js'
import { elementCount } from '../base/dims.js'
import { indexGraph, type GraphIndex } from '../onnx/graph.js'
import { byteCount, DataType, dimsOf, isExternal, readFloat32 } from '../onnx/tensor.js'
import { findFoldableConv, type FoldableConv } from './find-foldable-conv.js'
import { fingerprintOf } from './fingerprint.js'
import { FLOAT_BYTES, type SiteOptions } from './plan.js'
import { readBatchNorms, type BatchNorms } from './read-batch-norms.js'
import type { OnnxModel } from '../onnx/model.js'
import type { Lessons } from './lessons.js'
import type { Probe } from './probe.js'

const CONVOLUTIONS = ['Conv', 'ConvTranspose']

export interface Reading {
  batchNorms: BatchNorms
  fingerprint: string
  weightBytes: number
  /** Marks of the weights of all convolutions (see convolution-weights.ts). */
  convolutions: string[]
  /** By site. */
  convs: Array<FoldableConv | undefined>
}

/** Throws the ONNX_* and COMPILE_* errors of reading. */
export function readModel (model: OnnxModel): Reading {
  const index = indexGraph(model.graph)
  const batchNorms = readBatchNorms(index, model.functions)
  return {
    batchNorms,
    fingerprint: fingerprintOf(index, batchNorms),
    weightBytes: model.graph.initializer.reduce((sum, tensor) => sum + byteCount(tensor), 0),
    convolutions: marksOf(index),
    convs: batchNorms.sites.map((site) => findFoldableConv(index, site))
  }
}

/** Of those in float32: a state_dict would hold the others with more digits. */
function marksOf (index: GraphIndex): string[] {
  const marks = new Set<string>()
  for (const { opType, input: [, weights = ''] } of index.graph.node) {
    const tensor = index.initializerOf.get(weights)
    if (!CONVOLUTIONS.includes(opType) || tensor?.dataType !== DataType.FLOAT || isExternal(tensor)) continue
    marks.add(markOf({ shape: dimsOf(tensor), bytes: bytesOf(readFloat32(tensor)) }))
  }
  return [...marks]
}

/** What each site can be lowered as and at which cost, for planSites. */
export function siteOptions (
  { batchNorms, convs }: Reading, { activations }: Probe, { generic, measured }: Lessons
): SiteOptions[] {
  return batchNorms.sites.map(({ layer }, at) => {
    const dims = activations[at]!
    const conv = generic.has(at) ? undefined : convs[at]
    return {
      channels: layer.channels,
      isAffinePossible: dims.length === 4 && !generic.has(at),
      ...(conv === undefined ? {} : { foldElements: conv.weights.length }),
      activationBytes: elementCount(dims) * FLOAT_BYTES,
      measuredBytes: measured[at]!
    }
  })
}
