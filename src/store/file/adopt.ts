/** A domain of another store into a store's folder: whole or not at all, whenever a crash comes. */
import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolderDurably, syncFolder, TEMPORARY_PREFIX, writeDurably } from '../../base/durable-file.js'
import { hasErrno } from '../../base/errors.js'
import { storeErrors } from '../errors.js'
import { readWholeGate, readWholeVersion } from '../whole-domain.js'
import { writePointer } from './files.js'
import { gateFileName, versionFileName } from './pointer-file.js'
import type { WholeDomain } from '../bank-store.js'

/** Throws DOMAIN_EXISTS, STORE_CORRUPT, what reading throws, or the errno error of what went wrong. */
export async function adoptDomain (folder: string, model: string, whole: WholeDomain): Promise<void> {
  const { pointer } = whole
  const { domain } = pointer
  const place = join(folder, model)
  await makeFolderDurably(place)
  const staging = join(place, `${TEMPORARY_PREFIX}${domain}-${randomBytes(6).toString('hex')}`)
  await mkdir(staging)
  try {
    for (const record of pointer.versions) {
      const file = await readWholeVersion(whole, record)
      await writeDurably(join(staging, versionFileName(record.version, record.sha256)), file)
    }
    const gate = await readWholeGate(whole)
    if (gate !== undefined) await writeDurably(join(staging, gateFileName(pointer.gate!)), gate)
    await writePointer(staging, pointer)
    await rename(staging, join(place, domain))
  } catch (error) {
    await rm(staging, { recursive: true, force: true }).catch(() => {})
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error
    throw storeErrors.DOMAIN_EXISTS(`model "${model}" has a domain "${domain}" already`, {}, error)
  }
  await syncFolder(place)
}
