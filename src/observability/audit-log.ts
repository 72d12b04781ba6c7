/**
 * Who changed what: a file that is only ever appended to, one JSON line for each call.
 *
 *  - a line is on disk when `append` resolves; those that come while the disk is at work go together at the next turn
 *  - the file is opened anew for every line, so that renaming it is all that rotation takes
 *  - what a crash has cut off in the middle of a line stays there, and the next one begins on a line of its own
 */
import { open, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolderDurably, syncFolder } from '../base/durable-file.js'
import { defineErrors, hasErrno } from '../base/errors.js'

export const auditErrors = defineErrors({
  AUDIT_UNWRITABLE: 'unavailable'
})

export interface AuditEntry {
  requestId: string
  /** Of the client, as far as trusted proxies tell it. */
  address: string
  /** Who called, as far as is known. */
  keyId?: string
  method: string
  /** Without the query. */
  path: string
  model?: string
  domain?: string
  version?: number | string
  status: number
  /** The code of the error, or `ok`. */
  outcome: string
}

/** Only its owner may know who did what. */
const FILE_MODE = 0o600

const NEWLINE = 0x0a

export class AuditLog {
  readonly #path: string
  readonly #now: () => number
  #tail: Promise<void> = Promise.resolve()
  readonly #waiting: string[] = []
  /** Writes what waits, when the write before it has ended. */
  #next: Promise<void> | undefined

  /** `now` gives milliseconds since 1970. */
  constructor (path: string, now: () => number = Date.now) {
    this.#path = path
    this.#now = now
  }

  /** Makes sure, at the start, that lines can be written. Throws AUDIT_UNWRITABLE. */
  async open (): Promise<void> {
    await this.#write('')
  }

  /** Lines come in the order of the calls. Throws AUDIT_UNWRITABLE. */
  async append (entry: AuditEntry): Promise<void> {
    await this.#write(`${JSON.stringify({ time: new Date(this.#now()).toISOString(), ...entry })}\n`)
  }

  #write (line: string): Promise<void> {
    this.#waiting.push(line)
    if (this.#next !== undefined) return this.#next
    const written = this.#tail.then(async () => {
      this.#next = undefined
      await appendDurably(this.#path, this.#waiting.splice(0).join(''))
    }).catch((cause: unknown) => {
      throw auditErrors.AUDIT_UNWRITABLE('the audit log cannot be written', {}, cause)
    })
    this.#next = written
    this.#tail = written.catch(() => {})
    return written
  }
}

async function appendDurably (path: string, line: string): Promise<void> {
  const file = await openAppending(path)
  try {
    const { size } = await file.stat()
    const last = Buffer.alloc(1, NEWLINE)
    if (size > 0) await file.read(last, 0, 1, size - 1)
    await file.appendFile(last[0] === NEWLINE ? line : `\n${line}`)
    await file.datasync()
    if (size === 0) await syncFolder(dirname(path))
  } finally {
    await file.close()
  }
}

async function openAppending (path: string): Promise<FileHandle> {
  try {
    return await open(path, 'a+', FILE_MODE)
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error
    await makeFolderDurably(dirname(path))
    return await open(path, 'a+', FILE_MODE)
  }
}
