/** Element types of values: as the model declares them, else as the runtime infers them. */
import { create } from '@bufbuild/protobuf'
import { BankswitchError } from '../../base/errors.js'
import { ValueInfoProtoSchema } from '../../onnx/generated/onnx_pb.js'
import { serializeModel, type OnnxModel } from '../../onnx/model.js'
import { DataType } from '../../onnx/tensor.js'
import { openSession, type TensorType } from '../../ort/session.js'

const DATA_TYPES: Readonly<Partial<Record<TensorType, number>>> = {
  float32: DataType.FLOAT,
  float64: DataType.DOUBLE,
  float16: DataType.FLOAT16,
  int64: DataType.INT64,
  int32: DataType.INT32,
  uint8: DataType.UINT8,
  int8: DataType.INT8,
  bool: DataType.BOOL
}

/**
 * ONNX numbers of the values' element types; values whose type cannot be told are missing. `model` is left as it was.
 * A model that the runtime cannot load has no inferred types: whoever runs it says why.
 */
export async function typesOf (model: OnnxModel, values: ReadonlySet<string>): Promise<Map<string, number>> {
  const { graph } = model
  const types = new Map<string, number>()
  for (const { name, type } of [...graph.input, ...graph.valueInfo, ...graph.output]) {
    const elemType = type?.tensorType?.elemType
    if (values.has(name) && elemType !== undefined) types.set(name, elemType)
  }
  const unknown = [...values].filter((name) => !types.has(name))
  if (unknown.length === 0) return types
  const declared = graph.output
  graph.output = [...declared, ...unknown.map((name) => create(ValueInfoProtoSchema, { name }))]
  const bytes = serializeModel(model)
  graph.output = declared
  try {
    const session = await openSession(bytes, { optimization: 'disabled' })
    for (const { name, type } of session.outputs) {
      const dataType = DATA_TYPES[type]
      if (dataType !== undefined && values.has(name)) types.set(name, dataType)
    }
    await session.release()
  } catch (error) {
    if (!(error instanceof BankswitchError)) throw error
  }
  return types
}
