/** Archives put together by hand, wrong ones too. */
import { Buffer } from 'node:buffer'
import { crc32, deflateRawSync } from 'node:zlib'
import { pack, type Header } from 'tar-stream'

export interface Entry {
  name: string
  bytes: Uint8Array
  /** What the archive says of the unpacked size, if not the truth. */
  declared?: number
}

/** A zip of deflated entries; names are written as they are. */
export function zipOf (entries: readonly Entry[]): Uint8Array {
  const [locals, centrals]: [Buffer[], Buffer[]] = [[], []]
  let offset = 0
  for (const { name, bytes, declared = bytes.length } of entries) {
    const packed = deflateRawSync(bytes)
    const encoded = Buffer.from(name)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(8, 4)
    common.writeUInt32LE(crc32(bytes), 10)
    common.writeUInt32LE(packed.length, 14)
    common.writeUInt32LE(declared, 18)
    common.writeUInt16LE(encoded.length, 22)
    const local = Buffer.concat([Buffer.from('504b0304', 'hex'), common, encoded, packed])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(offset, 10)
    centrals.push(Buffer.concat([Buffer.from('504b01021400', 'hex'), common, tail, encoded]))
    locals.push(local)
    offset += local.length
  }
  const central = Buffer.concat(centrals)
  const end = Buffer.alloc(22)
  end.writeUInt32BE(0x504b0506, 0)
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(central.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...locals, central, end])
}

export async function tarOf (entries: ReadonlyArray<Entry & { header?: Partial<Header> }>): Promise<Uint8Array> {
  const tar = pack()
  for (const { name, bytes, header } of entries) tar.entry({ name, ...header }, Buffer.from(bytes))
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
