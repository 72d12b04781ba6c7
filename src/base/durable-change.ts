/**
 * Changes of files, one or many at a time, each step of which is on disk before the next begins.
 *
 * Of changes that are made together the steps go together, in rounds: what the first sync of a round brings to the file
 * system's journal, the others find done (group commit). They have no file in common: who changes a file waits for the
 * change before.
 */
import * as promises from 'node:fs/promises'
import { dirname } from 'node:path'
import { sha256 } from './digest.js'
import { FileReplacement, makeFolderDurably, syncFolder } from './durable-file.js'
import { hasErrno } from './errors.js'
import type { FileCalls, OpenFile } from './file-calls.js'

export type Step =
  /** Goes on only if the file holds what has this SHA-256, or is not there where none is given. */
  | { kind: 'expect', path: string, digest: string | undefined }
  /** The file holds these bytes, whatever it held before. */
  | { kind: 'write', path: string, bytes: Uint8Array }
  /** Lines at the end of a file of its owner's, after what a crash has cut off in the middle of another. */
  | { kind: 'append', path: string, lines: string }

/** Who makes changes. */
export interface Disk {
  /** Resolves when all steps are on disk. Rejects with a FileChanged, or with the errno error that ended it. */
  change (steps: readonly Step[]): Promise<void>
}

/** What an `expect` found otherwise. */
export class FileChanged extends Error {}

/** Makes changes one at a time, without holding up the thread. */
export const ASYNCHRONOUS_DISK: Disk = {
  async change (steps) {
    const [failure] = await makeChanges([steps], promises)
    if (failure !== undefined) throw failure
  }
}

/** A step under way: its calls up to the rename, and the folder that is to be synced after them. */
interface Phases {
  begin (): Promise<void>
  sync? (): Promise<void>
  place? (): Promise<void>
  undo? (): Promise<void>
  readonly folder?: string | undefined
}

/** Tells of each change what ended it, undefined for one that is on disk. Never rejects. */
export async function makeChanges (
  changes: ReadonlyArray<readonly Step[]>, calls: FileCalls
): Promise<Array<Error | undefined>> {
  const under = changes.map((steps) => ({ steps, failure: undefined as Error | undefined }))
  const rounds = Math.max(...changes.map(({ length }) => length))
  for (let round = 0; round < rounds; round++) {
    const going = under.filter(({ steps, failure }) => failure === undefined && round < steps.length)
      .map((change) => ({ change, phases: phasesOf(change.steps[round]!, calls) }))
    for (const phase of ['begin', 'sync', 'place'] as const) {
      for (const { change, phases } of going) {
        if (change.failure !== undefined) continue
        change.failure = await failureOf(async () => await phases[phase]?.())
        if (change.failure !== undefined) await phases.undo?.()
      }
    }
    const done = going.filter(({ change }) => change.failure === undefined)
    for (const folder of new Set(done.map(({ phases }) => phases.folder))) {
      if (folder === undefined) continue
      const failure = await failureOf(() => syncFolder(folder, calls))
      for (const { change, phases } of done) if (phases.folder === folder) change.failure = failure
    }
  }
  return under.map(({ failure }) => failure)
}

async function failureOf (work: () => Promise<void>): Promise<Error | undefined> {
  try {
    await work()
    return undefined
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error(String(thrown))
  }
}

const MODE = 0o644

function phasesOf (step: Step, calls: FileCalls): Phases {
  switch (step.kind) {
    case 'expect': return { begin: () => expect(step.path, step.digest, calls) }
    case 'write': return new FileReplacement(step.path, step.bytes, MODE, calls)
    case 'append': return new Appending(step.path, step.lines, calls)
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

/** Only its owner may read what has no reader but him. */
const APPENDED_MODE = 0o600

const NEWLINE = 0x0a

/** Opens the file anew, so that renaming it is all that rotation takes. */
class Appending implements Phases {
  folder: string | undefined
  readonly #path: string
  readonly #lines: string
  readonly #calls: FileCalls
  #file: OpenFile | undefined

  constructor (path: string, lines: string, calls: FileCalls) {
    this.#path = path
    this.#lines = lines
    this.#calls = calls
  }

  async begin (): Promise<void> {
    const file = this.#file = await this.#open()
    const { size } = await file.stat()
    const last = Buffer.alloc(1, NEWLINE)
    if (size > 0) await file.read(last, 0, 1, size - 1)
    else this.folder = dirname(this.#path)
    await file.appendFile(last[0] === NEWLINE ? this.#lines : `\n${this.#lines}`)
  }

  async sync (): Promise<void> {
    await this.#file!.datasync()
    await this.#close()
  }

  async undo (): Promise<void> {
    await failureOf(() => this.#close())
  }

  async #close (): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }

  async #open (): Promise<OpenFile> {
    try {
      return await this.#calls.open(this.#path, 'a+', APPENDED_MODE)
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error
      await makeFolderDurably(dirname(this.#path), this.#calls)
      return await this.#calls.open(this.#path, 'a+', APPENDED_MODE)
    }
  }
}
