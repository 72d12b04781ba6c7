/**
 * The composition root: builds the rooms from the settings and offers what the service can do.
 *
 * `createEngine` returns with models still on their way; `isReady` tells when all can serve, `prepared` when nothing is
 * on its way any more. `close` answers what was let in and gives everything back.
 */
import { modelErrors } from './models/errors.js'
import { readRepository } from './models/repository.js'
import { StatisticsBook, type Statistics } from './observability/statistics.js'
import { BankCache } from './runtime/bank-cache.js'
import { InferencePool } from './runtime/pool.js'
import { Administration } from './serving/administration.js'
import { Calibrations, openCalibrationJobs } from './serving/calibrations.js'
import { classify, type Classified, type PictureRequest } from './serving/classify.js'
import { domainByShape } from './serving/domain-by-size.js'
import { resolveDomain, type DomainReference } from './serving/domain-reference.js'
import {
  infer, leaseKey, turnOf, type InferenceParts, type InferenceRequest, type InferenceResult
} from './serving/inference.js'
import { inferMixed, type MixedResult } from './serving/mixed-inference.js'
import { Leases } from './serving/leases.js'
import { PictureRoom } from './serving/picture-room.js'
import { prepareModel, restoreArtefact } from './serving/prepare-model.js'
import { ProgressBoard, type Progress } from './serving/progress.js'
import { Shadows } from './serving/shadows.js'
import { ServedModels, type ModelState, type ReadyModel } from './serving/served-models.js'
import { transform, type Transformed, type TransformParts, type TransformRequest } from './serving/transform.js'
import { openFileStore } from './store/file-store.js'
import type { Jobs } from './calibration/jobs.js'
import type { Settings } from './config/schema.js'
import type { Logger } from './observability/logger.js'
import type { Metrics, Stage } from './observability/metrics.js'
import type { Tensors } from './ort/rows.js'
import type { DomainRecord } from './store/bank-store.js'

export interface EngineOptions {
  settings: Settings
  logger: Logger
  metrics: Metrics
  /** False for a short-lived engine beside a server, whose jobs are not its own. */
  recoversJobs?: boolean
}

export type InferOptions = Omit<InferenceRequest, 'reference' | 'feeds'>

type StageTimes = Partial<Record<'decodeMs' | 'queueMs' | 'inferMs' | 'encodeMs', number>>

/** Throws MANIFEST_INVALID, MODEL_FILE_UNREADABLE, STORE_UNWRITABLE, or the errno error of the jobs' folder. */
export async function createEngine (options: EngineOptions): Promise<Engine> {
  const { settings, logger } = options
  const entries = await readRepository(settings.modelsDir)
  const { store, report } = await openFileStore(settings.domainsDir)
  for (const path of report.removed) logger.info({ path }, 'removed what an interrupted change had left')
  for (const { path, reason } of report.quarantined) logger.error({ path, reason }, 'a stored bank is in quarantine')
  const jobs = await openCalibrationJobs(store, settings.jobsDir, options.recoversJobs !== false, logger)
  return new Engine(options, new ServedModels(entries), store, jobs)
}

export class Engine {
  /** What an admin may do. */
  readonly admin: Administration
  /** Domains from unlabelled images. */
  readonly calibrations: Calibrations
  /** Settles when no model is being prepared any more; failures are in the models' states. */
  readonly prepared: Promise<void>
  readonly #models: ServedModels
  readonly #parts: TransformParts
  readonly #settings: Settings
  readonly #closing = new AbortController()

  constructor (
    { settings, logger, metrics }: EngineOptions, models: ServedModels, store: InferenceParts['store'], jobs: Jobs
  ) {
    const { workers, expressThreads, runMs } = settings
    this.#settings = settings
    this.#models = models
    const banks = new BankCache(settings.bankCacheBytes, {
      onHit: () => metrics.countBankLookup('hit'),
      onMiss: () => metrics.countBankLookup('miss'),
      onEviction: () => metrics.countBankEviction()
    })
    const pool = new InferencePool({
      workers,
      expressThreads,
      queueRows: settings.queueRows,
      runRowsMax: settings.runRows,
      bankBytesMax: Math.floor(settings.bankCacheBytes / (workers + expressThreads)),
      runMsMax: runMs,
      onUnloadable: async ({ name }, error) => {
        logger.warn({ err: error, model: name }, 'a new inference thread cannot load the compiled model')
        await restoreArtefact({ settings, logger, signal: this.#closing.signal }, models.ready(name))
      },
      observer: {
        onRun: ({ modelName, rows }) => {
          metrics.observeRun(modelName, rows)
          // The worker is idle only after this.
          setImmediate(() => shadows.pump())
        },
        onWorkerGone: (error, restartMs) => {
          metrics.countWorkerRestart()
          logger.error({ err: error, restartMs }, 'an inference thread ended and is replaced')
        },
        onWorkerStuck: (stuck) => logger.error({ stuck, runMs }, 'an inference thread is stuck in a run and set aside'),
        onDropped: () => metrics.countDropped()
      }
    })
    const shadows = new Shadows({ store, pool, banks, metrics, runRows: settings.runRows })
    this.#parts = {
      store,
      shadows,
      pool,
      banks,
      leases: new Leases(),
      metrics,
      statistics: new StatisticsBook(),
      runRows: settings.runRows,
      room: new PictureRoom({ picturesMax: settings.queueRows, bytesMax: settings.pictureBytes }),
      progress: new ProgressBoard(),
      imagePixels: settings.imagePixels,
      workers
    }
    this.admin = new Administration(this.#parts, models)
    this.calibrations = new Calibrations(this.#parts, models, settings, jobs)
    metrics.setGauges({
      queueRows: () => pool.backlog.rows,
      queueRowsMax: () => settings.queueRows,
      queueDomains: () => pool.backlog.domains,
      workers: () => workers + expressThreads,
      workersReady: () => pool.workers.ready,
      workersBusy: () => pool.workers.busy,
      workersStuck: () => pool.workers.stuck,
      cachedBanks: () => banks.size.count,
      cachedBankBytes: () => banks.size.bytes,
      workerBanks: () => pool.workers.banks,
      workerBankBytes: () => pool.workers.bankBytes,
      models: () => models.all()
    })
    this.prepared = this.#prepareAll(logger)
  }

  /** True while every model is ready, and some thread to run them. */
  get isReady (): boolean {
    return this.#models.isReady && this.#parts.pool.isServing
  }

  /** True when every inference thread is stuck, so that only a restart of the process helps. */
  get isLost (): boolean {
    return this.#parts.pool.isLost
  }

  /** Inference threads that take work, are at it, and are stuck. */
  get workers (): Pick<InferencePool['workers'], 'ready' | 'busy' | 'stuck'> {
    return this.#parts.pool.workers
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
  domains (model: string): DomainRecord[] {
    this.#models.get(model)
    return this.#parts.store.domains(model)
  }

  /** Throws MODEL_NOT_FOUND or DOMAIN_NOT_FOUND. */
  domain (model: string, domain: string): DomainRecord {
    this.#models.get(model)
    return this.#parts.store.domain(model, domain) ?? resolveDomain(this.#parts.store, model, { domain }).record
  }

  /** Milliseconds until what waits now will have run, at the pace of the last runs. */
  get drainMs (): number {
    return this.#parts.pool.backlog.drainMs
  }

  /**
   * Refuses before a body is read what would be refused after it: a flood must not cost more than its headers.
   * `rows` is how many it seems to have. Without a reference, which a body may still give, only a queue without any
   * room refuses.
   * Throws QUEUE_FULL, and what `readyModel` throws.
   */
  requireRoom (name: string, reference: DomainReference | undefined, rows: number): void {
    this.#models.ready(name)
    this.#parts.pool.requireRoom(turnOf(name, reference?.domain ?? ''), rows)
  }

  /** Without a reference the domain that the manifest tells answers. Rejects with what serving/inference.ts throws. */
  async infer (
    name: string, reference: DomainReference | undefined, feeds: Tensors, options: InferOptions = {}
  ): Promise<InferenceResult> {
    const model = this.#models.ready(name)
    const result = await infer(this.#parts, model, {
      reference: reference ?? { domain: domainByShape(this.#parts.store, model.entry.manifest, feeds) },
      feeds,
      ...options
    })
    return this.#observed(name, result, options.inputMs)
  }

  /**
   * Each row under a domain of its own, or the one that `infer` would choose. Rejects with what
   * serving/mixed-inference.ts throws.
   */
  async inferMixed (
    name: string, references: ReadonlyArray<DomainReference | undefined>, feeds: Tensors, options: InferOptions = {}
  ): Promise<MixedResult> {
    const model = this.#models.ready(name)
    const otherwise = { domain: domainByShape(this.#parts.store, model.entry.manifest, feeds) }
    const result = await inferMixed(this.#parts, model, {
      references: references.map((reference) => reference ?? otherwise), feeds, ...options
    })
    return this.#observed(name, result, options.inputMs)
  }

  /** Rows that one request may have at most. */
  get rowsMax (): number {
    return this.#settings.queueRows
  }

  /** Counts how long the answer of a request took to write. */
  observeEncoding (model: string, answeredBy: MixedResult['answeredBy'], ms: number): void {
    this.#parts.metrics.observeStage(model, 'encode', ms / 1000)
    for (const { domain, version } of answeredBy) {
      this.#parts.statistics.countOutput(leaseKey(model, domain, version), ms / answeredBy.length)
    }
  }

  /** What one version of a domain has been asked so far. */
  statistics (model: string, domain: string, version: number): Statistics {
    return this.#parts.statistics.of(leaseKey(model, domain, version))
  }

  /** Classifies a picture. Rejects with TASK_MISMATCH and what serving/classify.ts rejects with. */
  async classify (name: string, request: PictureRequest, top: number): Promise<Classified> {
    const model = this.#models.ready(name)
    const { manifest } = model.entry
    if (manifest.task !== 'classification') throw otherTask(name, manifest.task)
    return this.#observed(name, await classify(this.#parts, model, manifest, request, top))
  }

  /** Turns a picture into another. Rejects with TASK_MISMATCH and what serving/transform.ts rejects with. */
  async transform (name: string, request: TransformRequest): Promise<Transformed> {
    const model = this.#models.ready(name)
    const { manifest } = model.entry
    if (manifest.task !== 'image-to-image') throw otherTask(name, manifest.task)
    return this.#observed(name, await transform(this.#parts, model, manifest, request))
  }

  /** How far a picture has got whose request gave this key. Throws PROGRESS_NOT_FOUND. */
  progress (key: string): Progress {
    return this.#parts.progress.get(key)
  }

  #observed<Timed extends StageTimes> (name: string, result: Timed, decodeMs = result.decodeMs): Timed {
    const { queueMs, inferMs, encodeMs } = result
    for (const [stage, ms] of Object.entries({ decode: decodeMs, queue: queueMs, infer: inferMs, encode: encodeMs })) {
      if (ms !== undefined) this.#parts.metrics.observeStage(name, stage as Stage, ms / 1000)
    }
    return result
  }

  async close (): Promise<void> {
    this.#closing.abort(new Error('the server is shutting down'))
    await this.calibrations.close()
    await this.prepared
    await this.#parts.pool.close()
  }

  /** One model after another: each compilation and warm-up would slow the others down. */
  async #prepareAll (logger: Logger): Promise<void> {
    for (const { entry } of this.#models.all()) {
      try {
        const parts = { ...this.#parts, settings: this.#settings, logger, signal: this.#closing.signal }
        this.#models.setReady(await prepareModel(parts, entry))
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(String(thrown))
        this.#models.setFailed(entry, error)
        if (this.#closing.signal.aborted) return
        logger.error({ err: error, model: entry.manifest.name }, 'the model cannot be served')
      }
    }
  }
}

function otherTask (name: string, task: string): Error {
  return modelErrors.TASK_MISMATCH(`model "${name}" does something else: ${task}`, { received: task })
}
