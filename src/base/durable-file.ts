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
import type { FileCalls, OpenFile } from './file-calls.js'

export const TEMPORARY_PREFIX = '.tmp-'

/** Writes a file so that it is there whole or not at all, and durable on return. Throws the errno error it met. */
export async function writeDurably (path: string, bytes: Uint8Array, mode = 0o644): Promise<void> {
  const replacement = new FileReplacement(path, bytes, mode)
  try {
    await replacement.begin()
    await replacement.sync()
    await replacement.place()
  } catch (error) {
    await replacement.undo()
    throw error
  }
  await syncFolder(replacement.folder)
}

/** The steps of a durable write, for who makes several at once; it is durable when the folder is synced at the end. */
export class FileReplacement {
  readonly folder: string
  readonly #path: string
  readonly #temporary: string
  readonly #bytes: Uint8Array
  readonly #mode: number
  readonly #calls: FileCalls
  #file: OpenFile | undefined

  constructor (path: string, bytes: Uint8Array, mode: number, calls: FileCalls = promises) {
    this.folder = dirname(path)
    this.#path = path
    this.#temporary = join(this.folder, `${TEMPORARY_PREFIX}${basename(path)}-${randomBytes(6).toString('hex')}`)
    this.#bytes = bytes
    this.#mode = mode
    this.#calls = calls
  }

  async begin (): Promise<void> {
    this.#file = await this.#calls.open(this.#temporary, 'wx', this.#mode)
    await this.#file.writeFile(this.#bytes)
  }

  async sync (): Promise<void> {
    await this.#file!.sync()
    await this.#close()
  }

  async place (): Promise<void> {
    await this.#calls.rename(this.#temporary, this.#path)
  }

  /** After one of these failed. Never rejects. */
  async undo (): Promise<void> {
    for (const step of [() => this.#close(), () => this.#calls.rm(this.#temporary, { force: true })]) {
      try {
        await step()
      } catch {
        // What is left has a name that the folder's owner removes.
      }
    }
  }

  /** A close that fails has closed all the same. */
  async #close (): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }
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
