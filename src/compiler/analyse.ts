/** What the plan is made from: the batch norms, where they can be folded, and how large what they work on is. */
import { elementCount } from '../base/dims.js'
import { indexGraph } from '../onnx/graph.js'
import { byteCount } from '../onnx/tensor.js'
import { findFoldableConv, type FoldableConv } from './find-foldable-conv.js'
import { fingerprintOf } from './fingerprint.js'
import { FLOAT_BYTES, type SiteOptions } from './plan.js'
import { readBatchNorms, type BatchNorms } from './read-batch-norms.js'
import type { OnnxModel } from '../onnx/model.js'
import type { Lessons } from './lessons.js'
import type { Probe } from './probe.js'

export interface Reading {
  batchNorms: BatchNorms
  fingerprint: string
  weightBytes: number
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
    convs: batchNorms.sites.map((site) => findFoldableConv(index, site))
  }
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
