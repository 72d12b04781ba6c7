/**
 * Pass: learns the shape of every batch-norm input by running the model once. That is exact where shape inference would
 * have to guess, and it shows early whether the model runs at all.
 *
 * Only float32 is served: a port holds float32, and statistics rounded to 16 bits would not be those of the bank.
 */
import { create } from '@bufbuild/protobuf'
import { ValueInfoProtoSchema, type NodeProto } from '../onnx/generated/onnx_pb.js'
import { describeNode } from '../onnx/graph.js'
import { serializeModel, type OnnxModel } from '../onnx/model.js'
import { openSession, type TensorType, type ValueDescription } from '../ort/session.js'
import { compilerErrors } from './errors.js'
import { resolveSampleShapes, sampleFeeds, type SampleShapes } from './sample-inputs.js'
import type { BatchNormSite } from './read-batch-norms.js'

export interface Probe {
  inputs: ValueDescription[]
  outputs: ValueDescription[]
  /** Sample shapes with every size known. */
  samples: SampleShapes[]
  /** Per site: dimensions of what is normalised, for one row of the first sample. */
  activations: Array<readonly number[]>
}

const PROBE_SEED = 1

/**
 * Edits nothing that lasts: `model` is left as it was.
 *
 * Throws ORT_LOAD_FAILED, ORT_RUN_FAILED, COMPILE_INPUT_SHAPE_UNKNOWN, and COMPILE_BATCH_NORM_TYPE for a batch norm of
 * anything but float32.
 */
export async function probeModel (
  model: OnnxModel, sites: readonly BatchNormSite[], given: readonly SampleShapes[]
): Promise<Probe> {
  const { graph } = model
  const declared = graph.output
  const exposed = new Set(declared.map(({ name }) => name))
  const defaults = new Set(graph.initializer.map(({ name }) => name))
  const fed = new Set(graph.input.map(({ name }) => name).filter((name) => !defaults.has(name)))
  const normalised = new Set(sites.map(({ input }) => input))
  const extra = [...normalised].filter((name) => !exposed.has(name) && !fed.has(name))
  graph.output = [...declared, ...extra.map((name) => create(ValueInfoProtoSchema, { name }))]
  const bytes = serializeModel(model)
  graph.output = declared
  const session = await openSession(bytes, { optimization: 'disabled' })
  try {
    const inputs = session.inputs.filter(({ name }) => !defaults.has(name))
    const samples = resolveSampleShapes(inputs, given)
    const feeds = sampleFeeds(inputs, samples[0]!, 1, PROBE_SEED)
    const results = await session.run(feeds)
    const outputs = session.outputs.filter(({ name }) => exposed.has(name))
    const activations = sites.map(({ input, node }) => {
      const { type, dims } = results[input] ?? feeds[input]!
      if (type !== 'float32') throw otherType(node, type)
      return dims
    })
    return { inputs, outputs, samples, activations }
  } finally {
    await session.release()
  }
}

function otherType (node: NodeProto, type: TensorType): Error {
  return compilerErrors.COMPILE_BATCH_NORM_TYPE(
    `batch norm ${describeNode(node)} normalises ${type}; export the model in float32`,
    { node: node.name, expected: 'float32', received: type }
  )
}
