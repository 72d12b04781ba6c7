/**
 * Bytes <-> ModelProto.
 *
 * Unknown fields survive the round trip, so a model written by a newer exporter loses nothing here. Strings and
 * tensors of a parsed model are views of the input bytes: do not change those while the model lives.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { ModelProtoSchema, type GraphProto, type ModelProto } from './generated/onnx_pb.js'
import { onnxErrors } from './errors.js'

export type OnnxModel = ModelProto & { graph: GraphProto }

/** A protobuf message cannot be larger; weights beyond it live in external data files. */
export const MODEL_BYTES_MAX = 2 ** 31 - 1

/** Far above any real graph (the largest vision models have some 10,000), and far below what would exhaust memory. */
export const NODES_MAX = 200_000

/** The default operator set, under both of its names. */
export function isOnnxDomain (opDomain: string): boolean {
  return opDomain === '' || opDomain === 'ai.onnx'
}

/**
 * Tells from the first bytes whether a file can be an ONNX model at all, before the whole is read: a ModelProto opens
 * with one of its own field tags, in practice `ir_version` (tag 0x08).
 */
export function looksLikeModel (head: Uint8Array): boolean {
  const tag = head[0]
  if (tag === undefined) return false
  const field = tag >> 3
  const wireType = tag & 7
  const isScalar = field === 1 || field === 5
  return field >= 1 && field <= 15 && wireType === (isScalar ? 0 : 2)
}

/**
 * Parses a model.
 *
 * Throws ONNX_NOT_A_MODEL (no protobuf, truncated, no graph, no operator set) or ONNX_TOO_LARGE (over 2 GiB, or over
 * 200,000 nodes).
 */
export function parseModel (bytes: Uint8Array): OnnxModel {
  if (bytes.length > MODEL_BYTES_MAX) {
    throw onnxErrors.ONNX_TOO_LARGE('the model file is too large', {
      expected: MODEL_BYTES_MAX, received: bytes.length
    })
  }
  if (!looksLikeModel(bytes)) throw onnxErrors.ONNX_NOT_A_MODEL('this is no ONNX model: it opens with no field of one')
  let model: ModelProto
  try {
    model = fromBinary(ModelProtoSchema, bytes)
  } catch (cause) {
    const why = (cause as Error).message
    throw onnxErrors.ONNX_NOT_A_MODEL(`this is no ONNX model, or a truncated one: ${why}`, {}, cause)
  }
  const { graph } = model
  if (graph === undefined) throw onnxErrors.ONNX_NOT_A_MODEL('this is no ONNX model: it has no graph')
  if (graph.node.length === 0) throw onnxErrors.ONNX_NOT_A_MODEL('the graph of this ONNX model has no nodes')
  if (graph.node.length > NODES_MAX) {
    throw onnxErrors.ONNX_TOO_LARGE('the graph has too many nodes', {
      expected: NODES_MAX, received: graph.node.length
    })
  }
  if (!model.opsetImport.some(({ domain }) => isOnnxDomain(domain))) {
    throw onnxErrors.ONNX_NOT_A_MODEL('this ONNX model imports no version of the standard operator set')
  }
  return model as OnnxModel
}

/** The model as bytes. */
export function serializeModel (model: OnnxModel): Uint8Array {
  return toBinary(ModelProtoSchema, model)
}

/** Version of the standard operator set that the model imports. */
export function opsetOf (model: OnnxModel): number {
  return Number(model.opsetImport.find(({ domain }) => isOnnxDomain(domain))?.version ?? 0n)
}
