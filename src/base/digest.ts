import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'

/** SHA-256 of the parts in order, as lower-case hex. */
export function sha256 (...parts: Array<Uint8Array | string>): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

const CHUNK_BYTES = 1 << 20

/** SHA-256 of a file, streamed. */
export async function sha256File (path: string): Promise<string> {
  const hash = createHash('sha256')
  // A stream takes a whole chunk of memory for however small a file.
  const { size } = await stat(path)
  await pipeline(createReadStream(path, { highWaterMark: Math.min(CHUNK_BYTES, size + 1) }), hash)
  return hash.digest('hex')
}
