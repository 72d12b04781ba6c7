/**
 * Opens the store that the settings name: a folder, which one process at a time may change, or a database, which many
 * may. To change it brings what is shipped into it, and tells the log what that met; to read it changes nothing.
 */
import { resolve } from 'node:path'
import { configErrors } from '../config/load.js'
import { isDatabase } from '../config/schema.js'
import { openFileStore } from './file/file-store.js'
import { openForReading } from './file/reading-store.js'
import { shippedDomains } from './file/shipped-folder.js'
import { lockStore } from './file/store-lock.js'
import { takeOverShipped } from './take-over-shipped.js'
import type { Disk } from '../base/durable-change.js'
import type { Settings } from '../config/schema.js'
import type { Logger } from '../observability/logger.js'
import type { BankStore } from './bank-store.js'
import type { OpenedPostgres } from './postgres/open.js'

type StoreSettings = Pick<Settings, 'store' | 'storePollMs' | 'domainsDir'>

export interface OpenedStore {
  store: BankStore
  /** Where the store is in one that other processes share. */
  database?: OpenedPostgres['database']
  /** Lets another process have it; the end of this one does, too. */
  close (): Promise<void>
}

/**
 * `disk` writes into a folder, if given. Throws CONFIG_INVALID, STORE_IN_USE while another process has the
 * store, STORE_UNWRITABLE, STORE_UNREADABLE for the folder of shipped domains and for a database that is away, and
 * STORE_FORMAT_UNKNOWN for one of a newer server.
 */
export async function openStore (settings: StoreSettings, logger: Logger, disk?: Disk): Promise<OpenedStore> {
  if (isDatabase(settings.store)) return await openShared(settings, logger)
  const folder = storeFolder(settings)
  const close = await lockStore(folder)
  try {
    return { store: await openLocked(folder, settings.domainsDir, logger, disk), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A store that is not changed, whoever changes it meanwhile. Throws CONFIG_INVALID and STORE_UNREADABLE. */
export async function openStoreToRead (settings: StoreSettings, logger: Logger): Promise<OpenedStore> {
  if (isDatabase(settings.store)) return await openDatabase(settings, logger, true)
  return { store: await openForReading(storeFolder(settings), settings.domainsDir), close: async () => {} }
}

/** Imports what speaks to a database only where there is one. */
async function openDatabase (
  { store: url, storePollMs: pollMs }: StoreSettings, logger: Logger, isReading: boolean
): Promise<OpenedPostgres> {
  const { openPostgres } = await import('./postgres/open.js')
  return await openPostgres({ url, pollMs, logger, isReading })
}

/** What is shipped is taken over by one process after another, the later of which find it done. */
async function openShared (settings: StoreSettings, logger: Logger): Promise<OpenedStore> {
  const opened = await openDatabase(settings, logger, false)
  try {
    await opened.exclusively(async () => {
      await takeOverShipped(opened.store, await shippedDomains(settings.domainsDir), logger)
    })
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

async function openLocked (
  folder: string, domainsDir: string, logger: Logger, disk: Disk | undefined
): Promise<BankStore> {
  const { store, report } = await openFileStore(folder, { disk })
  for (const path of report.removed) logger.info({ path }, 'removed what an interrupted change had left')
  for (const { path, reason } of report.quarantined) logger.error({ path, reason }, 'a stored bank is in quarantine')
  for (const { path, reason } of report.refused) {
    logger.error({ path, reason }, 'a domain that a newer server wrote is not served, and stays as it is')
  }
  await takeOverShipped(store, await shippedDomains(domainsDir), logger)
  return store
}

/** The folder of the store. Throws CONFIG_INVALID for what is neither a folder nor a database. */
export function storeFolder ({ store, domainsDir }: Pick<Settings, 'store' | 'domainsDir'>): string {
  const [scheme] = /^[a-z][a-z0-9+.-]*:\/\//i.exec(store) ?? []
  if (scheme !== undefined) {
    const why = `there are no stores of the kind "${scheme}…"; a store is the path of a folder or postgres://…`
    throw configErrors.CONFIG_INVALID(why, {
      expected: 'the path of a folder, or postgres://user:password@host:port/database', received: scheme
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
