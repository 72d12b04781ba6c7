/**
 * Who changed what: a file that is only ever appended to, one JSON line for each call.
 *
 *  - a line is on disk when `append` resolves; those that come while the disk is at work go together at the next turn
 *  - the file is opened anew for every line, so that renaming it is all that rotation takes
 *  - what a crash has cut off in the middle of a line stays there, and the next one begins on a line of its own
 */
import { ASYNCHRONOUS_DISK, type Disk } from '../base/durable-change.js'
import { defineErrors } from '../base/errors.js'

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

export class AuditLog {
  readonly #path: string
  readonly #disk: Disk
  readonly #now: () => number
  #tail: Promise<void> = Promise.resolve()
  readonly #waiting: string[] = []
  /** Writes what waits, when the write before it has ended. */
  #next: Promise<void> | undefined

  /** `now` gives milliseconds since 1970. */
  constructor (path: string, disk: Disk = ASYNCHRONOUS_DISK, now: () => number = Date.now) {
    this.#path = path
    this.#disk = disk
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
      await this.#disk.change([{ kind: 'append', path: this.#path, lines: this.#waiting.splice(0).join('') }])
    }).catch((cause: unknown) => {
      throw auditErrors.AUDIT_UNWRITABLE('the audit log cannot be written', {}, cause)
    })
    this.#next = written
    this.#tail = written.catch(() => {})
    return written
  }
}
