/** Opens the store that the settings name, brings what is shipped into it, and tells the log what that met. */
import { resolve } from 'node:path'
import { configErrors } from '../config/load.js'
import { openFileStore } from './file/file-store.js'
import { shippedDomains } from './file/shipped-folder.js'
import { takeOverShipped } from './take-over-shipped.js'
import type { Settings } from '../config/schema.js'
import type { Logger } from '../observability/logger.js'
import type { BankStore } from './bank-store.js'

type StoreSettings = Pick<Settings, 'store' | 'domainsDir'>

/** Throws CONFIG_INVALID, STORE_UNWRITABLE, and STORE_UNREADABLE for the folder of shipped domains. */
export async function openStore (settings: StoreSettings, logger: Logger): Promise<BankStore> {
  const { domainsDir } = settings
  const { store, report } = await openFileStore(storeFolder(settings))
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
