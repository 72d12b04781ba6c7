/**
 * Opens the store that the settings name: to change it, by one process at a time, which brings what is shipped into it
 * and tells the log what that met; or to read it, beside that process.
 */
import { resolve } from 'node:path'
import { configErrors } from '../config/load.js'
import { openFileStore } from './file/file-store.js'
import { openForReading } from './file/reading-store.js'
import { shippedDomains } from './file/shipped-folder.js'
import { lockStore } from './file/store-lock.js'
import { takeOverShipped } from './take-over-shipped.js'
import type { Settings } from '../config/schema.js'
import type { Logger } from '../observability/logger.js'
import type { BankStore } from './bank-store.js'

type StoreSettings = Pick<Settings, 'store' | 'domainsDir'>

export interface OpenedStore {
  store: BankStore
  /** Lets another process have it; the end of this one does, too. */
  close (): Promise<void>
}

/**
 * Throws CONFIG_INVALID, STORE_IN_USE while another process has the store, STORE_UNWRITABLE, and STORE_UNREADABLE for
 * the folder of shipped domains.
 */
export async function openStore (settings: StoreSettings, logger: Logger): Promise<OpenedStore> {
  const folder = storeFolder(settings)
  const close = await lockStore(folder)
  try {
    return { store: await openLocked(folder, settings.domainsDir, logger), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A store that is not changed, whoever changes it meanwhile. Throws CONFIG_INVALID and STORE_UNREADABLE. */
export async function openStoreToRead (settings: StoreSettings): Promise<BankStore> {
  return await openForReading(storeFolder(settings), settings.domainsDir)
}

async function openLocked (folder: string, domainsDir: string, logger: Logger): Promise<BankStore> {
  const { store, report } = await openFileStore(folder)
  for (const path of report.removed) logger.info({ path }, 'removed what an interrupted change had left')
  for (const { path, reason } of report.quarantined) logger.error({ path, reason }, 'a stored bank is in quarantine')
  for (const { path, reason } of report.refused) {
    logger.error({ path, reason }, 'a domain that a newer server wrote is not served, and stays as it is')
  }
  await takeOverShipped(store, await shippedDomains(domainsDir), logger)
  return store
}

/** The folder of the store. Throws CONFIG_INVALID: folders are the only kind of store there is. */
export function storeFolder ({ store, domainsDir }: StoreSettings): string {
  const [scheme] = /^[a-z][a-z0-9+.-]*:\/\//i.exec(store) ?? []
  if (scheme !== undefined) {
    throw configErrors.CONFIG_INVALID(`there are no stores of the kind "${scheme}…"; the store is the path of a folder`, {
      expected: 'the path of a folder', received: scheme
    })
  }
  if (resolve(store) === resolve(domainsDir)) {
    throw configErrors.CONFIG_INVALID(
      `the store cannot be "${store}", the folder of shipped domains, which is never written`,
      { expected: 'another folder', received: store }
    )
  }
  return store
}
