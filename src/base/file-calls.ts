/**
 * The calls of a file system that durable writes are made of: as `node:fs/promises` has them, which hands each to
 * another thread, and here for a thread that may be held up.
 */
// Used by its properties, which tests replace.
import fs from 'node:fs'
import { promisify } from 'node:util'

const fsync = promisify(fs.fsync)
const fdatasync = promisify(fs.fdatasync)

type Awaitable<T> = T | Promise<T>

export interface OpenFile {
  stat (): Awaitable<{ size: number }>
  read (buffer: Uint8Array, offset: number, length: number, position: number): Awaitable<unknown>
  writeFile (data: Uint8Array): Awaitable<void>
  appendFile (data: string): Awaitable<void>
  sync (): Awaitable<void>
  datasync (): Awaitable<void>
  close (): Awaitable<void>
}

export interface FileCalls {
  readFile (path: string): Awaitable<Uint8Array>
  open (path: string, flags: string, mode?: number): Awaitable<OpenFile>
  mkdir (path: string, options: { recursive: true }): Awaitable<string | undefined>
  rename (from: string, to: string): Awaitable<void>
}

/** A sync blocks as well. */
export const BLOCKING_CALLS: FileCalls = callsOf((descriptor) => new BlockingFile(descriptor))

/** Several may sync at a time, which a file system's journal does together: worth more than the hand-over costs. */
export const SYNCING_CALLS: FileCalls = callsOf((descriptor) => new SyncingFile(descriptor))

function callsOf (fileOf: (descriptor: number) => OpenFile): FileCalls {
  return {
    readFile: (path) => fs.readFileSync(path),
    open: (path, flags, mode) => fileOf(fs.openSync(path, flags, mode)),
    mkdir: (path, options) => fs.mkdirSync(path, options),
    rename: (from, to) => fs.renameSync(from, to)
  }
}

class BlockingFile implements OpenFile {
  protected readonly descriptor: number

  constructor (descriptor: number) {
    this.descriptor = descriptor
  }

  stat (): { size: number } {
    return fs.fstatSync(this.descriptor)
  }

  read (buffer: Uint8Array, offset: number, length: number, position: number): number {
    return fs.readSync(this.descriptor, buffer, offset, length, position)
  }

  writeFile (data: Uint8Array): void {
    fs.writeFileSync(this.descriptor, data)
  }

  appendFile (data: string): void {
    fs.appendFileSync(this.descriptor, data)
  }

  sync (): Awaitable<void> {
    fs.fsyncSync(this.descriptor)
  }

  datasync (): Awaitable<void> {
    fs.fdatasyncSync(this.descriptor)
  }

  close (): void {
    fs.closeSync(this.descriptor)
  }
}

class SyncingFile extends BlockingFile {
  override sync (): Promise<void> {
    return fsync(this.descriptor)
  }

  override datasync (): Promise<void> {
    return fdatasync(this.descriptor)
  }
}
