/**
 * From drift to a domain: the door of collecting.
 *
 * A stream is compared with the domain that each of its pictures looks most like. When even that one does not fit, the
 * pictures are gathered as sums of calibration, a batch at a time, in a thread that yields to inference. Its mode is
 * `fvcore`: `fixed` would show deeper layers what the bank that does not fit makes of the pictures, which one round of
 * sums does not mend, and all others need every picture at once. Of enough pictures they become a version of a new
 * domain, which is stored and not activated: a person does that, or removes it. Until then what the stream sends is
 * run under the candidate too, and the answers are compared.
 *
 *  - no picture is kept: only sums, and rows of features for the signature; batches that wait are bounded (room.ts)
 *  - so are streams, of each caller and of all, and candidates that nobody has decided about
 *  - nothing that goes wrong here reaches a request
 */
import { BankswitchError } from '../../base/errors.js'
import { readOwnBank } from '../../bank/formats/bank-safetensors.js'
import { serializeSafetensors } from '../../bank/formats/safetensors.js'
import { bytesOf } from '../../base/bytes.js'
import { SlicedWork } from '../../base/slices.js'
import { bankOf, combine, contributionOf, contributionParts } from '../../calibration/contributions.js'
import { completeOptions, IMAGES_MIN } from '../../calibration/options.js'
import { environmentName, type Settings } from '../../config/schema.js'
import { sourceOf } from '../../models/compilation.js'
import { byteLength, concatenateRows, type Tensors } from '../../ort/rows.js'
import { StreamTable } from '../../drift/stream-table.js'
import { signatureParts } from '../../signature/file-parts.js'
import { IMAGES_MIN as FEATURE_ROWS_MIN, signatureInSteps, type Signature } from '../../signature/signature.js'
import { addComparison, compareRows, NOTHING_COMPARED, type Comparison } from '../answering/answering.js'
import { madeBankToRun, type BankToRun } from '../banks-to-run.js'
import { joinExtras, type Administration, type FileExtras } from '../changing/administration.js'
import { loneRow } from '../lone-row.js'
import { BATCH, Gathering, type BaseVersion } from './gathering.js'
import { makeRoom, ROOM_BYTES } from './room.js'
import { StoredCandidates, type LeftCandidate } from './stored-candidates.js'
import type { Bank } from '../../bank/bank.js'
import type { calibrateInThread } from '../../calibration/calibration-thread.js'
import type { Logger } from '../../observability/logger.js'
import type { Metrics } from '../../observability/metrics.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankStore } from '../../store/bank-store.js'
import type { ModelStates } from '../model-states.js'
import type { LookedAt } from '../watching/drift.js'

/** Streams at once, of all callers and of one. */
export const STREAMS_MAX = 32
export const CALLER_STREAMS_MAX = 8

/** Of a model, that nobody has activated or removed. */
export const UNDECIDED_MAX = 8

const MODE = 'fvcore'

export interface CandidateNeeds {
  store: Pick<BankStore, 'domain' | 'domains' | 'read'>
  registerMade: Administration['registerMade']
  calibrate: typeof calibrateInThread
  pool: Pick<InferencePool, 'submit'>
  logger: Pick<Logger, 'info' | 'warn'>
  metrics: Pick<Metrics, 'showCandidates'>
  models: Pick<ModelStates, 'all'>
}

/** Undefined where the settings do not ask for it. */
export function openCandidates (settings: Settings, needs: CandidateNeeds): Candidates | undefined {
  const { driftCollect, driftCollectImages: images, driftErt, driftShare, calibrationBytes, imagePixels } = settings
  if (driftErt === 0 && driftCollect) {
    const told = { [environmentName('driftCollect')]: driftCollect, [environmentName('driftErt')]: driftErt }
    needs.logger.warn(told, 'no pictures are gathered for candidates: drift is not looked for')
  }
  if (driftErt === 0 || !driftCollect) return undefined
  return new Candidates(needs, { calibrationBytes, imagePixels, images, dial: Math.max(1, driftErt * driftShare) })
}

export interface CandidateOptions {
  /** Pictures that make a candidate. */
  images: number
  /** Pictures for each stream that is wrongly found to fit no domain. */
  dial: number
  /** Memory that observing a batch may take. */
  calibrationBytes: number
  imagePixels: number
}

/** What a candidate would change, by what its stream has sent since. */
export interface CandidateReport extends Comparison {
  model: string
  domain: string
  version: number
  stream: string
  images: number
  /** The version whose answers it is compared with, and which it was made under. */
  base: BaseVersion
  /** Whether somebody has activated it. */
  isActive: boolean
  /** ISO 8601, UTC. */
  since: string
}

export interface CandidatesReport {
  /** Made by this process, whose streams it follows, and that nobody has removed. */
  candidates: CandidateReport[]
  /** What else nobody has decided about: of streams before the process began, or of other servers. */
  left: LeftCandidate[]
}

interface Candidate {
  report: CandidateReport
  bank: BankToRun
}

interface Stream {
  readonly caller: string
  gathering: Gathering
  candidate?: Candidate | undefined
  /** Of the candidate before, which somebody has activated. */
  former?: CandidateReport
}

export class Candidates {
  readonly #needs: CandidateNeeds
  readonly #stored: StoredCandidates
  readonly #options: CandidateOptions
  readonly #streams: StreamTable<Stream>
  readonly #closing = new AbortController()
  readonly #slices = new SlicedWork()
  #isBusy = false
  #work: Promise<void> = Promise.resolve()

  constructor (needs: CandidateNeeds, options: CandidateOptions) {
    this.#needs = needs
    this.#stored = new StoredCandidates(needs.store)
    needs.metrics.showCandidates(() => needs.models.all().map(({ entry: { manifest: { name } } }) => {
      return { model: name, count: this.#stored.undecided(name).length }
    }))
    this.#options = options
    this.#streams = new StreamTable<Stream>({
      streams: STREAMS_MAX,
      callerStreams: CALLER_STREAMS_MAX,
      begin: (caller) => ({ caller, gathering: new Gathering(options.dial) }),
      shows: ({ gathering, candidate }) => {
        return candidate === undefined ? gathering.isTelling : this.#stored.isUndecided(candidate.report)
      }
    })
  }

  /** Takes a row of a stream in; never throws. */
  take (row: LookedAt): void {
    if (this.#closing.signal.aborted || !isCalibrated(row) || byteLength(row.feeds) > ROOM_BYTES / BATCH) return
    const { model, sender: { caller, stream: name }, at } = row
    const stream = this.#streams.of(caller, JSON.stringify([model.entry.manifest.name, name]), at)
    if (stream === undefined) return
    if (stream.candidate !== undefined && !this.#stored.isUndecided(stream.candidate.report)) {
      // Another is made of what comes from now on, if that fits no domain either.
      stream.former = stream.candidate.report
      stream.candidate = undefined
      stream.gathering = new Gathering(this.#options.dial)
    }
    if (!stream.gathering.isStrange(row)) return
    const { candidate } = stream
    if (candidate !== undefined) {
      this.#start(() => this.#compare(row, candidate))
      return
    }
    if (!this.#mayBecome(row)) return
    stream.gathering.keep(row, (bytes) => makeRoom(this.#streams.all(), caller, bytes, at))
    if (!this.#isBusy) {
      const batch = stream.gathering.takeBatch()
      if (batch !== undefined) this.#start(() => this.#gather(row, stream, batch))
    }
  }

  /** Those of streams not heard of for longest first. */
  report (model: string): CandidatesReport {
    const reports = this.#streams.all().flatMap(({ former, candidate }) => [former, candidate?.report])
    const candidates = reports.flatMap((one) => {
      const record = one?.model === model ? this.#stored.recordOf(one) : undefined
      return record === undefined ? [] : [{ ...one!, isActive: record.active !== null }]
    })
    return { candidates, left: this.#stored.left(model, candidates) }
  }

  /** Streams that are remembered. */
  get size (): number {
    return this.#streams.size
  }

  /** Resolves when nothing is under way. */
  async settled (): Promise<void> {
    while (this.#isBusy) await this.#work
  }

  async close (): Promise<void> {
    this.#closing.abort(new Error('the server is shutting down'))
    await this.settled()
  }

  /** One thing at a time; what comes up meanwhile is left out. */
  #start (work: () => Promise<void>): void {
    if (this.#isBusy) return
    this.#isBusy = true
    this.#work = work().catch((error: unknown) => {
      if (this.#closing.signal.aborted) return
      const level = error instanceof BankswitchError ? 'info' : 'warn'
      this.#needs.logger[level]({ err: error }, 'pictures that fit no domain are not gathered')
    }).finally(() => { this.#isBusy = false })
  }

  /** Not while its last candidate, or too many, are undecided. */
  #mayBecome (row: LookedAt): boolean {
    const { manifest: { name } } = row.model.entry
    return this.#stored.nameFor(name, row.sender) !== undefined && this.#stored.undecided(name).length < UNDECIDED_MAX
  }

  async #gather (row: LookedAt, { gathering }: Stream, batch: readonly Tensors[]): Promise<void> {
    const { model, resolved: { record, version } } = row
    const { manifest } = model.entry
    const { layers } = model.artefact
    const base = readOwnBank(await this.#needs.store.read(manifest.name, record.domain, version.version), layers)
    const [input] = model.artefact.inputs
    const batchSize = input!.dims[0] ?? BATCH
    const options = completeOptions({ mode: MODE, batchSize, minimumImages: IMAGES_MIN })
    const { moments, report } = await this.#needs.calibrate({
      source: sourceOf(model.entry),
      fingerprint: model.artefact.fingerprint,
      layers,
      base,
      options,
      input: input!,
      uploads: [{ name: 'gathered.safetensors', bytes: tensorsFile(concatenateRows(batch)) }],
      isTensors: true,
      imagePixels: this.#options.imagePixels,
      budgetBytes: this.#options.calibrationBytes
    }, () => {}, this.#closing.signal)
    const sums = contributionOf(MODE, base, report.images, moments)!
    if (gathering.base?.domain !== record.domain || gathering.base.version !== version.version) return
    gathering.sums = gathering.sums === undefined ? sums : combine('merge', gathering.sums, sums, IMAGES_MIN)
    if (gathering.images >= this.#options.images) await this.#become(row, gathering, base)
  }

  /** Stores the candidate. */
  async #become (row: LookedAt, gathering: Gathering, base: Bank): Promise<void> {
    const { model, sender, nearest, resolved } = row
    const { manifest: { name } } = model.entry
    const { images } = gathering
    const domain = this.#stored.nameFor(name, sender)
    if (domain === undefined) return
    const bank = bankOf(gathering.sums!, model.artefact.layers, base)
    const told = sender.stream === '' ? 'a caller' : `stream "${sender.stream}"`
    const from = `${resolved.record.domain}:${resolved.version.version}`
    const { record, version } = await this.#needs.registerMade(model, domain, bank, 'calibration', {
      isActivated: false,
      expected: 0,
      description: `Pictures of ${told} that fitted no domain: ${images} gathered under ${from}`
    }, await this.#extrasOf(gathering, nearest))
    const stream = this.#streams.all().find((one) => one.gathering === gathering)
    const report = {
      model: name,
      domain: record.domain,
      version: version.version,
      stream: sender.stream,
      images,
      base: gathering.base!,
      ...NOTHING_COMPARED,
      isActive: false,
      since: new Date().toISOString()
    }
    if (stream !== undefined) stream.candidate = { report, bank: madeBankToRun(model, bank) }
    this.#needs.logger.info({ ...report }, 'pictures that fit no domain have become a candidate')
  }

  /** The sums, and a signature by which the candidate is found once it is active. */
  async #extrasOf ({ sums, features }: Gathering, { origin }: Signature): Promise<FileExtras> {
    const contribution = contributionParts(sums!)
    if (features.length < FEATURE_ROWS_MIN) return contribution
    const signature = await this.#slices.run(signatureInSteps(features, origin), this.#closing.signal)
    return joinExtras(contribution, signatureParts([signature]))
  }

  async #compare ({ model, feeds, outputs, resolved }: LookedAt, { report, bank }: Candidate): Promise<void> {
    const { base: { domain, version } } = report
    if (outputs === undefined || resolved.record.domain !== domain || resolved.version.version !== version) return
    const [result] = await this.#needs.pool.submit([loneRow(model, '', bank, feeds, Object.keys(outputs))])
    const { manifest } = model.entry
    const classOutput = manifest.task === 'classification' ? manifest.output.name : undefined
    addComparison(report, compareRows(outputs, result!.outputs, 1, classOutput))
  }
}

/** Calibration takes models of one input of float32. */
function isCalibrated ({ model: { artefact: { inputs } } }: LookedAt): boolean {
  return inputs.length === 1 && inputs[0]!.type === 'float32'
}

function tensorsFile (tensors: Tensors): Uint8Array<ArrayBuffer> {
  return serializeSafetensors(Object.entries(tensors).map(([name, { dims, data }]) => {
    return { name, dtype: 'F32' as const, shape: [...dims], bytes: bytesOf(data as Float32Array) }
  }), new Map())
}
