/**
 * TensorProto <-> typed arrays.
 *
 * Values may stand in `raw_data` or in a typed field, floats of 16 bits as patterns; both are read here and only
 * `raw_data` is written. All integers are little-endian on the wire and on every machine we run on.
 */
import { create } from '@bufbuild/protobuf'
import { alignedView, bytesOf, type TypedArrayOf } from '../base/bytes.js'
import { elementCount } from '../base/dims.js'
import { bfloat16ToNumber, float16ToNumber } from '../base/float16.js'
import { onnxErrors } from './errors.js'
import { TensorProtoSchema, type TensorProto } from './generated/onnx_pb.js'

export const DataType = {
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
  BFLOAT16: 16
} as const

const EXTERNAL = 1

const FLOAT_TYPES: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE, DataType.BFLOAT16]
const INTEGER_TYPES: readonly number[] = [
  DataType.INT64, DataType.INT32, DataType.INT16, DataType.INT8, DataType.UINT32, DataType.UINT16, DataType.UINT8,
  DataType.BOOL, DataType.UINT64
]

/** True for tensors whose bytes stand in another file. */
export function isExternal (tensor: TensorProto): boolean {
  return tensor.dataLocation === EXTERNAL
}

export function isFloatTensor (tensor: TensorProto): boolean {
  return FLOAT_TYPES.includes(tensor.dataType)
}

export function isIntegerTensor (tensor: TensorProto): boolean {
  return INTEGER_TYPES.includes(tensor.dataType)
}

/** Bytes of the values, as they stand in the file. */
export function byteCount ({ rawData, floatData, doubleData, int32Data, int64Data, uint64Data }: TensorProto): number {
  return rawData.length + 4 * (floatData.length + int32Data.length) +
    8 * (doubleData.length + int64Data.length + uint64Data.length)
}

/** Dimensions as numbers. Throws ONNX_MALFORMED for negative ones or an element count beyond 2^53. */
export function dimsOf (tensor: TensorProto): number[] {
  const dims = tensor.dims.map(Number)
  if (dims.some((dim) => dim < 0) || !Number.isSafeInteger(elementCount(dims))) {
    throw onnxErrors.ONNX_MALFORMED(`tensor "${tensor.name}" has impossible dimensions`, { received: dims })
  }
  return dims
}

/**
 * The values of a float tensor (16, 32 or 64 bits), widened or narrowed to float32. A float32 tensor that stands
 * aligned in the file is returned as a view.
 */
export function readFloat32 (tensor: TensorProto): Float32Array {
  const { dataType, rawData } = tensor
  if (dataType === DataType.FLOAT) {
    const isRaw = rawData.length > 0
    return checked(tensor, isRaw ? rawView(tensor, Float32Array) : Float32Array.from(tensor.floatData))
  }
  return Float32Array.from(readFloat64(tensor))
}

/** The values of a float tensor (16, 32 or 64 bits) as float64; nothing is lost. */
export function readFloat64 (tensor: TensorProto): Float64Array {
  const { dataType, rawData } = tensor
  const isRaw = rawData.length > 0
  switch (dataType) {
    case DataType.FLOAT:
      return Float64Array.from(readFloat32(tensor))
    case DataType.DOUBLE:
      return checked(tensor, isRaw ? rawView(tensor, Float64Array) : Float64Array.from(tensor.doubleData))
    case DataType.FLOAT16:
    case DataType.BFLOAT16: {
      const widen = dataType === DataType.FLOAT16 ? float16ToNumber : bfloat16ToNumber
      const patterns = isRaw ? rawView(tensor, Uint16Array) : Uint16Array.from(tensor.int32Data)
      return checked(tensor, Float64Array.from(patterns, widen))
    }
    default:
      throw onnxErrors.ONNX_MALFORMED(`tensor "${tensor.name}" is not of a float type`, { received: dataType })
  }
}

/** The values of an integer or boolean tensor as numbers; int64 beyond 2^53 is refused with ONNX_UNSUPPORTED. */
export function readIntegers (tensor: TensorProto): number[] {
  const values = checked(tensor, rawIntegers(tensor))
  const numbers = Array.from(values as ArrayLike<number | bigint>, Number)
  if (!numbers.every(Number.isSafeInteger)) {
    throw onnxErrors.ONNX_UNSUPPORTED(`tensor "${tensor.name}" has integers beyond 2^53`)
  }
  return numbers
}

/** Throws ONNX_MALFORMED when the last element is not whole. */
function rawView<T> ({ name, rawData }: TensorProto, ArrayType: TypedArrayOf<T>): T {
  const { BYTES_PER_ELEMENT: width } = ArrayType
  if (rawData.length % width === 0) return alignedView(rawData, ArrayType)
  throw onnxErrors.ONNX_MALFORMED(`tensor "${name}" has a part of an element at its end`, {
    expected: `a multiple of ${width} bytes`, received: rawData.length
  })
}

function rawIntegers (tensor: TensorProto): ArrayLike<number | bigint> {
  const { dataType, rawData, int32Data } = tensor
  const isRaw = rawData.length > 0
  switch (dataType) {
    case DataType.INT64: return isRaw ? rawView(tensor, BigInt64Array) : tensor.int64Data
    case DataType.UINT64: return isRaw ? rawView(tensor, BigUint64Array) : tensor.uint64Data
    case DataType.UINT32: return isRaw ? rawView(tensor, Uint32Array) : tensor.uint64Data
    case DataType.INT32: return isRaw ? rawView(tensor, Int32Array) : int32Data
    case DataType.INT16: return isRaw ? rawView(tensor, Int16Array) : int32Data
    case DataType.UINT16: return isRaw ? rawView(tensor, Uint16Array) : int32Data
    case DataType.INT8: return isRaw ? rawView(tensor, Int8Array) : int32Data
    case DataType.UINT8:
    case DataType.BOOL: return isRaw ? rawData : int32Data
    default:
      throw onnxErrors.ONNX_MALFORMED(`tensor "${tensor.name}" is not of an integer type`, { received: dataType })
  }
}

/** A float32 tensor over the given values (not copied). */
export function float32Tensor (name: string, dims: readonly number[], values: Float32Array): TensorProto {
  return create(TensorProtoSchema, {
    name, dims: dims.map(BigInt), dataType: DataType.FLOAT, rawData: bytesOf(values)
  })
}

/** An int64 tensor. */
export function int64Tensor (
  name: string, dims: readonly number[], values: ReadonlyArray<number | bigint>
): TensorProto {
  const data = BigInt64Array.from(values, BigInt)
  return create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType: DataType.INT64, rawData: bytesOf(data) })
}

function checked<T extends ArrayLike<unknown>> (tensor: TensorProto, values: T): T {
  if (isExternal(tensor)) {
    throw onnxErrors.ONNX_UNSUPPORTED(`tensor "${tensor.name}" lies in an external file that was not loaded`)
  }
  const expected = elementCount(dimsOf(tensor))
  if (values.length !== expected) {
    throw onnxErrors.ONNX_MALFORMED(
      `tensor "${tensor.name}" holds another number of values than its dimensions say`,
      { expected, received: values.length }
    )
  }
  return values
}
