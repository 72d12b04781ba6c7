/**
 * Nodes whose inputs are all known, run by ONNX Runtime as they are written.
 *
 * The runtime tells the size of a result before it computes it; what has no known size, or too large a one, is not run.
 */
import { create } from '@bufbuild/protobuf'
import { bytesOf } from '../../base/bytes.js'
import { elementCount } from '../../base/dims.js'
import { BankswitchError } from '../../base/errors.js'
import {
  GraphProtoSchema, ModelProtoSchema, TensorProtoSchema, ValueInfoProtoSchema, type NodeProto, type TensorProto
} from '../../onnx/generated/onnx_pb.js'
import { serializeModel, type OnnxModel } from '../../onnx/model.js'
import { byteCount, DataType } from '../../onnx/tensor.js'
import { openSession, type PlainTensor, type Session, type ValueDescription } from '../../ort/session.js'

/** Element types that results may have, with the size of an element. */
const ELEMENTS: Readonly<Partial<Record<PlainTensor['type'], { dataType: number, bytes: number }>>> = {
  float32: { dataType: DataType.FLOAT, bytes: 4 },
  float64: { dataType: DataType.DOUBLE, bytes: 8 },
  float16: { dataType: DataType.FLOAT16, bytes: 2 },
  int64: { dataType: DataType.INT64, bytes: 8 },
  uint64: { dataType: DataType.UINT64, bytes: 8 },
  int32: { dataType: DataType.INT32, bytes: 4 },
  uint32: { dataType: DataType.UINT32, bytes: 4 },
  int16: { dataType: DataType.INT16, bytes: 2 },
  uint16: { dataType: DataType.UINT16, bytes: 2 },
  int8: { dataType: DataType.INT8, bytes: 1 },
  uint8: { dataType: DataType.UINT8, bytes: 1 },
  bool: { dataType: DataType.BOOL, bytes: 1 }
}

/** A result may always be as large as this: shapes, bounds, vectors of channels. */
const SMALL_BYTES = 2 ** 20

/** All results of one model together: rearranged weights, of which a network has no more than this. */
export const RESULT_BYTES_MAX = 2 ** 29

export interface Budget { bytesLeft: number }

/**
 * Results of the nodes by value name; nodes that the runtime does not know, fails at, or whose results are too large
 * are left out: above a MiB a result may be no larger than what it is made from. `known` holds every input of theirs.
 */
export async function runConstantNodes (
  model: OnnxModel, nodes: readonly NodeProto[], known: ReadonlyMap<string, TensorProto>, budget: Budget
): Promise<Map<string, TensorProto>> {
  if (nodes.length === 0) return new Map()
  let session: Session | undefined
  try {
    session = await openSession(constantModel(model, nodes, known), { optimization: 'disabled' })
    const sizes = new Map(session.outputs.map((output) => [output.name, bytesIn(output)]))
    const fitting = nodes.filter((node) => takeFrom(budget, node, sizes, known))
    if (fitting.length === nodes.length) return toTensors(await session.run({}))
    for (const node of fitting) budget.bytesLeft += resultBytes(node, sizes)
    return await runConstantNodes(model, fitting, known, budget)
  } catch (error) {
    if (!(error instanceof BankswitchError)) throw error
    if (nodes.length === 1) return new Map()
    const half = nodes.length >> 1
    return new Map([
      ...await runConstantNodes(model, nodes.slice(0, half), known, budget),
      ...await runConstantNodes(model, nodes.slice(half), known, budget)
    ])
  } finally {
    await session?.release()
  }
}

/** Nodes read nothing but initializers, and everything that they make is an output. */
function constantModel (
  { irVersion, opsetImport }: OnnxModel, nodes: readonly NodeProto[], known: ReadonlyMap<string, TensorProto>
): Uint8Array {
  const read = new Set(nodes.flatMap(({ input }) => input.filter((name) => name !== '')))
  const made = nodes.flatMap(({ output }) => output.filter((name) => name !== ''))
  return serializeModel(create(ModelProtoSchema, {
    irVersion,
    opsetImport,
    graph: create(GraphProtoSchema, {
      name: 'constants',
      node: [...nodes],
      initializer: [...read].map((name) => known.get(name)!),
      output: made.map((name) => create(ValueInfoProtoSchema, { name }))
    })
  }) as OnnxModel)
}

/** Infinity where the size or the type is not known, or not one that a tensor here has. */
function bytesIn ({ type, dims }: ValueDescription): number {
  const bytes = ELEMENTS[type]?.bytes
  return bytes === undefined || dims.includes(null) ? Infinity : bytes * elementCount(dims as readonly number[])
}

function resultBytes ({ output }: NodeProto, sizes: ReadonlyMap<string, number>): number {
  return output.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0)
}

function takeFrom (
  budget: Budget, node: NodeProto, sizes: ReadonlyMap<string, number>, known: ReadonlyMap<string, TensorProto>
): boolean {
  const given = [...new Set(node.input)].reduce((sum, name) => sum + (name === '' ? 0 : byteCount(known.get(name)!)), 0)
  const bytes = resultBytes(node, sizes)
  if (bytes > Math.max(SMALL_BYTES, given) || bytes > budget.bytesLeft) return false
  budget.bytesLeft -= bytes
  return true
}

function toTensors (results: Readonly<Record<string, PlainTensor>>): Map<string, TensorProto> {
  return new Map(Object.entries(results).map(([name, { type, dims, data }]) => [name, create(TensorProtoSchema, {
    name, dims: dims.map(BigInt), dataType: ELEMENTS[type]!.dataType, rawData: bytesOf(data as Float32Array)
  })]))
}
