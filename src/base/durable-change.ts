/** Changes of files in steps, each of which is on disk before the next begins. */
import * as promises from 'node:fs/promises'
import { dirname } from 'node:path'
import { sha256 } from './digest.js'
import { makeFolderDurably, syncFolder, writeDurably } from './durable-file.js'
import { hasErrno } from './errors.js'
import type { FileCalls, OpenFile } from './file-calls.js'

export type Step =
  /** Goes on only if the file holds what has this SHA-256, or is not there where none is given. */
  | { kind: 'expect', path: string, digest: string | undefined }
  /** The file holds these bytes, whatever it held before. */
  | { kind: 'write', path: string, bytes: Uint8Array }
  /** Lines at the end of a file of its owner's, after what a crash has cut off in the middle of another. */
  | { kind: 'append', path: string, lines: string }

/** Who makes changes. Those that are asked for at a time have no file in common. */
export interface Disk {
  /** Resolves when all steps are on disk. Rejects with a FileChanged, the errno error that ended it, or a DiskLost. */
  change (steps: readonly Step[]): Promise<void>
}

/** What an `expect` found otherwise. */
export class FileChanged extends Error {}

/** Who makes changes has ended, and with it those under way: whether one is on disk is not known. */
export class DiskLost extends Error {}

/** Makes changes without holding up the thread. */
export const ASYNCHRONOUS_DISK: Disk = {
  change: (steps) => makeChange(steps, promises)
}

/** As `Disk.change`, by these calls. */
export async function makeChange (steps: readonly Step[], calls: FileCalls): Promise<void> {
  for (const step of steps) {
    switch (step.kind) {
      case 'expect':
        await expect(step.path, step.digest, calls)
        break
      case 'write':
        await writeDurably(step.path, step.bytes, undefined, calls)
        break
      case 'append':
        await appendDurably(step.path, step.lines, calls)
    }
  }
}

async function expect (path: string, digest: string | undefined, calls: FileCalls): Promise<void> {
  let found: string | undefined
  try {
    found = sha256(await calls.readFile(path))
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error
  }
  if (found !== digest) throw new FileChanged(`${path} was changed meanwhile`)
}

/** Only its owner may read it. */
const APPENDED_MODE = 0o600

const NEWLINE = 0x0a

/** Opens the file anew, so that renaming it is all that rotation takes. */
async function appendDurably (path: string, lines: string, calls: FileCalls): Promise<void> {
  const file = await openAppending(path, calls)
  try {
    const { size } = await file.stat()
    const last = Buffer.alloc(1, NEWLINE)
    if (size > 0) await file.read(last, 0, 1, size - 1)
    await file.appendFile(last[0] === NEWLINE ? lines : `\n${lines}`)
    await file.datasync()
    if (size === 0) await syncFolder(dirname(path), calls)
  } finally {
    await file.close()
  }
}

async function openAppending (path: string, calls: FileCalls): Promise<OpenFile> {
  try {
    return await calls.open(path, 'a+', APPENDED_MODE)
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error
    await makeFolderDurably(dirname(path), calls)
    return await calls.open(path, 'a+', APPENDED_MODE)
  }
}
