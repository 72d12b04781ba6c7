/** Opens the store that the settings name, and tells the log what its opening met. */
import { openFileStore } from './file/file-store.js'
import type { Logger } from '../observability/logger.js'
import type { BankStore } from './bank-store.js'

/** Throws STORE_UNWRITABLE. */
export async function openStore ({ domainsDir }: { domainsDir: string }, logger: Logger): Promise<BankStore> {
  const { store, report } = await openFileStore(domainsDir)
  for (const path of report.removed) logger.info({ path }, 'removed what an interrupted change had left')
  for (const { path, reason } of report.quarantined) logger.error({ path, reason }, 'a stored bank is in quarantine')
  for (const { path, reason } of report.refused) {
    logger.error({ path, reason }, 'a domain that a newer server wrote is not served, and stays as it is')
  }
  return store
}
