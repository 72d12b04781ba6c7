/**
 * What the container of an earlier release kept beside the domains that it wrote, now that this folder is only read:
 * copied at the first start, which is the one that finds no store yet. A crash before the store is made repeats it.
 */
import { copyFile, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { makeFolderDurably, syncFolder, TEMPORARY_PREFIX } from '../base/durable-file.js'
import { hasErrno } from '../base/errors.js'
import type { Settings } from './schema.js'

type Places = Pick<Settings, 'store' | 'domainsDir' | 'adminKeyFile' | 'keysFile' | 'auditFile' | 'jobsDir'>

/** Resolves to the paths of the files and folders that came over. Rejects with the errno error of what went wrong. */
export async function takeOverFormerFiles (settings: Places): Promise<string[]> {
  if (await isThere(settings.store)) return []
  const places = {
    '.admin.key': settings.adminKeyFile,
    '.keys.json': settings.keysFile,
    '.audit.jsonl': settings.auditFile,
    '.jobs': settings.jobsDir
  }
  const taken: string[] = []
  for (const [former, target] of Object.entries(places)) {
    const source = join(settings.domainsDir, former)
    if (await isThere(target) || !await isThere(source)) continue
    await makeFolderDurably(dirname(target))
    await copyWhole(source, target)
    taken.push(target)
  }
  return taken
}

/** A file with its mode, or a folder of files: there under its name when all of it is on disk. */
async function copyWhole (source: string, target: string): Promise<void> {
  const staging = join(dirname(target), `${TEMPORARY_PREFIX}former-${process.pid}`)
  await rm(staging, { recursive: true, force: true })
  if ((await stat(source)).isDirectory()) {
    await makeFolderDurably(staging)
    const entries = await readdir(source, { withFileTypes: true })
    const names = entries.filter((entry) => entry.isFile() && !entry.name.startsWith(TEMPORARY_PREFIX))
    for (const { name } of names) await copySynced(join(source, name), join(staging, name))
    await syncFolder(staging)
  } else {
    await copySynced(source, staging)
  }
  await rename(staging, target)
  await syncFolder(dirname(target))
}

async function copySynced (source: string, target: string): Promise<void> {
  await copyFile(source, target)
  const file = await open(target, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function isThere (path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false
    throw error
  }
}
