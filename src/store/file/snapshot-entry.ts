/** Entries of a snapshot that is read, none of them larger than it may be. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { storeErrors } from '../errors.js'
import type { BankswitchError } from '../../base/errors.js'
import type { Extract } from 'tar-stream'

export type SnapshotEntry = Extract extends AsyncIterable<infer Entry> ? Entry : never

/** Writes an entry to a new file, durably; resolves with the SHA-256 of its bytes. Without a path it only reads. */
export async function unpack (entry: SnapshotEntry, path: string | undefined): Promise<string> {
  const hash = createHash('sha256')
  const file = path === undefined ? undefined : await open(path, 'wx')
  try {
    for await (const chunk of entry as AsyncIterable<Buffer>) {
      hash.update(chunk)
      await file?.writeFile(chunk)
    }
    await file?.sync()
  } finally {
    await file?.close()
  }
  return hash.digest('hex')
}

export async function readSmall (entry: SnapshotEntry, bytesMax: number): Promise<Buffer> {
  const { name, size = 0 } = entry.header
  if (size > bytesMax) throw invalid(`"${name}" has ${size} bytes, more than ${bytesMax}`)
  const chunks: Buffer[] = []
  for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** SNAPSHOT_INVALID. */
export function invalid (why: string, cause?: unknown): BankswitchError {
  return storeErrors.SNAPSHOT_INVALID(`this is no whole snapshot of a store: ${why}`, {}, cause)
}
