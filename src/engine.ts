/**
 * The composition root: builds the rooms from the settings and offers what the service can do.
 *
 * `createEngine` returns with models still on their way; `isReady` tells when all can serve, `prepared` when nothing is
 * on its way any more. `close` answers what was let in and gives everything back.
 */
import { dedicateInProcess as dedicate } from './compiler/compile-process.js'
import { calibrateInThread } from './calibration/calibration-thread.js'
import { readRepository } from './models/repository.js'
import { TrafficBook } from './observability/traffic.js'
import { BankCache } from './runtime/bank-cache.js'
import { InferencePool } from './runtime/pool.js'
import { Answering } from './serving/answering/answering.js'
import { PictureRoom } from './serving/answering/picture-room.js'
import { ProgressBoard } from './serving/answering/progress.js'
import { Shadows } from './serving/answering/shadows.js'
import { Calibrations, openCalibrationJobs } from './serving/calibrating/calibrations.js'
import { openCandidates, type CandidatesReport, type Candidates } from './serving/collecting/candidates.js'
import { Administration } from './serving/changing/administration.js'
import { bankKey } from './serving/banks-to-run.js'
import { resolveDomain, withNews } from './serving/domain-reference.js'
import { showParts } from './serving/shown-parts.js'
import { Recognition } from './serving/recognising/recognition.js'
import { candidatesOff, driftOff, openDrift, type Drift, type DriftReport } from './serving/watching/drift.js'
import { HotDomains, type HotVersion } from './serving/heating/hot-domains.js'
import { Leases } from './serving/leases.js'
import { ModelStates, type ModelState, type ReadyModel } from './serving/model-states.js'
import {
  bringToWorkers, obtainFromCache, restoreArtefact, type PreparationNeeds
} from './serving/preparing/preparation.js'
import { ReadAhead } from './serving/preparing/read-ahead.js'
import type { Jobs } from './calibration/jobs.js'
import type { Settings } from './config/schema.js'
import type { Logger } from './observability/logger.js'
import type { Metrics } from './observability/metrics.js'
import type { BankStore, DomainRecord, VersionRecord } from './store/bank-store.js'
import type { OpenedStore } from './store/open-store.js'

export interface EngineOptions {
  settings: Settings
  logger: Logger
  metrics: Metrics
  store: BankStore
  /** Where servers share the store, and so what is known of jobs. */
  database?: OpenedStore['database']
  /** False for a short-lived engine beside a server, whose jobs are not its own. */
  recoversJobs?: boolean
  /** True over a store that is only read: no model gets a default domain that it lacks. */
  isReading?: boolean
}

/** Throws MANIFEST_INVALID, MODEL_FILE_UNREADABLE, or the errno error of the jobs' folder. */
export async function createEngine (options: EngineOptions): Promise<Engine> {
  const { settings, logger, store, database } = options
  const entries = await readRepository(settings.modelsDir)
  const jobs = await openCalibrationJobs({
    store, database, folder: settings.jobsDir, recovers: options.recoversJobs !== false, logger
  })
  return new Engine(options, new ModelStates(entries), jobs)
}

export class Engine {
  /** What requests may ask. */
  readonly answering: Answering
  /** What an admin may do. */
  readonly admin: Administration
  /** Domains from unlabelled images. */
  readonly calibrations: Calibrations
  /** Drift of what is answered; undefined where nobody looks for it. */
  readonly watching: Drift | undefined
  /** Settles when no model is being prepared any more; failures are in the models' states. */
  readonly prepared: Promise<void>
  readonly #models: ModelStates
  readonly #store: BankStore
  readonly #pool: InferencePool
  readonly #hot: HotDomains
  readonly #candidates: Candidates | undefined
  readonly #settings: Settings
  readonly #banks: BankCache
  readonly #metrics: Metrics
  readonly #preparation: PreparationNeeds
  readonly #closing = new AbortController()

  constructor (options: EngineOptions, models: ModelStates, jobs: Jobs) {
    const { settings, logger, metrics, store, database } = options
    const { workers, runRows, runBytes } = settings
    this.#settings = settings
    this.#models = models
    this.#store = store
    this.#metrics = metrics
    const banks = this.#banks = new BankCache(settings.bankCacheBytes, {
      onHit: () => metrics.countBankLookup('hit'),
      onMiss: () => metrics.countBankLookup('miss'),
      onEviction: () => metrics.countBankEviction()
    })
    const pool = this.#pool = this.#poolOf(options, () => shadows.pump())
    const shadows = new Shadows({ store, pool, banks, metrics, runRows })
    const leases = new Leases()
    const hot = this.#hot = new HotDomains({
      dedicated: pool.dedicated, store, leases, metrics, logger, dedicate, now: () => performance.now()
    }, settings)
    const recognition = new Recognition({ store, pool, metrics, logger, runRows, runBytes }, {
      fitMin: settings.autoFitMin, last: settings.autoLast, streams: settings.autoStreams
    })
    const shared = { store, pool, banks, leases, metrics, traffic: new TrafficBook(), shadows, hot, runRows, runBytes }
    const room = new PictureRoom({ picturesMax: settings.queueRows, bytesMax: settings.pictureBytes })
    metrics.showHeld('picture', room)
    const drift = this.watching = openDrift(settings, {
      store, recognition, metrics, logger, onLook: (row) => this.#candidates?.take(row)
    })
    this.answering = new Answering({
      ...shared, recognition, drift, room, progress: new ProgressBoard(), imagePixels: settings.imagePixels, workers
    }, models)
    this.admin = new Administration(shared, models)
    const making = { store, registerMade: this.admin.registerMade.bind(this.admin), calibrate: calibrateInThread }
    this.calibrations = new Calibrations(making, models, settings, jobs)
    this.#candidates = openCandidates(settings, { ...making, pool, logger, metrics, models })
    this.#preparation = {
      obtain: obtainFromCache(settings, this.#closing.signal),
      pool,
      store,
      logger,
      ...(options.isReading === true ? {} : { registerMade: making.registerMade })
    }
    showParts(metrics, { queueRows: settings.queueRows, models, store, pool, banks, hot })
    hot.start()
    this.prepared = this.#prepareAll(logger)
    if (database !== undefined) new ReadAhead({ ...shared, recognition, models, logger }).start(this.#closing.signal)
  }

  #poolOf ({ settings, logger, metrics }: EngineOptions, onIdle: () => void): InferencePool {
    const { workers, expressThreads, runMs } = settings
    return new InferencePool({
      workers,
      expressThreads,
      queueRows: settings.queueRows,
      runRowsMax: settings.runRows,
      bankBytesMax: Math.floor(settings.bankCacheBytes / (workers + expressThreads)),
      runMsMax: runMs,
      onUnloadable: async ({ name }, error) => {
        logger.warn({ err: error, model: name }, 'a new inference thread cannot load the compiled model')
        await restoreArtefact(this.#preparation, this.#models.ready(name))
      },
      onDedicatedLost: (bank, error) => this.#hot.lose(bank, error),
      observer: {
        onRun: ({ modelName, rows, isDedicated }) => {
          metrics.observeRun(modelName, rows)
          if (isDedicated) metrics.countHotRows(modelName, rows)
          // The worker is idle only after this.
          setImmediate(onIdle)
        },
        onWorkerGone: (error, restartMs) => {
          metrics.countWorkerRestart()
          logger.error({ err: error, restartMs }, 'an inference thread ended and is replaced')
        },
        onWorkerStuck: (stuck) => logger.error({ stuck, runMs }, 'an inference thread is stuck in a run and set aside'),
        onDropped: () => metrics.countDropped()
      }
    })
  }

  /** True while every model is ready, and some thread to run them. */
  get isReady (): boolean {
    return this.#models.isReady && this.#pool.isServing
  }

  /** Milliseconds since the domains were surely those of the store. */
  get storeAgeMs (): number {
    return this.#store.ageMs
  }

  /** Resolves when what other servers have changed so far is known here, or cannot be. */
  async catchUp (): Promise<void> {
    await this.#store.catchUp()
  }

  /** True when every inference thread is stuck, so that only a restart of the process helps. */
  get isLost (): boolean {
    return this.#pool.isLost
  }

  /** Inference threads that take work, are at it, and are stuck. */
  get workers (): Pick<InferencePool['workers'], 'ready' | 'busy' | 'stuck'> {
    return this.#pool.workers
  }

  models (): ModelState[] {
    return this.#models.all()
  }

  /** Throws MODEL_NOT_FOUND. */
  model (name: string): ModelState {
    return this.#models.get(name)
  }

  /** Throws MODEL_NOT_FOUND, MODEL_NOT_READY or MODEL_FAILED. */
  readyModel (name: string): ReadyModel {
    return this.#models.ready(name)
  }

  /** Throws MODEL_NOT_FOUND. */
  domains (model: string): readonly DomainRecord[] {
    this.#models.get(model)
    return this.#store.domains(model)
  }

  /** Throws MODEL_NOT_FOUND or DOMAIN_NOT_FOUND. */
  domain (model: string, domain: string): DomainRecord {
    this.#models.get(model)
    return this.#store.domain(model, domain) ?? resolveDomain(this.#store, model, { domain }).record
  }

  /** The same, but for another look at what other servers have made. Rejects likewise. */
  async domainNow (model: string, domain: string): Promise<DomainRecord> {
    this.#models.get(model)
    if (this.#store.domain(model, domain) === undefined) await this.#store.catchUp()
    return this.domain(model, domain)
  }

  /** Versions of a model that get most of its traffic and run on a network of their own. */
  hotVersions (model: string): HotVersion[] {
    return this.#hot.versionsOf(model)
  }

  /** Bytes of a version's bank among the folded banks in memory; undefined when it is not there. */
  residentBytes (model: string, { digest }: Pick<VersionRecord, 'digest'>): number | undefined {
    const state = this.#models.get(model)
    return state.state === 'ready' ? this.#banks.bytesOf(bankKey(state, digest)) : undefined
  }

  /**
   * Whether pictures are still those of the domain. Rejects with what `readyModel` throws, DOMAIN_NOT_FOUND,
   * DOMAIN_INACTIVE and DRIFT_OFF.
   */
  async drift (model: string, domain: string): Promise<DriftReport> {
    const ready = this.#models.ready(model)
    const resolved = await withNews(this.#store, () => resolveDomain(this.#store, model, { domain }))
    if (this.watching === undefined) throw driftOff(this.#settings)
    return await this.watching.report(ready, resolved)
  }

  /** Resolves once what is to be looked at for drift has been, and gathered where it fits no domain. */
  async driftSettled (): Promise<void> {
    await this.watching?.settled()
    await this.#candidates?.settled()
  }

  /** What has become of pictures that fit no domain. Throws MODEL_NOT_FOUND and DRIFT_OFF. */
  candidates (model: string): CandidatesReport {
    this.#models.get(model)
    if (this.#candidates === undefined) throw candidatesOff(this.#settings)
    return this.#candidates.report(model)
  }

  /** Milliseconds until what waits now will have run, at the pace of the last runs. */
  get drainMs (): number {
    return this.#pool.backlog.drainMs
  }

  /** What the activations of one run may take. */
  get runBytes (): number {
    return this.#settings.runBytes
  }

  /** Rows that one request may have at most. */
  get rowsMax (): number {
    return this.#settings.queueRows
  }

  async close (): Promise<void> {
    this.#closing.abort(new Error('the server is shutting down'))
    this.#metrics.history.stop()
    await this.calibrations.close()
    await this.#candidates?.close()
    await this.prepared
    await Promise.all([this.#hot.close(), this.#pool.close()])
  }

  /** One model after another: each compilation and warm-up would slow the others down. */
  async #prepareAll (logger: Logger): Promise<void> {
    for (const { entry } of this.#models.all()) {
      try {
        this.#models.setReady(await bringToWorkers(this.#preparation, entry))
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(String(thrown))
        this.#models.setFailed(entry, error)
        if (this.#closing.signal.aborted) return
        logger.error({ err: error, model: entry.manifest.name }, 'the model cannot be served')
      }
    }
  }
}
