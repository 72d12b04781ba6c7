/**
 * Every message of a model, wherever it stands: what must hold for all tensors is asked of these, so that none is
 * forgotten in an attribute, a function, a nested graph or a field that comes to the schema later.
 */
import { onnxErrors } from './errors.js'
import type { OnnxModel } from './model.js'
import type { TensorProto } from './generated/onnx_pb.js'
import type { Message } from '@bufbuild/protobuf'

/** Fields that onnx.proto leaves out, of messages that hold tensors: of IR version 13, and none of them holds one. */
const LEFT_OUT: Readonly<Record<string, readonly number[]>> = {
  'onnx.ModelProto': [26],
  'onnx.TrainingInfoProto': [],
  'onnx.GraphProto': [14],
  'onnx.NodeProto': [10],
  'onnx.AttributeProto': [14, 15],
  'onnx.FunctionProto': [14],
  'onnx.SparseTensorProto': [],
  'onnx.TensorProto': [3, 16]
}

/** Of the wire: bytes, texts and messages. */
const LENGTH_DELIMITED = 2

/** The model and all messages within, in no particular order; as deep as they may be nested. */
export function * messagesOf (model: OnnxModel): Generator<Message> {
  const waiting: Message[] = [model]
  for (let message = waiting.pop(); message !== undefined; message = waiting.pop()) {
    yield message
    for (const value of Object.values(message) as unknown[]) {
      // Lists are of one kind, and those of numbers are long.
      const some = Array.isArray(value) ? value as unknown[] : [value]
      if (isMessage(some[0])) for (const one of some) waiting.push(one as Message)
    }
  }
}

/** Dense tensors, and the values and indices of sparse ones. */
export function * tensorsOf (model: OnnxModel): Generator<TensorProto> {
  for (const message of messagesOf(model)) {
    if (message.$typeName === 'onnx.TensorProto') yield message as TensorProto
  }
}

/**
 * Throws ONNX_UNSUPPORTED for a field that is not known and could hold a tensor: the runtime may know it, and what the
 * tensor asks for could not be looked at.
 */
export function requireKnownFields (model: OnnxModel): void {
  for (const { $typeName, $unknown = [] } of messagesOf(model)) {
    const leftOut = LEFT_OUT[$typeName]
    const mayHoldOne = (wireType: number) => leftOut !== undefined && wireType === LENGTH_DELIMITED
    const strange = $unknown.find(({ no, wireType }) => mayHoldOne(wireType) && !leftOut!.includes(no))
    if (strange === undefined) continue
    throw onnxErrors.ONNX_UNSUPPORTED(`the model has a field ${strange.no} in ${$typeName}, which is not known`, {
      expected: 'fields of ONNX up to IR version 13', received: `${$typeName}, field ${strange.no}`
    })
  }
}

function isMessage (value: unknown): value is Message {
  return typeof value === 'object' && value !== null && '$typeName' in value
}
