/**
 * What start-up makes of the files it finds. Cases:
 *
 *  1. temporary names: left by a crash in the middle of a write or a removal, removed; the same beside what is
 *     remembered of shipped banks and removed domains
 *  2. version files that no pointer lists: a publish that was never acknowledged, removed
 *  3. a folder with no pointer file and nothing but 1 and 2: a first publish that was never acknowledged, removed
 *  4. a pointer that cannot be read or fails its checksum, or is missing beside versions above the first: the whole
 *     domain goes to quarantine
 *  5. a listed version whose file is missing, cannot be read or fails its digest: the file goes to quarantine and the
 *     version out of the pointer; a domain that loses its active version so has none, rather than silently an older one
 *  6. a gate that no pointer names: removed; a listed one that fails its digest: the file goes to quarantine and the
 *     pointer keeps naming it, so that nothing is activated unchecked until an admin sets a gate anew or removes it
 *  7. a pointer that a newer server wrote: told by name, and every file of its domain stays untouched
 *  8. anything else (a README, a foreign folder): left alone
 */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { makeFolderDurably, syncFolder, TEMPORARY_PREFIX } from '../../base/durable-file.js'
import { sha256File } from '../../base/digest.js'
import { BankswitchError, hasErrno } from '../../base/errors.js'
import { isName } from '../../base/names.js'
import { withoutVersions } from '../changes.js'
import { writePointer } from './files.js'
import { gateFileName, parsePointer, POINTER_FILE, versionFileName } from './pointer-file.js'
import type { Pointer } from '../bank-store.js'
import { REMOVED_FOLDER } from './removed-file.js'
import { SHIPPED_FOLDER } from './shipped-file.js'
import type { FoundPointers } from './pointers.js'

export interface RecoveryReport {
  /** Paths below the store's folder. */
  removed: string[]
  quarantined: Array<{ path: string, reason: string }>
  /** What a newer server wrote: not served, and left alone. */
  refused: Array<{ path: string, reason: string }>
}

const QUARANTINE = '.quarantine'

const VERSION_FILE = /^\d{6,}-[0-9a-f]{16}\.safetensors$/
const GATE_FILE = /^gate-[0-9a-f]{16}\.safetensors$/
const FIRST_VERSION = /^0*1-/

/** Faults of one file or the disk below it, as opposed to those of the process: no reason not to serve the others. */
const FILE_FAULTS = ['EIO', 'EISDIR']

export async function recoverStore (
  folder: string
): Promise<{ pointers: FoundPointers, report: RecoveryReport }> {
  const report: RecoveryReport = { removed: [], quarantined: [], refused: [] }
  const recovery = new Recovery(folder, report)
  const pointers: FoundPointers = new Map()
  for (const model of await foldersIn(folder)) {
    if (!isName(model)) continue
    const domains = new Map<string, Pointer | BankswitchError>()
    for (const domain of await foldersIn(join(folder, model))) {
      if (domain.startsWith(TEMPORARY_PREFIX)) {
        await recovery.remove(join(model, domain))
      } else if (isName(domain)) {
        const pointer = await recovery.domain(model, domain)
        if (pointer !== undefined) domains.set(domain, pointer)
      }
    }
    pointers.set(model, domains)
  }
  await recovery.memories()
  return { pointers, report }
}

class Recovery {
  readonly #folder: string
  readonly #report: RecoveryReport

  constructor (folder: string, report: RecoveryReport) {
    this.#folder = folder
    this.#report = report
  }

  async domain (model: string, domain: string): Promise<Pointer | BankswitchError | undefined> {
    const place = join(model, domain)
    let pointer: Pointer | undefined
    try {
      pointer = parsePointer(await readFile(this.#path(place, POINTER_FILE), 'utf8'), domain)
    } catch (error) {
      if (error instanceof BankswitchError && error.code === 'STORE_FORMAT_UNKNOWN') {
        this.#report.refused.push({ path: place, reason: error.message })
        return error
      }
      if (error instanceof BankswitchError || hasErrno(error, ...FILE_FAULTS)) {
        const { message } = error as Error
        await this.quarantine(place, message)
        return undefined
      }
      if (!hasErrno(error, 'ENOENT')) throw error
    }
    const names = await readdir(this.#path(place))
    const versions = names.filter((name) => VERSION_FILE.test(name))
    if (pointer === undefined && versions.some((name) => !FIRST_VERSION.test(name))) {
      await this.quarantine(place, 'its pointer file is missing')
      return undefined
    }
    const listed = new Set(pointer?.versions.map(({ version, sha256 }) => versionFileName(version, sha256)))
    if (pointer?.gate !== undefined) {
      const gate = gateFileName(pointer.gate)
      listed.add(gate)
      const reason = await this.#faultOf(join(place, gate), pointer.gate.sha256)
      if (reason !== undefined && names.includes(gate)) await this.quarantine(join(place, gate), reason)
    }
    for (const name of names) {
      const isOrphan = (VERSION_FILE.test(name) || GATE_FILE.test(name)) && !listed.has(name)
      if (isOrphan || name.startsWith(TEMPORARY_PREFIX)) await this.remove(join(place, name))
    }
    if (pointer !== undefined) return await this.#verifyVersions(place, pointer)
    if ((await readdir(this.#path(place))).length === 0) await this.remove(place)
    return undefined
  }

  async memories (): Promise<void> {
    const places: string[] = []
    for (const kind of [SHIPPED_FOLDER, REMOVED_FOLDER]) {
      const models = await foldersIn(this.#path(kind)).catch((error: unknown) => {
        if (hasErrno(error, 'ENOENT')) return []
        throw error
      })
      places.push(...models.map((model) => join(kind, model)))
    }
    for (const place of places) {
      const left = (await readdir(this.#path(place))).filter((name) => name.startsWith(TEMPORARY_PREFIX))
      for (const name of left) await this.remove(join(place, name))
    }
  }

  async #verifyVersions (place: string, pointer: Pointer): Promise<Pointer> {
    const lost = new Set<number>()
    for (const { version, sha256 } of pointer.versions) {
      const file = join(place, versionFileName(version, sha256))
      const reason = await this.#faultOf(file, sha256)
      if (reason === undefined) continue
      lost.add(version)
      await this.quarantine(file, reason)
    }
    if (lost.size === 0) return pointer
    const next = withoutVersions(pointer, lost)
    await writePointer(this.#path(place), next)
    return next
  }

  async #faultOf (file: string, digest: string): Promise<string | undefined> {
    try {
      return await sha256File(this.#path(file)) === digest ? undefined : 'its digest is wrong'
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return 'it is missing'
      if (hasErrno(error, ...FILE_FAULTS)) return `it cannot be read: ${(error as Error).message}`
      throw error
    }
  }

  async remove (path: string): Promise<void> {
    await rm(this.#path(path), { recursive: true, force: true })
    await syncFolder(dirname(this.#path(path)))
    this.#report.removed.push(path)
  }

  /** Moves a file or folder aside under a name that is free. */
  async quarantine (path: string, reason: string): Promise<void> {
    this.#report.quarantined.push({ path, reason })
    await makeFolderDurably(this.#path(QUARANTINE, dirname(path)))
    for (let number = 1; ; number++) {
      const target = this.#path(QUARANTINE, `${path}.${number}`)
      try {
        await mkdir(target)
      } catch (error) {
        if (hasErrno(error, 'EEXIST')) continue
        throw error
      }
      try {
        await rename(this.#path(path), join(target, 'content'))
        await syncFolder(target)
        await syncFolder(dirname(target))
      } catch (error) {
        if (!hasErrno(error, 'ENOENT')) throw error
        await rm(target, { recursive: true })
      }
      await syncFolder(dirname(this.#path(path)))
      return
    }
  }

  #path (...parts: string[]): string {
    return join(this.#folder, ...parts)
  }
}

async function foldersIn (folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name).sort()
}
