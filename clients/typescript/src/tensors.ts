/**
 * Tensors between typed arrays and the wire (Open Inference Protocol v2, binary tensor extension). Numbers are
 * little-endian there, as in every engine that runs this.
 */

/** Values by datatype, in row-major order: FP16 and BF16 are given as their bits, BOOL as 0 and 1. */
export interface Values {
  BOOL: Uint8Array
  UINT8: Uint8Array
  UINT16: Uint16Array
  UINT32: Uint32Array
  UINT64: BigUint64Array
  INT8: Int8Array
  INT16: Int16Array
  INT32: Int32Array
  INT64: BigInt64Array
  FP16: Uint16Array
  BF16: Uint16Array
  FP32: Float32Array
  FP64: Float64Array
  BYTES: string[]
}

export type Datatype = keyof Values

export interface InputTensor {
  data: Values[Datatype] | Uint8ClampedArray | readonly string[]
  shape: readonly number[]
  /** That of the array if not given; needed for BOOL, FP16 and BF16. */
  datatype?: Datatype | undefined
}

/** An output: `tensor.datatype === 'FP32'` tells the type of its `data`. */
export type Tensor = { [D in Datatype]: { datatype: D, shape: number[], data: Values[D] } }[Datatype]

type Numbers = Exclude<Values[Datatype], string[]>

/** What the constructors of typed arrays have in common. */
type ArrayType = (new (buffer: ArrayBuffer) => Numbers) & { readonly BYTES_PER_ELEMENT: number }

/** Of an array's type the first is its datatype where none is given. */
const ARRAY_TYPES: Readonly<Record<Exclude<Datatype, 'BYTES'>, ArrayType>> = {
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP32: Float32Array,
  FP64: Float64Array,
  BOOL: Uint8Array,
  FP16: Uint16Array,
  BF16: Uint16Array
}

const LENGTH_BYTES = 4

/** The datatype of an input and its bytes. Throws a TypeError for data that is no tensor, or of another type. */
export function encodeTensor (
  name: string, { data, datatype }: InputTensor
): { datatype: Datatype, bytes: Uint8Array } {
  if (Array.isArray(data) && data.every((value) => typeof value === 'string')) {
    if (datatype === undefined || datatype === 'BYTES') return { datatype: 'BYTES', bytes: bytesOfTexts(data) }
    throw new TypeError(`the input "${name}" is ${datatype}, which is no list of texts`)
  }
  const arrayName = nameOfArray(data)
  const fitting = Object.entries(ARRAY_TYPES).filter(([, type]) => type.name === arrayName)
    .map(([name]) => name as Datatype)
  const [usual] = fitting
  if (usual === undefined || !ArrayBuffer.isView(data)) {
    throw new TypeError(
      `the data of the input "${name}" is ${arrayName}: expected a typed array, as new Float32Array(values), or texts`
    )
  }
  if (datatype !== undefined && !fitting.includes(datatype)) {
    throw new TypeError(`the input "${name}" is ${datatype}, and ${arrayName} holds ${fitting.join(' or ')}`)
  }
  return { datatype: datatype ?? usual, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }
}

/** An output from its bytes; undefined where they are no such tensor. */
export function decodeTensor (datatype: string, shape: number[], bytes: Uint8Array): Tensor | undefined {
  const elements = shape.reduce((product, size) => product * size, 1)
  if (datatype === 'BYTES') {
    const data = textsOf(bytes)
    return data.length === elements ? { datatype, shape, data } : undefined
  }
  if (!Object.hasOwn(ARRAY_TYPES, datatype)) return undefined
  const Type = ARRAY_TYPES[datatype as keyof typeof ARRAY_TYPES]
  if (bytes.length !== elements * Type.BYTES_PER_ELEMENT) return undefined
  // Copied: where it lies among the others, no element need begin at a multiple of its width.
  return { datatype, shape, data: new Type(bytes.slice().buffer as ArrayBuffer) } as Tensor
}

/** Also of an array from another window or frame, whose constructor is not ours; canvases have clamped bytes. */
function nameOfArray (data: unknown): string {
  return Object.prototype.toString.call(data).slice('[object '.length, -1).replace('Clamped', '')
}

/** Each text with its length before it. */
function bytesOfTexts (texts: readonly string[]): Uint8Array {
  const encoded = texts.map((text) => new TextEncoder().encode(text))
  const bytes = new Uint8Array(encoded.reduce((sum, { length }) => sum + LENGTH_BYTES + length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const text of encoded) {
    view.setUint32(at, text.length, true)
    bytes.set(text, at + LENGTH_BYTES)
    at += LENGTH_BYTES + text.length
  }
  return bytes
}

/** Texts that are whole. */
function textsOf (bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const texts: string[] = []
  for (let at = 0; at + LENGTH_BYTES <= bytes.length;) {
    const begin = at + LENGTH_BYTES
    at = begin + view.getUint32(at, true)
    if (at <= bytes.length) texts.push(new TextDecoder().decode(bytes.subarray(begin, at)))
  }
  return texts
}
