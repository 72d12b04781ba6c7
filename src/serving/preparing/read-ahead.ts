/**
 * Banks of a database, which may go away, before anybody asks for them: of every domain those that answer requests
 * which name no version, as far as the cache has room, and the signatures that `auto` chooses by. What other servers
 * change is seen by another look. Files do not go away, and are read when they are needed.
 */
import { BankswitchError } from '../../base/errors.js'
import { bankKey, foldedBank, foldedBytes } from '../banks-to-run.js'
import type { Logger } from '../../observability/logger.js'
import type { BankCache } from '../../runtime/bank-cache.js'
import type { BankStore, DomainRecord } from '../../store/bank-store.js'
import type { ModelStates, ReadyModel } from '../model-states.js'
import type { ResolvedDomain } from '../domain-reference.js'
import type { Recognition } from '../recognising/recognition.js'

export interface ReadAheadNeeds {
  store: Pick<BankStore, 'domains' | 'read'>
  banks: Pick<BankCache, 'get' | 'bytesOf' | 'hasRoomFor'>
  recognition: Pick<Recognition, 'hasSignature'>
  models: Pick<ModelStates, 'all'>
  logger: Pick<Logger, 'warn'>
}

const LOOK_MS = 1000

export class ReadAhead {
  readonly #needs: ReadAheadNeeds
  /** By the model's id, the list of domains that was looked through to its end, or until the cache was full. */
  readonly #known = new Map<string, readonly DomainRecord[]>()
  /** Whose banks have been read: every change makes a new record. */
  readonly #read = new WeakSet<DomainRecord>()
  #looking: Promise<void> | undefined

  constructor (needs: ReadAheadNeeds) {
    this.#needs = needs
  }

  /** Looks every second, until the signal. */
  start (signal: AbortSignal): void {
    const timer = setInterval(() => { void this.look(signal) }, LOOK_MS).unref()
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  }

  /** Reads what is not here, of models that are ready; resolves when that is done, or the store is away. */
  async look (signal?: AbortSignal): Promise<void> {
    this.#looking ??= this.#readAll(signal).finally(() => { this.#looking = undefined })
    await this.#looking
  }

  async #readAll (signal: AbortSignal | undefined): Promise<void> {
    for (const model of this.#needs.models.all()) {
      if (model.state !== 'ready') continue
      const { manifest: { name, defaultDomain } } = model.entry
      const records = this.#needs.store.domains(name)
      if (this.#known.get(model.served.id) === records) continue
      // To tell of one signature, all are read.
      const isRead = await this.#isTried(() => this.#needs.recognition.hasSignature(model, defaultDomain)) &&
        await this.#readBanks(model, records, signal)
      if (isRead) this.#known.set(model.served.id, records)
    }
  }

  /** False where the store is away, or the server closes. */
  async #readBanks (
    model: ReadyModel, records: readonly DomainRecord[], signal: AbortSignal | undefined
  ): Promise<boolean> {
    const { banks } = this.#needs
    for (const record of records) {
      if (this.#read.has(record)) continue
      for (const one of answering(record)) {
        const { digest, fingerprint } = one.version
        if (fingerprint !== model.artefact.fingerprint || banks.bytesOf(bankKey(model, digest)) !== undefined) continue
        if (!banks.hasRoomFor(foldedBytes(model))) return true
        if (signal?.aborted === true) return false
        if (!await this.#isTried(() => foldedBank(this.#needs, model, one))) return false
      }
      this.#read.add(record)
    }
    return true
  }

  /** False where the store is away. What else goes wrong is told to who asks for it; others must not wait for it. */
  async #isTried (read: () => Promise<unknown>): Promise<boolean> {
    try {
      await read()
    } catch (error) {
      if (error instanceof BankswitchError && error.kind === 'unavailable') return false
      this.#needs.logger.warn({ err: error }, 'what answers requests cannot be read')
    }
    return true
  }
}

/** The active version and the canary, which answer requests that name none. */
function answering (record: DomainRecord): ResolvedDomain[] {
  const numbers = new Set([record.active, record.canary?.version])
  return record.versions.filter(({ version }) => numbers.has(version)).map((version) => ({ record, version }))
}
