/** What the plan is made from: the batch norms, where they can be folded, and how large what they work on is. */
import { elementCount } from '../base/dims.js'
import { indexGraph } from '../onnx/graph.js'
import { parseModel } from '../onnx/model.js'
import { byteCount } from '../onnx/tensor.js'
import { findFoldableConv, type FoldableConv } from './find-foldable-conv.js'
import { fingerprintOf } from './fingerprint.js'
import { FLOAT_BYTES, type SiteKind, type SiteOptions } from './plan.js'
import { probeModel, type Probe } from './probe.js'
import { readBatchNorms, type BatchNorms } from './read-batch-norms.js'
import type { SampleShapes } from './sample-inputs.js'

export interface Analysis {
  batchNorms: BatchNorms
  fingerprint: string
  weightBytes: number
  convs: Array<FoldableConv | undefined>
  probe: Probe
}

/** What the rounds of a compilation so far have taught. It only grows, so the rounds come to an end. */
export interface Lessons {
  /** Sites that can only be lowered generically. */
  generic: Set<number>
  /** The most that each site was seen to cost, by kind. */
  measured: Array<Partial<Record<SiteKind, number>>>
  /** The most that was seen to lie between the slices of a bank. */
  gapBytes: number
}

/**
 * Reads and probes a model. `onRead` is told when reading is done and the probe begins.
 * Throws the ONNX_* and COMPILE_* errors of both.
 */
export async function analyse (
  bytes: Uint8Array, samples: readonly SampleShapes[], onRead: () => void = () => {}
): Promise<Analysis> {
  const model = parseModel(bytes)
  const index = indexGraph(model.graph)
  const batchNorms = readBatchNorms(index, model.functions)
  const fingerprint = fingerprintOf(index, batchNorms)
  const weightBytes = model.graph.initializer.reduce((sum, tensor) => sum + byteCount(tensor), 0)
  const convs = batchNorms.sites.map((site) => findFoldableConv(index, site))
  onRead()
  const probe = await probeModel(model, batchNorms.sites, samples)
  return { batchNorms, fingerprint, weightBytes, convs, probe }
}

/** What each site can be lowered as and at which cost, for planSites. */
export function siteOptions (
  { batchNorms, convs, probe }: Analysis, { generic, measured }: Lessons
): SiteOptions[] {
  return batchNorms.sites.map(({ layer }, at) => {
    const dims = probe.activations[at]!
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

export function noLessons ({ batchNorms }: Analysis): Lessons {
  return { generic: new Set(), measured: batchNorms.sites.map(() => ({})), gapBytes: 0 }
}
