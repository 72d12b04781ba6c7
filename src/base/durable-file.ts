/**
 * File writes that survive a crash at any system call.
 *
 * A reader sees the old file or the whole new one. When `writeDurably` has returned, the new one is on disk: the bytes
 * were synced before the rename and the folder after it. A crash can leave a file whose name starts with
 * TEMPORARY_PREFIX; owners of a folder remove those when they open it.
 */
import { randomBytes } from 'node:crypto'
import * as promises from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { FileCalls } from './file-calls.js'

export const TEMPORARY_PREFIX = '.tmp-'

/** Writes a file so that it is there whole or not at all, and durable on return. Throws the errno error it met. */
export async function writeDurably (
  path: string, bytes: Uint8Array, mode = 0o644, calls: FileCalls = promises
): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `${TEMPORARY_PREFIX}${basename(path)}-${randomBytes(6).toString('hex')}`)
  try {
    const file = await calls.open(temporary, 'wx', mode)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await calls.rename(temporary, path)
  } catch (error) {
    await promises.rm(temporary, { force: true }).catch(() => {})
    throw error
  }
  await syncFolder(folder, calls)
}

/** Removes a file and makes the removal durable; a file that is not there is no error. */
export async function removeDurably (path: string): Promise<void> {
  await promises.rm(path, { force: true })
  await syncFolder(dirname(path))
}

/** Makes a folder and its missing parents, each durable in its own parent. */
export async function makeFolderDurably (path: string, calls: FileCalls = promises): Promise<void> {
  const first = await calls.mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let folder = path; ; folder = dirname(folder)) {
    await syncFolder(dirname(folder), calls)
    if (folder === first || folder === dirname(folder)) return
  }
}

/** Syncs a folder's entries: a rename or unlink is durable only after this. */
export async function syncFolder (path: string, calls: FileCalls = promises): Promise<void> {
  const folder = await calls.open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
