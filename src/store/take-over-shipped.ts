/**
 * Brings shipped domains into a store. Cases:
 *
 *  1. a domain that neither the store nor its memory knows: taken over whole, with every version, number and mark; that
 *     is also how a store moves that an earlier server kept in the shipped folder
 *  2. one that the memory knows and the store does not: an admin removed it, and it stays away, newer banks too
 *  3. an active shipped bank whose file was never seen, of a domain that nobody changed: a new version, active
 *  4. the same, of a domain that somebody changed: a new version that is only stored
 *  5. a domain of that name that somebody made before it was shipped: as 4
 *  6. a shipped domain that cannot be read: left out, told, and tried again at the next start
 *
 * Nobody has changed a domain that came with one publish and is still at the revision that it had after the last
 * shipped bank, which is active, with no gate. The domain is written first and the memory second: a crash between the
 * two leaves a domain that is just as it was shipped, which the next start recognises.
 */
import { isDeepStrictEqual } from 'node:util'
import { BankswitchError } from '../base/errors.js'
import { NO_NUMBERS } from './changes.js'
import type { Logger } from '../observability/logger.js'
import type { BankStore, DomainRecord, ShippedMemory, VersionRecord, WholeDomain } from './bank-store.js'

export interface ShippedSource {
  model: string
  /** For the log. */
  path: string
  read (): Promise<WholeDomain>
}

type Log = Pick<Logger, 'info' | 'warn' | 'error'>

/** Throws STORE_UNWRITABLE; what is wrong with one shipped domain is only logged. */
export async function takeOverShipped (
  store: BankStore, sources: readonly ShippedSource[], logger: Log
): Promise<void> {
  for (const { model, path, read } of sources) {
    try {
      await takeOver(store, model, await read(), logger)
    } catch (error) {
      if (!(error instanceof BankswitchError) || error.code === 'STORE_UNWRITABLE') throw error
      logger.error({ path, code: error.code, reason: error.message }, 'a shipped domain is left out')
    }
  }
}

async function takeOver (store: BankStore, model: string, whole: WholeDomain, logger: Log): Promise<void> {
  const { pointer } = whole
  const { domain } = pointer
  const known = await store.shipped(model, domain)
  const held = store.domain(model, domain) ?? (known === undefined ? await store.adopt(model, whole) : undefined)
  const memory = known ?? await rememberFirst(store, model, held!, whole)
  const active = pointer.versions.find(({ version }) => version === pointer.active)
  if (active === undefined || memory.files.includes(active.sha256)) return
  const revision = held === undefined
    ? memory.revision
    : await addBank(store, model, { held, memory, active, whole }, logger)
  await store.rememberShipped(model, domain, { files: [...memory.files, active.sha256], revision })
}

/** What is remembered of a domain that was just taken over, or was there before it was shipped: nothing of that one. */
async function rememberFirst (
  store: BankStore, model: string, held: DomainRecord, { pointer }: WholeDomain
): Promise<ShippedMemory> {
  // Its numbers are later where a domain of that name was removed before it was shipped.
  const isTakenOver = isDeepStrictEqual({ ...held, ...NO_NUMBERS }, { ...pointer, ...NO_NUMBERS })
  const memory = {
    files: isTakenOver ? pointer.versions.map(({ sha256 }) => sha256) : [],
    revision: isTakenOver && pointer.revision === 1 ? held.revision : 0
  }
  await store.rememberShipped(model, pointer.domain, memory)
  return memory
}

interface NewerBank {
  held: DomainRecord
  memory: ShippedMemory
  active: VersionRecord
  whole: WholeDomain
}

/** Cases 3 to 5; the revision to remember. */
async function addBank (
  store: BankStore, model: string, { held, memory, active, whole }: NewerBank, logger: Log
): Promise<number> {
  const { domain, description } = whole.pointer
  const own = held.versions.find(({ sha256 }) => sha256 === active.sha256)
  if (own !== undefined) {
    // A crash before the memory was written; nobody could change the domain since.
    const isCutOff = held.revision === memory.revision + 1 && held.active === own.version
    return isCutOff ? held.revision : memory.revision
  }
  const isUnchanged = isAsShipped(held, memory)
  const record = await store.publish(model, domain, {
    file: await whole.readVersion(active.version),
    digest: active.digest,
    fingerprint: active.fingerprint,
    source: active.source,
    createdAt: active.createdAt,
    ...(active.preprocessing === undefined ? {} : { preprocessing: active.preprocessing }),
    ...(isUnchanged && description !== undefined ? { description } : {}),
    isActivated: isUnchanged
  }, held.revision)
  const told = { model, domain, version: record.versions.at(-1)!.version }
  if (isUnchanged) logger.info(told, 'a newer shipped bank is active')
  else logger.warn(told, 'a newer shipped bank is stored but not active, because the domain was changed')
  return isUnchanged ? record.revision : memory.revision
}

/** The revision alone could be that of a domain that an earlier server made anew after a removal. */
function isAsShipped ({ revision, active, versions, gate }: DomainRecord, memory: ShippedMemory): boolean {
  const file = versions.find(({ version }) => version === active)?.sha256
  return revision === memory.revision && gate === undefined && file !== undefined && memory.files.includes(file)
}
