/** Models, domains and versions in the words of the Open Inference Protocol: metadata, configuration, statistics. */
import { sumOfTraffic, type Counted, type Traffic } from '../../observability/traffic.js'
import { datatypeName } from './datatypes.js'
import type { ValueDescription } from '../../ort/session.js'
import type { ModelState, ReadyModel } from '../../serving/model-states.js'

export const EXTENSIONS = [
  'binary_tensor_data', 'classification', 'model_configuration', 'model_repository', 'parameters', 'statistics',
  'domain_bank'
]

/** What the protocol calls the framework: the graph is ONNX, version 1 of the format. */
const PLATFORM = 'onnx_onnxv1'

/** The model's tensors without the bank's, which are not the client's business. */
export function describeMetadata (name: string, versions: readonly number[], { artefact }: ReadyModel) {
  return {
    name,
    versions: versions.map(String),
    platform: PLATFORM,
    inputs: artefact.inputs.map(describeTensor),
    outputs: artefact.outputs.map(describeTensor)
  }
}

function describeTensor ({ name, type, dims }: ValueDescription) {
  return { name, datatype: datatypeName(type), shape: dims.map((size) => size ?? -1) }
}

/** `max_batch_size` is 0 where axis 0 is no batch; else dims come without it, as Triton's clients expect. */
export function describeConfiguration (name: string, { artefact }: ReadyModel, rowsMax: number) {
  const isBatched = artefact.inputs.every(({ dims }) => dims[0] === null)
  const describe = ({ name: tensor, type, dims }: ValueDescription) => ({
    name: tensor,
    data_type: `TYPE_${datatypeName(type) === 'BYTES' ? 'STRING' : datatypeName(type)}`,
    dims: dims.slice(isBatched ? 1 : 0).map((size) => size ?? -1)
  })
  return {
    name,
    platform: PLATFORM,
    backend: 'onnxruntime',
    max_batch_size: isBatched ? rowsMax : 0,
    input: artefact.inputs.map(describe),
    output: artefact.outputs.map(describe)
  }
}

/** One entry of `model_stats`; a version may stand for several, whose numbers are added. */
export function describeStatistics (name: string, version: string, all: readonly Traffic[]) {
  const sum = sumOfTraffic(all)
  return {
    name,
    version,
    last_inference: sum.lastInference,
    inference_count: sum.rows,
    execution_count: Math.round(sum.runs),
    inference_stats: {
      success: inNanoseconds(sum.success),
      fail: inNanoseconds(sum.fail),
      queue: inNanoseconds(sum.queue),
      compute_input: inNanoseconds(sum.input),
      compute_infer: inNanoseconds(sum.infer),
      compute_output: inNanoseconds(sum.output),
      cache_hit: { count: 0, ns: 0 },
      cache_miss: { count: 0, ns: 0 }
    },
    batch_stats: [...sum.byRunRows].toSorted(([a], [b]) => a - b).map(([rows, counted]) => ({
      batch_size: rows,
      compute_input: { count: Math.round(counted.count), ns: 0 },
      compute_infer: inNanoseconds(counted),
      compute_output: { count: Math.round(counted.count), ns: 0 }
    })),
    memory_usage: []
  }
}

function inNanoseconds ({ count, ms }: Counted): { count: number, ns: number } {
  return { count: Math.round(count), ns: Math.round(ms * 1e6) }
}

/** The state of a model as the repository extension names it. */
export function repositoryState (model: ModelState): { state: string, reason: string } {
  if (model.state === 'ready') return { state: 'READY', reason: '' }
  if (model.state === 'loading') return { state: 'LOADING', reason: '' }
  return { state: 'UNAVAILABLE', reason: 'it could not be prepared; the log says why' }
}
