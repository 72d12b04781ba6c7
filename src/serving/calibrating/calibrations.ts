/**
 * Calibrations as jobs: what was asked is checked at once, the work is done in a thread of its own, and a bank that
 * came out well is registered in one step. Whatever goes wrong before, nothing is registered.
 */
import { bankDigest, type Bank } from '../../bank/bank.js'
import { readOwnBank } from '../../bank/formats/bank-safetensors.js'
import type {
  calibrateInThread, CalibrationOutcome
} from '../../calibration/calibration-thread.js'
import { contributionOf, contributionParts } from '../../calibration/contributions.js'
import { calibrationErrors } from '../../calibration/errors.js'
import { JobFiles } from '../../calibration/job-files.js'
import { Jobs, type JobRecord } from '../../calibration/jobs.js'
import { selectLayers, type CalibrationOptions } from '../../calibration/options.js'
import { signatureParts } from '../../signature/file-parts.js'
import { calibrationRequest, type Limits, type Uploads } from './calibration-request.js'
import { NO_PARTS, partsKept, withSignature } from './signatures.js'
import { modelErrors } from '../../models/errors.js'
import type { PreprocessingOverrides } from '../../models/preprocessing.js'
import { checkRevision } from '../../store/changes.js'
import { parseDomainReference, resolveDomain } from '../domain-reference.js'
import { autoUnsupported } from '../recognising/recognition.js'
import {
  joinExtras, versionFile, type Administration, type FileExtras, type Registered, type RegistrationOptions
} from '../changing/administration.js'
import { contribute, type GivenContribution } from './contribute.js'
import type { BankStore, ExpectedRevision, VersionSource } from '../../store/bank-store.js'
import type { OpenedStore } from '../../store/open-store.js'
import type { Logger } from '../../observability/logger.js'
import type { ReadyModel, ModelStates } from '../model-states.js'

export type { Uploads } from './calibration-request.js'

export interface CalibrationResult extends Omit<CalibrationOutcome, 'bank' | 'moments' | 'signature'> {
  model: string
  domain: string
  /** Absent when nothing was to be registered. */
  version?: number
  digest: string
  active: boolean
  /** Whether the version has a signature, by which it can be chosen. */
  hasSignature: boolean
}

/** Sources of versions that a job has registered. */
const MADE_HERE: readonly VersionSource[] = ['calibration', 'signature']

function sourceOfMode ({ mode }: Pick<CalibrationOptions, 'mode'>): VersionSource {
  return mode === 'signature' ? 'signature' : 'calibration'
}

export interface JobsPlace {
  store: BankStore
  /** Where servers share their jobs; otherwise they are in the folder. */
  database?: OpenedStore['database'] | undefined
  folder: string
  /** False leaves alone what an earlier process has left: it may still be running. */
  recovers: boolean
  logger: Logger
}

/** Throws the errno error when the folder cannot be used, and STORE_UNREADABLE. */
export async function openCalibrationJobs (
  { store, database, folder, recovers, logger }: JobsPlace
): Promise<Jobs> {
  const told = {
    findCommit: (record: JobRecord) => findCommit(store, record),
    onLost: ({ id, subject }: JobRecord) => logger.warn({ job: id, ...subject }, 'a calibration was cut off by a stop'),
    onFault: (error: unknown) => logger.error({ err: error }, 'a calibration job failed')
  }
  const records = database === undefined
    ? await JobFiles.open(folder)
    : new (await import('../../calibration/job-table.js')).JobTable({ database, ...told })
  return await Jobs.open({ records, recovers, ...told })
}

/** What calibrating needs. */
export interface CalibrationNeeds {
  store: Pick<BankStore, 'domain' | 'domains' | 'read'>
  registerMade: Administration['registerMade']
  /** Does the work. */
  calibrate: typeof calibrateInThread
}

export class Calibrations {
  readonly #needs: CalibrationNeeds
  readonly #models: ModelStates
  readonly #limits: Limits
  readonly #jobs: Jobs

  constructor (needs: CalibrationNeeds, models: ModelStates, limits: Limits, jobs: Jobs) {
    this.#needs = needs
    this.#models = models
    this.#limits = limits
    this.#jobs = jobs
  }

  /** Before a body is read. Throws JOB_QUEUE_FULL, MODEL_NOT_FOUND, MODEL_NOT_READY or MODEL_FAILED. */
  requireRoom (model: string): void {
    this.#models.ready(model)
    this.#jobs.requireRoom()
  }

  /**
   * Starts a calibration of `domain`, new or not. Throws, besides what `requireRoom` throws, DOMAIN_NOT_FOUND and
   * VERSION_NOT_FOUND for the base, CALIBRATION_LAYER_UNKNOWN and CALIBRATION_TOO_FEW_IMAGES; PRECONDITION_FAILED now,
   * or as the job's error, when the domain is not or no longer at the revision that the caller expects.
   */
  async start (
    model: string, domain: string, uploads: Uploads, options: CalibrationOptions, expected?: ExpectedRevision
  ): Promise<JobRecord> {
    const ready = this.#models.ready(model)
    checkRevision(domain, this.#needs.store.domain(model, domain), expected)
    const base = await this.#checkedBase(ready, domain, uploads, options)
    const subject = { kind: 'calibration', model, domain, mode: options.mode }
    return await this.#jobs.submit(subject, async ({ onProgress, signal, beginCommit }) => {
      const made = await this.#make(ready, domain, base, uploads, options, onProgress, signal)
      await beginCommit({ digest: bankDigest(made.bank) })
      return await this.#register(ready, domain, made, options, expected)
    })
  }

  async #checkedBase (
    ready: ReadyModel, domain: string, uploads: Uploads, options: CalibrationOptions
  ): Promise<Base> {
    if (uploads.kind === 'pictures' && uploads.files.length === 0) {
      throw calibrationErrors.CALIBRATION_TOO_FEW_IMAGES('there are no images', {
        expected: `at least ${options.minimumImages}`, received: 0
      })
    }
    const { task } = ready.entry.manifest
    const isSignature = options.mode === 'signature'
    if (uploads.kind === 'pictures' && task !== 'classification' && !(isSignature && task === 'image-to-image')) {
      throw modelErrors.TASK_MISMATCH('pictures of this model have no one size; calibrate it with tensors', {
        expected: 'tensors', received: 'pictures'
      })
    }
    if (ready.artefact.inputs.length > 1) {
      throw modelErrors.TASK_MISMATCH('models with several inputs are not calibrated here; register banks of theirs', {
        expected: 1, received: ready.artefact.inputs.length
      })
    }
    if (isSignature && ready.artefact.stem === undefined) throw autoUnsupported(ready.entry.manifest.name)
    selectLayers(ready.artefact.layers.map(({ key }) => key), options.layers)
    return await this.#base(ready, options.base ?? (isSignature ? domain : undefined))
  }

  /**
   * A calibration that is waited for, without a job. The bank is registered, or only given back as the file that it
   * would be. Throws what `start` and the calibration throw.
   */
  async run (
    model: string, domain: string, uploads: Uploads, options: CalibrationOptions,
    { isRegistered, onProgress }: { isRegistered: boolean, onProgress (share: number): void }
  ): Promise<{ file: Uint8Array, result: CalibrationResult }> {
    const ready = this.#models.ready(model)
    const base = await this.#checkedBase(ready, domain, uploads, options)
    const made = await this.#make(ready, domain, base, uploads, options, onProgress)
    const file = versionFile(ready, made.bank, sourceOfMode(options), made.extras)
    const register = () => this.#register(ready, domain, made, options)
    return { file, result: isRegistered ? await register() : resultOf(ready, domain, made) }
  }

  /** Newest first; of other servers that share the store too. */
  async jobs (): Promise<JobRecord[]> {
    return await this.#jobs.listAll()
  }

  /** Throws JOB_NOT_FOUND. */
  async job (id: string): Promise<JobRecord> {
    return await this.#jobs.find(id)
  }

  /** Resolves when the job has ended, however. Throws JOB_NOT_FOUND. */
  async ended (id: string): Promise<JobRecord> {
    return await this.#jobs.ended(id)
  }

  /** Throws JOB_NOT_FOUND. */
  async cancel (id: string): Promise<JobRecord> {
    return await this.#jobs.cancel(id)
  }

  /** Ends what runs; what waits is told as lost. */
  async close (): Promise<void> {
    await this.#jobs.close()
  }

  /** Throws what contribute.ts throws. */
  async contribute (
    model: string, domain: string, given: GivenContribution, options: RegistrationOptions
  ): Promise<Registered & { images: number }> {
    return await contribute(this.#needs, this.#models.ready(model), domain, given, options)
  }

  async #base (ready: ReadyModel, reference: string | undefined): Promise<Base> {
    const { name, defaultDomain } = ready.entry.manifest
    // Over a store that is only read the model's own statistics may not have become a domain.
    if (reference === undefined && this.#needs.store.domain(name, defaultDomain) === undefined) {
      return { bank: ready.artefact.ownBank }
    }
    const wanted = reference === undefined ? { domain: defaultDomain } : parseDomainReference(reference)
    const { record, version } = resolveDomain(this.#needs.store, name, wanted)
    const file = await this.#needs.store.read(name, record.domain, version.version)
    return { bank: readOwnBank(file, ready.artefact.layers), file }
  }

  async #make (
    ready: ReadyModel, domain: string, { bank: base, file }: Base, uploads: Uploads, options: CalibrationOptions,
    onProgress: (share: number) => void, signal?: AbortSignal
  ): Promise<Made> {
    const preprocessing = this.#registeredPreprocessing(ready, domain)
    const request = calibrationRequest(ready, domain, base, uploads, options, this.#limits, preprocessing)
    const { bank, moments, signature, ...outcome } = await this.#needs.calibrate(request, onProgress, signal)
    const sums = contributionOf(options.mode, base, outcome.report.images, moments)
    const kept = options.mode === 'signature' && file !== undefined ? partsKept(file, ready.artefact.layers) : NO_PARTS
    return {
      bank,
      extras: joinExtras(
        sums === undefined ? kept.others : contributionParts(sums),
        signatureParts(signature === undefined ? [] : withSignature(kept.signatures, signature))
      ),
      hasSignature: signature !== undefined,
      outcome
    }
  }

  /** A new version of a domain sees pictures as the active one does. */
  #registeredPreprocessing ({ entry }: ReadyModel, domain: string): PreprocessingOverrides | undefined {
    const record = this.#needs.store.domain(entry.manifest.name, domain)
    return record?.versions.find(({ version }) => version === record.active)?.preprocessing
  }

  async #register (
    ready: ReadyModel, domain: string, made: Made, { activate: isActivated, description, mode }: CalibrationOptions,
    expected?: ExpectedRevision
  ): Promise<CalibrationResult> {
    const preprocessing = this.#registeredPreprocessing(ready, domain)
    const options = {
      isActivated,
      expected,
      ...(description === undefined ? {} : { description }),
      ...(preprocessing === undefined ? {} : { preprocessing })
    }
    const { record, version } = await this.#needs.registerMade(
      ready, domain, made.bank, sourceOfMode({ mode }), options, made.extras
    )
    return resultOf(ready, domain, made, { version: version.version, active: record.active === version.version })
  }
}

/** What a calibration begins with. */
interface Base {
  bank: Bank
  /** Absent for the statistics of the model itself. */
  file?: Uint8Array
}

/** A bank that came out well, and what else came of the calibration. */
interface Made {
  bank: Bank
  extras: FileExtras
  hasSignature: boolean
  outcome: Omit<CalibrationOutcome, 'bank' | 'moments' | 'signature'>
}

function resultOf (
  ready: ReadyModel, domain: string, { bank, hasSignature, outcome }: Made,
  version: { version?: number, active: boolean } = { active: false }
): CalibrationResult {
  return { model: ready.entry.manifest.name, domain, ...version, digest: bankDigest(bank), hasSignature, ...outcome }
}

/** Whether the version that a cut-off job was about to register is there. */
function findCommit (
  store: BankStore, { subject, commit, createdAt }: JobRecord
): Partial<CalibrationResult> | undefined {
  const { model, domain } = subject
  const record = store.domains(String(model)).find((known) => known.domain === domain)
  const version = record?.versions.find((known) => {
    return MADE_HERE.includes(known.source) && known.digest === commit?.digest && known.createdAt >= createdAt
  })
  if (record === undefined || version === undefined) return undefined
  return {
    model: String(model),
    domain: record.domain,
    version: version.version,
    digest: version.digest,
    active: record.active === version.version
  }
}
