/**
 * Domains that get most of their model's traffic get a network of their own, as long as they do (heat.ts decides): made
 * and proven in other processes that give way, opened on the workers when nothing waits, dropped when they cool.
 *
 *  - nothing waits for any of this, and a failure changes nothing but a metric and the log
 *  - one network is made at a time; one that failed is not tried again for a while
 *  - what a network takes is its weights, which all workers map, and what each worker's session takes besides: guessed
 *    by the model's weights before the first is made, measured by then
 *  - a network belongs to a bank's content: domains and versions that share it share the network
 */
import { rm } from 'node:fs/promises'
import { readOwnBank } from '../../bank/formats/bank-safetensors.js'
import { sourceOf } from '../../models/compilation.js'
import { bankKey } from '../banks-to-run.js'
import { leaseKey, type Leases } from '../leases.js'
import { decide, HeatBook, type Asked } from './heat.js'
import { HotFolder } from './hot-folder.js'
import type { dedicateInProcess } from '../../compiler/compile-process.js'
import type { Settings } from '../../config/schema.js'
import type { Logger } from '../../observability/logger.js'
import type { Metrics } from '../../observability/metrics.js'
import type { DedicatedSessions } from '../../runtime/dedicated-sessions.js'
import type { BankStore } from '../../store/bank-store.js'
import type { ResolvedDomain } from '../domain-reference.js'
import type { ReadyModel } from '../model-states.js'

/** How often it is looked at what has changed. */
export const LOOK_MS = 5000

/** After which a bank whose network could not be made may be tried again. */
const RETRY_MS = 3_600_000

/** What heating needs. */
export interface HeatingNeeds {
  dedicated: Pick<DedicatedSessions, 'add' | 'remove'>
  store: Pick<BankStore, 'read' | 'domains'>
  leases: Pick<Leases, 'hold'>
  metrics: Pick<Metrics, 'countHotBuild'>
  logger: Pick<Logger, 'child' | 'info' | 'warn'>
  /** Makes and proves the network of one bank. */
  dedicate: typeof dedicateInProcess
  /** In ms, from any origin. */
  now (): number
}

/** A bank, and where it was asked last. */
interface AskedBank extends Asked {
  readonly ready: ReadyModel
  readonly domain: string
  readonly version: number
  readonly digest: string
}

interface HotBank extends Pick<AskedBank, 'model' | 'digest'> {
  /** Of its weights and all its sessions. */
  readonly bytes: number
  readonly folder: string
}

/** A version that runs on a network of its own. */
export interface HotVersion extends Pick<AskedBank, 'domain' | 'version' | 'digest'>, Pick<HotBank, 'bytes'> {}

export class HotDomains {
  readonly #needs: HeatingNeeds
  readonly #settings: Pick<Settings, 'hotBytes' | 'workers' | 'runRows'>
  readonly #folder: HotFolder
  readonly #book = new HeatBook<AskedBank>()
  /** By bank. */
  readonly #hot = new Map<string, HotBank>()
  /** When a bank may be tried again, by bank. */
  readonly #failed = new Map<string, number>()
  /** Bytes of a network, once one has been measured, by artefact. */
  readonly #measured = new Map<string, number>()
  #building: { bank: string, abort: AbortController } | undefined
  #looking: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor (needs: HeatingNeeds, settings: Pick<Settings, 'hotBytes' | 'workers' | 'runRows' | 'cacheDir'>) {
    this.#needs = needs
    this.#settings = settings
    this.#folder = new HotFolder(settings.cacheDir)
  }

  /** Looks every LOOK_MS from now on, if there is a budget. */
  start (): void {
    if (this.#settings.hotBytes === 0) return
    this.#timer = setInterval(() => { void this.look() }, LOOK_MS).unref()
  }

  /** Rows that a version of a domain has answered. */
  count (ready: ReadyModel, { record: { domain }, version: { version, digest } }: ResolvedDomain, rows: number): void {
    if (this.#settings.hotBytes === 0) return
    const model = ready.entry.manifest.name
    this.#book.count({ bank: bankKey(ready, digest), model, ready, domain, version, digest }, rows, this.#needs.now())
  }

  /** Banks that have a network of their own, and what those take. */
  get size (): { count: number, bytes: number } {
    return { count: this.#hot.size, bytes: this.#usedBytes }
  }

  /** Versions of a model that run on a network of their own; those of one content share it. */
  versionsOf (model: string): HotVersion[] {
    const hot = [...this.#hot.values()].filter((one) => one.model === model)
    if (hot.length === 0) return []
    const bytesOf = new Map(hot.map(({ digest, bytes }) => [digest, bytes]))
    return this.#needs.store.domains(model).flatMap(({ domain, versions }) => {
      return versions.filter(({ digest }) => bytesOf.has(digest))
        .map(({ version, digest }) => ({ domain, version, digest, bytes: bytesOf.get(digest)! }))
    })
  }

  get #usedBytes (): number {
    return [...this.#hot.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Takes its network from a bank, or stops making it. */
  forget (bank: string): void {
    this.#book.forget(bank)
    if (this.#building?.bank === bank) this.#building.abort.abort(new Error('the bank was removed'))
    void this.#drop(bank)
  }

  /** Takes its network from a bank for which a new thread could not open it; it may get another. */
  lose (bank: string, error: unknown): void {
    this.#needs.logger.warn({ err: error, bank }, 'a new inference thread cannot open the network of a hot domain')
    void this.#drop(bank)
  }

  /** Heats and cools what is to be; resolves when it is done, and never rejects. Once at a time. */
  async look (): Promise<void> {
    void this.#folder.touch()
    if (this.#looking !== undefined || this.#isClosed) return
    this.#looking = this.#change().finally(() => { this.#looking = undefined })
    await this.#looking
  }

  /** Stops making, and removes all files; the sessions end with their workers. */
  async close (): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#building?.abort.abort(new Error('the server is shutting down'))
    await this.#looking
    await this.#folder.close()
  }

  async #change (): Promise<void> {
    const now = this.#needs.now()
    for (const [bank, retryAt] of this.#failed) if (retryAt <= now) this.#failed.delete(bank)
    const { drop, build } = decide({
      heats: this.#book.heats(now),
      hot: new Map([...this.#hot].map(([bank, { bytes }]) => [bank, bytes])),
      budgetBytes: this.#settings.hotBytes,
      bytesOf: ({ bank, ready: { served, artefact } }) => {
        return this.#failed.has(bank) ? Infinity : this.#measured.get(served.id) ?? artefact.weightBytes
      }
    })
    for (const bank of drop) await this.#drop(bank)
    if (build !== undefined && !this.#isClosed) await this.#build(build)
  }

  async #build (asked: AskedBank): Promise<void> {
    const { bank, model, domain, version } = asked
    const { metrics, now } = this.#needs
    const logger = this.#needs.logger.child({ model, domain, version })
    const begin = now()
    const abort = new AbortController()
    this.#building = { bank, abort }
    let folder: string | undefined
    try {
      folder = await this.#folder.make()
      const bytes = await this.#make(asked, folder, abort.signal)
      metrics.countHotBuild(model, 'ok')
      logger.info({ bytes, buildMs: Math.round(now() - begin) }, 'a hot domain has a network of its own')
    } catch (error) {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
      if (abort.signal.aborted) return
      this.#failed.set(bank, now() + RETRY_MS)
      metrics.countHotBuild(model, 'error')
      logger.warn({ err: error }, 'a hot domain goes without a network of its own')
    } finally {
      this.#building = undefined
    }
  }

  /** Opens the network on the workers; gives its bytes. */
  async #make (
    { bank, model, domain, version, digest, ready: { entry, artefact, served } }: AskedBank, folder: string,
    signal: AbortSignal
  ): Promise<number> {
    const { dedicated, dedicate, store, leases } = this.#needs
    const { hotBytes, workers, runRows } = this.#settings
    const file = await leases.hold(leaseKey(model, domain, version), () => store.read(model, domain, version))
    const { graphPath, weightBytes, sessionBytes } = await dedicate({
      source: sourceOf(entry),
      artefactFolder: artefact.folder,
      bank: readOwnBank(file, artefact.layers),
      folder,
      runRows: artefact.proof.isRowInvariant ? runRows : 1
    }, signal)
    const bytes = weightBytes + workers * sessionBytes
    this.#measured.set(served.id, bytes)
    const leftBytes = hotBytes - this.#usedBytes
    if (bytes > leftBytes) throw new Error(`the network takes ${bytes} bytes, and ${leftBytes} of the budget are left`)
    await dedicated.add(bank, { ...served, graphPath })
    if (signal.aborted) {
      await dedicated.remove(bank)
      throw signal.reason
    }
    this.#hot.set(bank, { model, digest, bytes, folder })
    return bytes
  }

  async #drop (bank: string): Promise<void> {
    const hot = this.#hot.get(bank)
    if (hot === undefined) return
    this.#hot.delete(bank)
    this.#needs.logger.info({ model: hot.model, digest: hot.digest }, 'a domain that was hot shares the network again')
    await this.#needs.dedicated.remove(bank)
    await rm(hot.folder, { recursive: true, force: true })
  }
}
