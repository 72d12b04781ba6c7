/**
 * Pass: moves weights out of the graph into one file that every session maps.
 *
 * ONNX Runtime maps external data read-only, so all workers and all processes share one physical copy in the page
 * cache; weights inside the model file would be copied into every session. Each tensor starts on a page:
 *
 *   | tensor 0 | padding to 4096 | tensor 1 | padding | …
 *
 * Tensors below a page stay in the graph, where they cost less than a mapping.
 */
import { clearField, create } from '@bufbuild/protobuf'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesOf } from '../base/bytes.js'
import { StringStringEntryProtoSchema, TensorProtoSchema } from '../onnx/generated/onnx_pb.js'
import { serializeModel, type OnnxModel } from '../onnx/model.js'
import { GRAPH_FILE, WEIGHTS_FILE } from './artefact.js'

export const PAGE_BYTES = 4096
const EXTERNAL = 1

/** Edits `model` in place; returns the chunks of the weights file in order. */
export function externaliseWeights (model: OnnxModel, fileName: string): Uint8Array[] {
  const chunks: Uint8Array[] = []
  let position = 0
  for (const tensor of model.graph.initializer) {
    if (tensor.floatData.length > 0) {
      tensor.rawData = bytesOf(Float32Array.from(tensor.floatData))
      tensor.floatData = []
    }
    const { rawData } = tensor
    if (rawData.length < PAGE_BYTES || tensor.dataLocation === EXTERNAL) continue
    tensor.externalData = Object.entries({ location: fileName, offset: position, length: rawData.length })
      .map(([key, value]) => create(StringStringEntryProtoSchema, { key, value: String(value) }))
    tensor.dataLocation = EXTERNAL
    const padding = (PAGE_BYTES - rawData.length % PAGE_BYTES) % PAGE_BYTES
    chunks.push(rawData, new Uint8Array(padding))
    position += rawData.length + padding
    clearField(tensor, TensorProtoSchema.field.rawData)
  }
  return chunks
}

/** Writes a graph into `folder`, and its large weights beside it. Edits `model` in place. */
export async function writeSharing (model: OnnxModel, folder: string): Promise<void> {
  await writeFile(join(folder, WEIGHTS_FILE), externaliseWeights(model, WEIGHTS_FILE))
  await writeFile(join(folder, GRAPH_FILE), serializeModel(model))
}
