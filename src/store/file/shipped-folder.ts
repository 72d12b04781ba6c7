/**
 * A folder of shipped domains, in the layout of a store on files, and only ever read. It may be such a store itself, of
 * a time when the service wrote into that folder: what its opening would clean away is then passed over.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BankswitchError, hasErrno } from '../../base/errors.js'
import { isName } from '../../base/names.js'
import { storeErrors } from '../errors.js'
import { readPointer, readVerified } from './files.js'
import { gateFileName, versionFileName } from './pointer-file.js'
import type { WholeDomain } from '../bank-store.js'

export interface ShippedDomain {
  model: string
  domain: string
  path: string
  /** Throws STORE_CORRUPT, STORE_FORMAT_UNKNOWN and STORE_UNREADABLE. */
  read (): Promise<WholeDomain>
}

/** In alphabetical order; none for a folder that is missing. Throws STORE_UNREADABLE. */
export async function shippedDomains (folder: string): Promise<ShippedDomain[]> {
  const all: ShippedDomain[] = []
  for (const model of await foldersIn(folder)) {
    for (const domain of await foldersIn(join(folder, model))) {
      const path = join(folder, model, domain)
      all.push({ model, domain, path, read: () => readWhole(path, domain) })
    }
  }
  return all
}

async function readWhole (path: string, domain: string): Promise<WholeDomain> {
  const pointer = await readPointer(path, domain).catch((error: unknown) => {
    throw error instanceof BankswitchError ? error : unreadable(path, error)
  })
  if (pointer === undefined) throw storeErrors.STORE_CORRUPT(`domain "${domain}" has no pointer file`, { domain })
  const { versions, gate } = pointer
  return {
    pointer,
    readVersion: async (version) => {
      const { sha256: digest } = versions.find((record) => record.version === version)!
      const file = join(path, versionFileName(version, digest))
      return await readVerified(file, digest, `version ${version} of domain "${domain}"`, { domain, version })
    },
    readGate: async () => {
      const file = join(path, gateFileName(gate!))
      return await readVerified(file, gate!.sha256, `the gate of domain "${domain}"`, { domain }).catch((error: unknown) => {
        if (error instanceof BankswitchError && error.code === 'STORE_CORRUPT') return undefined
        throw error
      })
    }
  }
}

async function foldersIn (folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory() && isName(entry.name)).map(({ name }) => name).sort()
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return []
    throw unreadable(folder, error)
  }
}

function unreadable (path: string, cause: unknown): Error {
  return storeErrors.STORE_UNREADABLE(`"${path}" cannot be read: ${(cause as Error).message}`, {}, cause)
}
