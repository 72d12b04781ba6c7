/**
 * Learns the shape of every batch-norm input by running the model once: exact where shape inference would have to
 * guess, and it shows early whether the model runs at all.
 */
import { create } from '@bufbuild/protobuf'
import { ValueInfoProtoSchema } from '../onnx/generated/onnx_pb.js'
import { serializeModel, type OnnxModel } from '../onnx/model.js'
import { openSession, type TensorType, type ValueDescription } from '../ort/session.js'
import { resolveSampleShapes, sampleFeeds, type SampleShapes } from './sample-inputs.js'
import type { BatchNormSite } from './read-batch-norms.js'

export interface Probe {
  inputs: ValueDescription[]
  outputs: ValueDescription[]
  /** Sample shapes with every size known. */
  samples: SampleShapes[]
  /** Per site: type and dimensions of what is normalised, for one row of the first sample. */
  activations: Array<{ type: TensorType, dims: readonly number[] }>
}

const PROBE_SEED = 1

/** Edits nothing that lasts: `model` is left as it was. Throws ORT_LOAD_FAILED or ORT_RUN_FAILED. */
export async function probeModel (
  model: OnnxModel, sites: readonly BatchNormSite[], given: readonly SampleShapes[]
): Promise<Probe> {
  const { graph } = model
  const declared = graph.output
  const exposed = new Set(declared.map(({ name }) => name))
  const wanted = sites.map(({ input }) => input)
  const graphInputs = new Set(graph.input.map(({ name }) => name))
  const extra = [...new Set(wanted)].filter((name) => !exposed.has(name) && !graphInputs.has(name))
  graph.output = [...declared, ...extra.map((name) => create(ValueInfoProtoSchema, { name }))]
  const bytes = serializeModel(model)
  graph.output = declared
  const defaults = new Set(graph.initializer.map(({ name }) => name))
  const session = await openSession(bytes, { optimization: 'disabled' })
  try {
    const inputs = session.inputs.filter(({ name }) => !defaults.has(name))
    const samples = resolveSampleShapes(inputs, given)
    const feeds = sampleFeeds(inputs, samples[0]!, 1, PROBE_SEED)
    const results = await session.run(feeds, [...new Set(wanted)].filter((name) => !graphInputs.has(name)))
    const outputs = session.outputs.filter(({ name }) => exposed.has(name))
    const activations = wanted.map((name) => {
      const { type, dims } = results[name] ?? feeds[name]!
      return { type, dims }
    })
    return { inputs, outputs, samples, activations }
  } finally {
    await session.release()
  }
}
