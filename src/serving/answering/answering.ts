/** The door of answering: requests for tensors, classes and pictures, and what has become of them. */
import { modelErrors } from '../../models/errors.js'
import { PICTURE_TASKS, takesPictures } from '../../models/manifest.js'
import { resolveDomain, withNews, type DomainReference, type ResolvedDomain } from '../domain-reference.js'
import { leaseKey } from '../leases.js'
import { turnOf } from '../lone-row.js'
import {
  isAuto, isAutoReference, namedReference, referenceInPath, type VersionWish
} from '../version-wish.js'
import { SlicedWork } from '../../base/slices.js'
import { classify, type Classified, type PictureNeeds, type PictureRequest } from './classify.js'
import {
  compareClasses, type CompareClassesNeeds, type ComparedClasses, type CompareRequest
} from './compare-classes.js'
import { comparePictures, type ComparedPictures, type ComparePicturesNeeds } from './compare-pictures.js'
import { banksToCompare } from './compared-banks.js'
import { infer, type InferenceNeeds, type InferenceRequest, type InferenceResult } from './inference.js'
import { inferMixed, type MixedRequest, type MixedResult } from './mixed-inference.js'
import { transform, type Transformed, type TransformNeeds, type TransformRequest } from './transform.js'
import type { Metrics, Stage } from '../../observability/metrics.js'
import type { RecentCounts } from '../../observability/recent-traffic.js'
import type { Traffic, TrafficBook } from '../../observability/traffic.js'
import type { Reference } from '../blend-reference.js'
import type { ModelStates } from '../model-states.js'
import type { Progress, ProgressBoard } from './progress.js'

/** What answering needs. */
export interface AnsweringNeeds extends InferenceNeeds, PictureNeeds, TransformNeeds {
  store: InferenceNeeds['store'] & TransformNeeds['store']
  pool: TransformNeeds['pool']
  recognition: CompareClassesNeeds['recognition'] & ComparePicturesNeeds['recognition']
  metrics: Pick<Metrics, 'countInference' | 'observeStage'>
  traffic: Pick<TrafficBook, 'countAnswered' | 'countOutput' | 'countFailed' | 'of' | 'recent'>
  progress: Pick<ProgressBoard, 'show' | 'get'>
}

type StageTimes = Partial<Record<'decodeMs' | 'queueMs' | 'inferMs' | 'encodeMs', number>>

export { noReport, type ShadowReport } from './shadows.js'
export { addComparison, compareRows, NOTHING_COMPARED, type Comparison } from './compare-rows.js'
export type { PictureRequest } from './classify.js'
export type { CompareRequest } from './compare-classes.js'
export type { ComparedPictures } from './compare-pictures.js'
export type { InferenceRequest, Run } from './inference.js'
export type { MixedResult } from './mixed-inference.js'
export type { Recognised } from '../recognising/recognition.js'

export class Answering {
  readonly #needs: AnsweringNeeds
  readonly #models: ModelStates
  readonly #slices = new SlicedWork()

  constructor (needs: AnsweringNeeds, models: ModelStates) {
    this.#needs = needs
    this.#models = models
  }

  /** True where the domain of a request is chosen by what is sent. Throws what `named` throws. */
  isAutomatic (name: string, wish: VersionWish): boolean {
    return isAuto(wish, this.#models.get(name).entry.manifest)
  }

  /**
   * What a request names; undefined where it leaves the choice to the model. Throws DOMAIN_REFERENCE_INVALID, and
   * MODEL_NOT_FOUND where a version without a domain is named.
   */
  named (name: string, wish: VersionWish): Reference | undefined {
    if (wish.pathVersion === undefined) return namedReference(wish, '')
    return namedReference(wish, this.#models.get(name).entry.manifest.defaultDomain)
  }

  /** The domain that a path names; undefined where it names none. Throws DOMAIN_REFERENCE_INVALID. */
  namedInPath (wish: Pick<VersionWish, 'path'>): DomainReference | undefined {
    return referenceInPath(wish, '')
  }

  /**
   * What a path speaks of, not held; the default domain where it leaves the choice to what is sent. Throws
   * MODEL_NOT_FOUND, and what `named` and resolving throw.
   */
  resolve (name: string, wish: VersionWish): ResolvedDomain {
    const { defaultDomain } = this.#models.get(name).entry.manifest
    const named = referenceInPath(wish, defaultDomain)
    const isChosen = named !== undefined && !isAutoReference(named)
    return resolveDomain(this.#needs.store, name, isChosen ? named : { domain: defaultDomain })
  }

  /** The same, but for another look at what other servers have made. Rejects likewise. */
  async resolveNow (name: string, wish: VersionWish): Promise<ResolvedDomain> {
    return await withNews(this.#needs.store, () => this.resolve(name, wish))
  }

  /**
   * Refuses before a body is read what would be refused after it: a flood must not cost more than its headers.
   * `rows` is how many it seems to have. Without a reference, which a body may still give, only a queue without any
   * room refuses.
   * Throws QUEUE_FULL, and what `ready` of model-states.ts throws.
   */
  requireRoom (name: string, reference: Reference | undefined, rows: number): void {
    this.#models.ready(name)
    this.#needs.pool.requireRoom(turnOf(name, reference?.domain ?? ''), rows)
  }

  /** Rejects with what inference.ts throws. */
  async infer (name: string, request: InferenceRequest): Promise<InferenceResult> {
    const model = this.#models.ready(name)
    return this.#observed(name, await infer(this.#needs, model, request), request.inputMs)
  }

  /**
   * Like `infer`, but rows whose domain is to be recognised get one each, where rows can be taken apart. Rejects like
   * `infer` and `inferMixed`.
   */
  async inferRows (name: string, request: InferenceRequest): Promise<MixedResult> {
    const { entry: { manifest }, artefact: { proof } } = this.#models.ready(name)
    const { feeds, wish, ...options } = request
    const rows = typeof feeds === 'function' ? 1 : Object.values(feeds)[0]?.dims[0] ?? 1
    if (typeof feeds !== 'function' && rows > 1 && proof.isRowInvariant && isAuto(wish, manifest)) {
      return await this.inferMixed(name, { wish, feeds, rows: Array<string>(rows).fill(''), ...options })
    }
    const { recognised, ...result } = await this.infer(name, request)
    return { answeredBy: [result], ...(recognised === undefined ? {} : { recognised: [recognised] }), ...result }
  }

  /** Each row under a domain of its own, or the one that `infer` would choose. Rejects like mixed-inference.ts. */
  async inferMixed (name: string, request: MixedRequest): Promise<MixedResult> {
    const model = this.#models.ready(name)
    return this.#observed(name, await inferMixed(this.#needs, model, request), request.inputMs)
  }

  /** Classifies a picture. Rejects with TASK_MISMATCH and what classify.ts rejects with. */
  async classify (name: string, request: PictureRequest, top: number): Promise<Classified> {
    const model = this.#models.ready(name)
    const { manifest } = model.entry
    if (manifest.task !== 'classification') throw otherTask(name, manifest.task)
    return this.#observed(name, await classify(this.#needs, model, manifest, request, top))
  }

  /** Turns a picture into another. Rejects with TASK_MISMATCH and what transform.ts rejects with. */
  async transform (name: string, request: TransformRequest): Promise<Transformed> {
    const model = this.#models.ready(name)
    const { manifest } = model.entry
    if (manifest.task !== 'image-to-image') throw otherTask(name, manifest.task)
    return this.#observed(name, await transform(this.#needs, model, manifest, request))
  }

  /**
   * Refuses a comparison before its body is read. Rejects with TASK_MISMATCH, QUEUE_FULL, and what `banksToCompare` and
   * `ready` of model-states.ts throw.
   */
  async requireRoomToCompare (name: string, references: CompareRequest['references']): Promise<void> {
    const { store, pool } = this.#needs
    const { manifest } = this.#models.ready(name).entry
    if (!takesPictures(manifest)) throw otherTask(name, manifest.task)
    for (const { record } of await withNews(store, () => banksToCompare(store, manifest, references))) {
      pool.requireRoom(turnOf(name, record.domain), 1)
    }
  }

  /** Classifies a picture under several banks. Rejects with TASK_MISMATCH and what compare-classes.ts rejects with. */
  async compareClasses (name: string, request: CompareRequest, top: number): Promise<ComparedClasses> {
    const model = this.#models.ready(name)
    const { manifest } = model.entry
    if (manifest.task !== 'classification') throw otherTask(name, manifest.task)
    return this.#observed(name, await compareClasses(this.#needs, model, manifest, request, top))
  }

  /**
   * Turns a picture into others under several banks, for their differences or for a sheet of them. Rejects with
   * TASK_MISMATCH and what compare-pictures.ts rejects with.
   */
  async comparePictures (name: string, request: CompareRequest, isSheet: boolean): Promise<ComparedPictures> {
    const model = this.#models.ready(name)
    const { manifest } = model.entry
    if (manifest.task !== 'image-to-image') throw otherTask(name, manifest.task)
    const needs = { ...this.#needs, slices: this.#slices }
    return this.#observed(name, await comparePictures(needs, model, manifest, request, isSheet))
  }

  /** Counts how long the answer of a request took to write. */
  observeEncoding (
    model: string, answeredBy: ReadonlyArray<Pick<InferenceResult, 'countedAs'>>, ms: number
  ): void {
    this.#needs.metrics.observeStage(model, 'encode', ms / 1000)
    for (const { countedAs } of answeredBy) this.#needs.traffic.countOutput(countedAs, ms / answeredBy.length)
  }

  /** What one version of a domain has been asked so far. */
  traffic (model: string, domain: string, version: number): Traffic {
    return this.#needs.traffic.of(leaseKey(model, domain, version))
  }

  /** What versions of a domain were asked in the last hour, together, by slots of time; undefined when nothing. */
  recentTraffic (model: string, domain: string, versions: readonly number[], slots?: number): RecentCounts | undefined {
    return this.#needs.traffic.recent.of(versions.map((version) => leaseKey(model, domain, version)), slots)
  }

  /** How far a picture has got whose request gave this key. Throws PROGRESS_NOT_FOUND. */
  progress (key: string): Progress {
    return this.#needs.progress.get(key)
  }

  #observed<Timed extends StageTimes> (name: string, result: Timed, decodeMs = result.decodeMs): Timed {
    const observe = (stage: Stage, ms: number | undefined) => {
      if (ms !== undefined) this.#needs.metrics.observeStage(name, stage, ms / 1000)
    }
    observe('decode', decodeMs)
    observe('queue', result.queueMs)
    observe('infer', result.inferMs)
    observe('encode', result.encodeMs)
    return result
  }
}

function otherTask (name: string, task: string): Error {
  return modelErrors.TASK_MISMATCH(`model "${name}" does something else: ${task}`, {
    expected: PICTURE_TASKS, received: task
  })
}
