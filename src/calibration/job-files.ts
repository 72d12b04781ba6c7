/** Jobs of one process at a time, a small file each. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolderDurably, removeDurably, TEMPORARY_PREFIX, writeDurably } from '../base/durable-file.js'
import { JOB_STATES, type JobRecord, type JobRecords } from './job-record.js'

export class JobFiles implements JobRecords {
  readonly #folder: string

  private constructor (folder: string) {
    this.#folder = folder
  }

  /** Throws the errno error when the folder cannot be used. */
  static async open (folder: string): Promise<JobFiles> {
    await makeFolderDurably(folder)
    return new JobFiles(folder)
  }

  async recover (onFault: (error: unknown) => void): Promise<JobRecord[]> {
    const found: JobRecord[] = []
    for (const name of await readdir(this.#folder)) {
      if (name.startsWith(TEMPORARY_PREFIX)) await removeDurably(join(this.#folder, name))
      if (!/^[0-9a-f-]{36}\.json$/.test(name)) continue
      try {
        found.push(parseRecord(await readFile(join(this.#folder, name), 'utf8'), name))
      } catch (error) {
        onFault(error)
      }
    }
    return found.sort((a, b) => a.createdAt < b.createdAt ? -1 : 1)
  }

  write (record: JobRecord): Promise<void> {
    return writeDurably(this.#path(record.id), Buffer.from(JSON.stringify(record)))
  }

  remove (id: string): Promise<void> {
    return removeDurably(this.#path(id))
  }

  #path (id: string): string {
    return join(this.#folder, `${id}.json`)
  }
}

/** Throws for a file that is of no job, or of another. */
function parseRecord (text: string, fileName: string): JobRecord {
  const record = JSON.parse(text) as Partial<JobRecord> | null
  const isRecord = `${record?.id}.json` === fileName && JOB_STATES.includes(record!.state!) &&
    typeof record!.createdAt === 'string' && isFields(record!.subject) &&
    (record!.commit === undefined || isFields(record!.commit))
  if (!isRecord) throw new Error(`${fileName} holds no job`)
  return record as JobRecord
}

/** Names and numbers. */
function isFields (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((one) => typeof one === 'string' || typeof one === 'number')
}
