/** Answers of the Open Inference Protocol v2, for the document. */
import { Type } from '#typebox'

const Datatype = Type.String({ description: 'BOOL, UINT8 … FP64, BYTES' })
const Shape = Type.Array(Type.Integer())

export const ServerMetadataSchema = Type.Object({
  name: Type.String(), version: Type.String(), extensions: Type.Array(Type.String())
}, { title: 'ServerMetadata' })

const TensorMetadata = Type.Object({ name: Type.String(), datatype: Datatype, shape: Shape })

export const MetadataSchema = Type.Object({
  name: Type.String(),
  versions: Type.Array(Type.String()),
  platform: Type.String(),
  inputs: Type.Array(TensorMetadata),
  outputs: Type.Array(TensorMetadata)
}, { title: 'ModelMetadata' })

const TensorConfiguration = Type.Object({ name: Type.String(), data_type: Type.String(), dims: Shape })

export const ModelConfigurationSchema = Type.Object({
  name: Type.String(),
  platform: Type.String(),
  backend: Type.String(),
  max_batch_size: Type.Integer(),
  input: Type.Array(TensorConfiguration),
  output: Type.Array(TensorConfiguration)
}, { title: 'ModelConfiguration' })

const Counted = Type.Object({ count: Type.Integer(), ns: Type.Integer() })

export const StatisticsSchema = Type.Object({
  model_stats: Type.Array(Type.Object({
    name: Type.String(),
    version: Type.String(),
    last_inference: Type.Integer({ description: 'Milliseconds since 1970' }),
    inference_count: Type.Integer({ description: 'Rows' }),
    execution_count: Type.Integer({ description: 'Runs, which requests may share' }),
    inference_stats: Type.Record(Type.String(), Counted),
    batch_stats: Type.Array(Type.Object({
      batch_size: Type.Integer(), compute_input: Counted, compute_infer: Counted, compute_output: Counted
    })),
    memory_usage: Type.Array(Type.Unknown())
  }))
}, { title: 'ModelStatistics' })

export const RepositoryIndexSchema = Type.Array(Type.Object({
  name: Type.String(), version: Type.Optional(Type.String()), state: Type.String(), reason: Type.String()
}), { title: 'RepositoryIndex' })

export const RepositoryBody = Type.Object({
  ready: Type.Optional(Type.Boolean({ description: 'Only what is ready' })),
  parameters: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
}, { title: 'RepositoryRequest' })

export const InferAnswer = Type.Object({
  model_name: Type.String(),
  model_version: Type.Optional(Type.String()),
  id: Type.Optional(Type.String()),
  parameters: Type.Record(Type.String(), Type.Unknown()),
  outputs: Type.Array(Type.Object({
    name: Type.String(),
    datatype: Datatype,
    shape: Shape,
    parameters: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    data: Type.Optional(Type.Array(Type.Unknown()))
  }))
}, { title: 'InferAnswer' })
