/**
 * Compiled artefacts, kept under a key that names everything they depend on: the model's bytes, the runtime's version,
 * the processor, the compiler and the options. An entry is a folder that appears whole, by one rename; what is found
 * there is verified before use, and rebuilt when it is not what it should be.
 */
import { mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolderDurably, syncFolder, TEMPORARY_PREFIX } from '../base/durable-file.js'
import { BankswitchError, hasErrno } from '../base/errors.js'
import { withFileLease, type LeaseOptions } from '../base/file-lease.js'
import { sha256 } from '../base/digest.js'
import { processorFingerprint, runtimeVersion } from '../ort/platform.js'
import { readArtefact, type Artefact } from './artefact.js'
import { compilerRevision } from './revision.js'
import type { CompileOptions } from './compile-options.js'

/** Leftovers of killed compilations are removed once they are this old. */
const ABANDONED_AFTER_MS = 60 * 60 * 1000

/** `sources` says what is compiled: digests of all its files, and how they are read. */
export function cacheKey (sources: readonly string[], options: CompileOptions): string {
  return sha256(JSON.stringify([
    compilerRevision(), sources, runtimeVersion(), processorFingerprint(),
    String(options.foldBudget), options.samples
  ]))
}

export interface CacheHooks extends LeaseOptions {
  /** Fills an empty folder with an artefact. */
  compile (folder: string): Promise<void>
  /** Told when an entry was there but unusable. */
  onCorrupt? (error: BankswitchError): void
}

/**
 * The artefact under `key`, compiled when it is missing or unusable; processes that want the same compile it once.
 * Throws what `compile` throws, and the signal's reason.
 */
export async function cachedArtefact (cacheFolder: string, key: string, hooks: CacheHooks): Promise<Artefact> {
  await makeFolderDurably(cacheFolder)
  const entry = join(cacheFolder, key)
  const existing = await readEntry(entry, hooks)
  if (existing !== undefined) return existing
  await removeAbandoned(cacheFolder)
  return await withFileLease(join(cacheFolder, `${TEMPORARY_PREFIX}lease-${key}`), hooks, async () => {
    // Another process may have compiled it while this one waited.
    const theirs = await readEntry(entry, hooks)
    if (theirs !== undefined) return theirs
    const workFolder = await mkdtemp(join(cacheFolder, TEMPORARY_PREFIX))
    try {
      await hooks.compile(workFolder)
      await publish(workFolder, entry)
      await syncFolder(cacheFolder)
    } finally {
      await rm(workFolder, { recursive: true, force: true })
    }
    return await readArtefact(entry)
  })
}

async function readEntry (entry: string, { onCorrupt }: CacheHooks): Promise<Artefact | undefined> {
  try {
    await stat(entry)
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    return await readArtefact(entry)
  } catch (error) {
    if (!(error instanceof BankswitchError)) throw error
    onCorrupt?.(error)
    await rm(entry, { recursive: true, force: true })
    return undefined
  }
}

/** Another process may have published the same entry meanwhile: theirs is as good as ours. */
async function publish (workFolder: string, entry: string): Promise<void> {
  try {
    await rename(workFolder, entry)
  } catch (error) {
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error
  }
}

async function removeAbandoned (cacheFolder: string): Promise<void> {
  for (const name of await readdir(cacheFolder)) {
    if (!name.startsWith(TEMPORARY_PREFIX)) continue
    const folder = join(cacheFolder, name)
    // Another process may have finished with it meanwhile.
    const found = await stat(folder).catch(() => undefined)
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS) {
      await rm(folder, { recursive: true, force: true })
    }
  }
}
