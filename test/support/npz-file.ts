/** Npz files put together by hand, wrong ones too. */
import { crc32, deflateRawSync } from 'node:zlib'

export interface NpyParts {
  descr?: string
  order?: string
  shape?: string
  /** Stands in for the whole header. */
  header?: string | Buffer
  version?: readonly [major: number, minor: number]
  /** What the array says of its header's length, if not the truth. */
  headerBytes?: number
  data?: Uint8Array
}

/** An npy array, of float32 zeros to which `shape` fits if nothing else is said. */
export function npyOf (parts: NpyParts = {}): Buffer {
  const { descr = "'<f4'", order = 'False', data = new Uint8Array(8), version: [major, minor] = [1, 0] } = parts
  const { shape = `(${data.length / 4},)` } = parts
  const header = Buffer.from(parts.header ?? `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`)
  const length = Buffer.alloc(major === 1 ? 2 : 4)
  length.writeUIntLE(parts.headerBytes ?? header.length, 0, length.length)
  return Buffer.concat([Buffer.from('\x93NUMPY', 'latin1'), Buffer.of(major, minor), length, header, data])
}

/** A float32 vector as an npy array. */
export function npyVector (...values: number[]): Buffer {
  return npyOf({ data: new Uint8Array(Float32Array.from(values).buffer) })
}

interface EntryFacts {
  name: string | Buffer
  flags: number
  method: number
  crc: number
  packed: number
  whole: number
  extra: Buffer
}

export interface NpzEntry extends Partial<EntryFacts> {
  name: string | Buffer
  bytes: Uint8Array
  isDeflated?: boolean
  /** What stands in the file instead of the bytes, deflated or not. */
  content?: Uint8Array
  /** What its own header says, where that differs from the directory. */
  local?: Partial<EntryFacts>
  /** What follows it. */
  descriptor?: Buffer
  /** Where the directory says that it begins. */
  offset?: number
}

export interface NpzEnd {
  /** Between the entries and the directory, and between that and the end. */
  beforeDirectory?: Buffer
  beforeEnd?: Buffer
  comment?: Buffer
  /** Overrides of what the end of the directory says. */
  entries?: number
  size?: number
  offset?: number
}

/** A zip with exactly what it is told; what it is not told is right. */
export function zipOfEntries (entries: readonly NpzEntry[], end: NpzEnd = {}): Buffer {
  const [locals, listings]: [Buffer[], Buffer[]] = [[], []]
  let position = 0
  for (const { bytes, isDeflated = false, content = isDeflated ? deflateRawSync(bytes) : bytes, local = {}, ...entry } of entries) {
    const facts: EntryFacts = {
      flags: 0, method: isDeflated ? 8 : 0, crc: crc32(bytes), packed: content.length, whole: bytes.length, extra: Buffer.alloc(0), ...entry
    }
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(entry.offset ?? position, 10)
    listings.push(Buffer.from('504b01022d00', 'hex'), ...factsOf(facts, tail))
    const own = Buffer.concat([Buffer.from('504b0304', 'hex'), ...factsOf({ ...facts, ...local }), content, entry.descriptor ?? Buffer.alloc(0)])
    locals.push(own)
    position += own.length
  }
  const { beforeDirectory = Buffer.alloc(0), beforeEnd = Buffer.alloc(0), comment = Buffer.alloc(0) } = end
  const directory = Buffer.concat(listings)
  const last = Buffer.alloc(22)
  last.writeUInt32BE(0x504b0506, 0)
  last.writeUInt16LE(end.entries ?? entries.length, 8)
  last.writeUInt16LE(end.entries ?? entries.length, 10)
  last.writeUInt32LE(end.size ?? directory.length, 12)
  last.writeUInt32LE(end.offset ?? position + beforeDirectory.length, 16)
  last.writeUInt16LE(comment.length, 20)
  return Buffer.concat([...locals, beforeDirectory, directory, beforeEnd, last, comment])
}

function factsOf ({ name, flags, method, crc, packed, whole, extra }: EntryFacts, tail = Buffer.alloc(0)): Buffer[] {
  const encoded = Buffer.from(name)
  const facts = Buffer.alloc(26)
  facts.writeUInt16LE(45, 0)
  facts.writeUInt16LE(flags, 2)
  facts.writeUInt16LE(method, 4)
  facts.writeUInt32LE(crc, 10)
  facts.writeUInt32LE(packed, 14)
  facts.writeUInt32LE(whole, 18)
  facts.writeUInt16LE(encoded.length, 22)
  facts.writeUInt16LE(extra.length, 24)
  return [facts, tail, encoded, extra]
}

/** The zip64 field of an entry, after a length that may lie. */
export function zip64Field (...values: Array<number | bigint>): Buffer {
  const field = Buffer.alloc(4 + 8 * values.length)
  field.writeUInt16LE(1, 0)
  field.writeUInt16LE(8 * values.length, 2)
  for (const [at, value] of values.entries()) field.writeBigUInt64LE(BigInt(value), 4 + 8 * at)
  return field
}

/** A right npz file of these arrays. */
export function npzOf (arrays: Readonly<Record<string, Uint8Array>>, isDeflated = false): Buffer {
  return zipOfEntries(Object.entries(arrays).map(([name, bytes]) => ({ name: `${name}.npy`, bytes, isDeflated })))
}
