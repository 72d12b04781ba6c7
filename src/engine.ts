/**
 * The composition root: builds the rooms from the settings and offers what the service can do.
 *
 * `createEngine` returns with models still on their way; `isReady` tells when all can serve, `prepared` when nothing is
 * on its way any more. `close` answers what was let in and gives everything back.
 */
import { topPredictions, type Prediction } from './models/classification.js'
import { preprocessingOf, type Preprocessing } from './models/manifest.js'
import { readRepository } from './models/repository.js'
import { preprocessImage, type ImageTensor } from './imaging/preprocess.js'
import { BankCache } from './runtime/bank-cache.js'
import { runtimeErrors } from './runtime/errors.js'
import { InferencePool } from './runtime/pool.js'
import { Administration } from './serving/administration.js'
import { resolveDomain, type DomainReference } from './serving/domain-reference.js'
import { infer, leaseKey, turnOf, type InferenceParts, type InferenceResult } from './serving/inference.js'
import { inferMixed, type MixedResult } from './serving/mixed-inference.js'
import { Leases } from './serving/leases.js'
import { prepareModel } from './serving/prepare-model.js'
import { ServedModels, type ModelState, type ReadyModel } from './serving/served-models.js'
import { openFileStore } from './store/file-store.js'
import { StatisticsBook, type Statistics } from './observability/statistics.js'
import type { Settings } from './config/schema.js'
import type { Logger } from './observability/logger.js'
import type { Metrics } from './observability/metrics.js'
import type { Tensors } from './ort/rows.js'
import type { DomainRecord } from './store/bank-store.js'

export interface EngineOptions {
  settings: Settings
  logger: Logger
  metrics: Metrics
}

export interface InferOptions {
  /** Drops the request while it waits. */
  signal?: AbortSignal
  /** What reading the request took, for the statistics. */
  inputMs?: number
}

export interface PredictResult extends Omit<InferenceResult, 'outputs'> {
  predictions: Prediction[]
  decodeMs: number
}

/** Throws MANIFEST_INVALID, MODEL_FILE_UNREADABLE or STORE_UNWRITABLE. */
export async function createEngine (options: EngineOptions): Promise<Engine> {
  const { settings, logger } = options
  const entries = await readRepository(settings.modelsDir)
  const { store, report } = await openFileStore(settings.domainsDir)
  for (const path of report.removed) logger.info({ path }, 'removed what an interrupted change had left')
  for (const { path, reason } of report.quarantined) logger.error({ path, reason }, 'a stored bank is in quarantine')
  return new Engine(options, new ServedModels(entries), store)
}

export class Engine {
  /** What an admin may do. */
  readonly admin: Administration
  /** Settles when no model is being prepared any more; failures are in the models' states. */
  readonly prepared: Promise<void>
  readonly #models: ServedModels
  readonly #parts: InferenceParts
  readonly #settings: Settings
  readonly #closing = new AbortController()
  #decoding = 0

  constructor ({ settings, logger, metrics }: EngineOptions, models: ServedModels, store: InferenceParts['store']) {
    this.#settings = settings
    this.#models = models
    const banks = new BankCache(settings.bankCacheBytes, {
      onHit: () => metrics.countBankLookup('hit'),
      onMiss: () => metrics.countBankLookup('miss'),
      onEviction: () => metrics.countBankEviction()
    })
    const pool = new InferencePool({
      workers: settings.workers,
      queueRows: settings.queueRows,
      runRowsMax: settings.runRows,
      bankBytesMax: settings.bankCacheBytes,
      observer: {
        onRun: ({ modelName, rows }) => metrics.observeRun(modelName, rows),
        onWorkerGone: (error, restartMs) => {
          metrics.countWorkerRestart()
          logger.error({ err: error, restartMs }, 'an inference thread ended and is replaced')
        },
        onDropped: () => metrics.countDropped()
      }
    })
    const leases = new Leases()
    const statistics = new StatisticsBook()
    this.#parts = { store, pool, banks, leases, metrics, statistics, runRows: settings.runRows }
    this.admin = new Administration(this.#parts, models)
    metrics.setGauges({
      queueRows: () => pool.backlog.rows,
      workersReady: () => pool.workers.ready,
      workersBusy: () => pool.workers.busy,
      cachedBanks: () => banks.size.count,
      cachedBankBytes: () => banks.size.bytes
    })
    this.prepared = this.#prepareAll(logger)
  }

  get isReady (): boolean {
    return this.#models.isReady
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
    const record = this.#parts.store.domain(model, domain)
    return record ?? resolveDomain(this.#parts.store, model, { domain }).record
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

  /** Without a reference the model's default domain answers. Rejects with what serving/inference.ts throws. */
  async infer (
    name: string, reference: DomainReference | undefined, feeds: Tensors, options: InferOptions = {}
  ): Promise<InferenceResult> {
    const model = this.#models.ready(name)
    const result = await infer(this.#parts, model, {
      reference: reference ?? { domain: model.entry.manifest.defaultDomain },
      feeds,
      ...options
    })
    this.#observeStages(name, options.inputMs, result)
    return result
  }

  /** Each row under a domain of its own. Rejects with what serving/mixed-inference.ts throws. */
  async inferMixed (
    name: string, references: readonly DomainReference[], feeds: Tensors, options: InferOptions = {}
  ): Promise<MixedResult> {
    const result = await inferMixed(this.#parts, this.#models.ready(name), { references, feeds, ...options })
    this.#observeStages(name, options.inputMs, result)
    return result
  }

  #observeStages (
    model: string, inputMs = 0, { queueMs, inferMs }: Pick<InferenceResult, 'queueMs' | 'inferMs'>
  ): void {
    const { metrics } = this.#parts
    metrics.observeStage(model, 'decode', inputMs / 1000)
    metrics.observeStage(model, 'queue', queueMs / 1000)
    metrics.observeStage(model, 'infer', inferMs / 1000)
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

  /** Classifies a picture. Rejects with IMAGE_UNREADABLE, IMAGE_TOO_LARGE and what `infer` rejects with. */
  async predict (
    name: string, reference: DomainReference | undefined, image: Uint8Array, top: number, signal?: AbortSignal
  ): Promise<PredictResult> {
    const { entry: { manifest, labels } } = this.#models.ready(name)
    const chosen = reference ?? { domain: manifest.defaultDomain }
    resolveDomain(this.#parts.store, name, chosen)
    const begin = performance.now()
    const { dims, data } = await this.#preprocess(image, preprocessingOf(manifest, chosen.domain))
    const decodeMs = performance.now() - begin
    const feeds: Tensors = { [manifest.input.name]: { type: 'float32', dims, data } }
    const { outputs, ...rest } = await this.infer(name, chosen, feeds, {
      inputMs: decodeMs, ...(signal === undefined ? {} : { signal })
    })
    const logits = outputs[manifest.output.name]!.data as ArrayLike<number>
    return { ...rest, decodeMs, predictions: topPredictions(logits, labels, manifest.output.activation, top) }
  }

  /** Pictures that are being decoded count against the same limit as rows that wait, and are refused alike. */
  async #preprocess (image: Uint8Array, rules: Preprocessing): Promise<ImageTensor> {
    const { queueRows, imagePixels } = this.#settings
    if (this.#decoding >= queueRows) {
      throw runtimeErrors.QUEUE_FULL('the server has no room for more pictures now', {
        expected: `at most ${queueRows} pictures decoded at once`, received: this.#decoding + 1
      })
    }
    this.#decoding++
    try {
      return await preprocessImage(image, rules, imagePixels)
    } finally {
      this.#decoding--
    }
  }

  async close (): Promise<void> {
    this.#closing.abort(new Error('the server is shutting down'))
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
