/**
 * Whether pictures are still those of the domain that answers them: the door of watching.
 *
 *  - of what an active version has answered, a share is looked at: the stem reads the features of those rows on an
 *    inference thread, in a turn of its own, a few rows at a time and never two times at once
 *  - what waits for that is a copy, bounded in rows and bytes; beyond, it is passed over and counted
 *  - nothing that goes wrong here reaches the request
 *
 * The dial is in requests (rows, of requests with several) for each false alarm, whatever the share that is looked at:
 * the detector counts pictures, of which there are `share` times as many, or fewer where a stream is thinned.
 */
import { LRUCache } from 'lru-cache'
import { BankswitchError } from '../../base/errors.js'
import { environmentName, type Settings } from '../../config/schema.js'
import { DomainWatch, type DriftGlance } from '../../drift/domain-watch.js'
import { isPreparedAlike } from '../../models/signature-preparation.js'
import { byteLength, gatherRows, type Tensors } from '../../ort/rows.js'
import { deviationsOf, scoreOf, type Signature } from '../../signature/signature.js'
import { leaseKey } from '../leases.js'
import { someValues } from '../some-values.js'
import { toldOf, type DriftReport } from './drift-report.js'
import { logDrift, type Watched } from './watched.js'
import type { Answered, LookedAt } from './looked-at.js'
import type { Logger } from '../../observability/logger.js'
import type { Metrics } from '../../observability/metrics.js'
import type { ShownDrift } from '../../observability/watched-metrics.js'
import type { Discriminant } from '../../signature/discriminant.js'
import type { BankStore } from '../../store/bank-store.js'
import type { ResolvedDomain } from '../domain-reference.js'
import type { ReadyModel } from '../model-states.js'
import type { Recognition } from '../recognising/recognition.js'

export const WAITING_ROWS_MAX = 64
export const WAITING_BYTES_MAX = 16 * 2 ** 20

export { candidatesOff, driftOff, type DriftReport } from './drift-report.js'
export type { Answered, LookedAt } from './looked-at.js'

/** Versions under watch; the one not seen for longest goes. */
const WATCHES_MAX = 64

/** Looking for signatures where there are none reads all banks. */
const BLIND_MS = 60_000

/** A name from outside, in memory and in the log. */
const STREAM_LENGTH_MAX = 100

export interface DriftNeeds {
  store: Pick<BankStore, 'domain'>
  recognition: Pick<Recognition, 'features' | 'discriminantFor' | 'hasSignature'>
  metrics: Pick<Metrics, 'countDrift' | 'showDrift'>
  logger: Pick<Logger, 'info' | 'warn'>
  /** Told of every row that was looked at. */
  onLook?: (row: LookedAt) => void
  /** Milliseconds, as Date.now. */
  now: () => number
  /** Gives numbers in [0, 1). */
  random: () => number
}

/** Undefined where the settings do not ask for it. */
export function openDrift (
  { driftErt: dial, driftShare: share }: Pick<Settings, 'driftErt' | 'driftShare'>,
  needs: Omit<DriftNeeds, 'now' | 'random'>
): Drift | undefined {
  if (dial === 0) return undefined
  if (share === 0) {
    const settings = { [environmentName('driftErt')]: dial, [environmentName('driftShare')]: share }
    needs.logger.warn(settings, 'drift is never found: no picture is looked at')
  }
  return new Drift({ ...needs, now: Date.now, random: Math.random }, { dial, share })
}

export interface DriftOptions {
  /** Requests for each false alarm. */
  dial: number
  /** Of the rows that are looked at. */
  share: number
}

type Waiting = Answered & { model: ReadyModel, feeds: Tensors, bytes: number }

export class Drift {
  readonly #needs: DriftNeeds
  readonly #options: DriftOptions
  readonly #watched = new LRUCache<string, Watched>({ max: WATCHES_MAX })
  /** Rows by version; also before the first is looked at. */
  readonly #passedOver = new LRUCache<string, number>({ max: WATCHES_MAX })
  readonly #waiting: Waiting[] = []
  /** Models without signatures, and until when nobody asks again. */
  readonly #blindUntil = new WeakMap<ReadyModel, number>()
  #rows = 0
  #bytes = 0
  #isLooking = false
  /** Settles when nothing waits any more. */
  #looking: Promise<void> = Promise.resolve()

  constructor (needs: DriftNeeds, options: DriftOptions) {
    this.#needs = needs
    this.#options = options
    needs.metrics.showDrift(() => this.#shown())
  }

  /** Looks at a share of the rows, later and unseen; never throws. */
  offer (model: ReadyModel, answered: Answered): void {
    const { resolved: { record, version, blend }, rows } = answered
    // Who asks for a blend knows that the pictures are of no single domain.
    if (version.version !== record.active || blend !== undefined) return
    const at = Array.from({ length: rows }, (_, row) => row).filter(() => this.#needs.random() < this.#options.share)
    if (at.length === 0 || this.#needs.now() < (this.#blindUntil.get(model) ?? 0)) return
    // Other rules would look like drift.
    if (!isPreparedAlike(model.entry.manifest, record.domain, version.preprocessing)) return
    this.#enqueue(model, answered, at)
  }

  /** What is known of an active version. Rejects with what the store throws. */
  async report (
    model: ReadyModel, { record: { domain }, version: { version, preprocessing } }: ResolvedDomain
  ): Promise<DriftReport> {
    const { dial, share } = this.#options
    const { manifest } = model.entry
    const settings = { version, requestsPerFalseAlarm: dial, share }
    const key = leaseKey(manifest.name, domain, version)
    const watched = this.#watched.peek(key)
    if (watched === undefined) {
      const isSeen = isPreparedAlike(manifest, domain, preprocessing) &&
        await this.#needs.recognition.hasSignature(model, domain)
      return { ...settings, state: isSeen ? 'notEnoughSeen' : 'noSignature' }
    }
    const passedOver = this.#passedOver.peek(key) ?? 0
    const state = watched.watch.report(this.#needs.now())
    return { ...settings, passedOver, ...toldOf(state, model.artefact.stem?.channels ?? []) }
  }

  /** The same in short, of what is in memory; undefined before the first picture. */
  glance (model: string, domain: string, version: number): DriftGlance | undefined {
    return this.#watched.peek(leaseKey(model, domain, version))?.watch.glance(this.#needs.now())
  }

  /** What waits. */
  get backlog (): { rows: number, bytes: number } {
    return { rows: this.#rows, bytes: this.#bytes }
  }

  /** Resolves once what waits now has been looked at. */
  async settled (): Promise<void> {
    while (this.#isLooking) await this.#looking
  }

  #enqueue (model: ReadyModel, { feeds, outputs, sender, ...rest }: Answered, at: readonly number[]): void {
    const taken = at.slice(0, WAITING_ROWS_MAX - this.#rows)
    const given = typeof feeds === 'function' ? feeds() : feeds
    const bytes = taken.length / rest.rows * (byteLength(given) + byteLength(outputs ?? {}))
    if (taken.length === 0 || !(this.#bytes + bytes <= WAITING_BYTES_MAX)) return this.#passOver(model, rest, at.length)
    if (taken.length < at.length) this.#passOver(model, rest, at.length - taken.length)
    this.#rows += taken.length
    this.#bytes += bytes
    this.#waiting.push({
      ...rest,
      sender: { caller: sender.caller, stream: sender.stream.slice(0, STREAM_LENGTH_MAX) },
      model,
      bytes,
      rows: taken.length,
      isChosen: taken.map((row) => rest.isChosen[row]!),
      feeds: gatherRows(given, taken),
      outputs: outputs === undefined ? undefined : gatherRows(outputs, taken)
    })
    if (!this.#isLooking) this.#looking = this.#lookAtAll()
  }

  async #lookAtAll (): Promise<void> {
    this.#isLooking = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#rows -= next.rows
      this.#bytes -= next.bytes
      try {
        await this.#look(next)
      } catch (error) {
        this.#passOver(next.model, next, next.rows)
        if (!(error instanceof BankswitchError)) this.#needs.logger.warn({ err: error }, 'drift cannot be looked at')
      }
    }
    this.#isLooking = false
  }

  async #look ({ model, resolved, sender, feeds, outputs, rows, isChosen }: Waiting): Promise<void> {
    const { recognition, store, now, onLook } = this.#needs
    const { entry: { manifest: { name } } } = model
    const { record: { domain }, version: { version } } = resolved
    const discriminant = await this.#discriminantFor(model, feeds)
    const signature = discriminant?.signatureOf(domain)
    if (discriminant === undefined) return
    const read = await recognition.features(model, feeds, rows)
    if (store.domain(name, domain)?.active !== version) return
    for (const [row, features] of read.entries()) {
      const choice = discriminant.choose(features)
      const at = now()
      const some = someValues(feeds, row, rows)
      // What was chosen by its looks and answered by another domain fits none, or is its stream's odd one.
      const isOwn = !isChosen[row] || choice.domain === domain
      if (signature !== undefined && isOwn) {
        this.#see(name, resolved, signature, { sender, features, values: some, choice, at })
      }
      onLook?.({
        model,
        resolved,
        sender,
        feeds: gatherRows(feeds, [row]),
        outputs: outputs === undefined ? undefined : gatherRows(outputs, [row]),
        features,
        values: some,
        choice,
        nearest: discriminant.signatureOf(choice.domain)!,
        at
      })
    }
  }

  /** Undefined where no signature tells anything, which is then taken to stay so for a while. */
  async #discriminantFor (model: ReadyModel, feeds: Tensors): Promise<Discriminant | undefined> {
    try {
      return await this.#needs.recognition.discriminantFor(model, feeds)
    } catch (error) {
      this.#blindUntil.set(model, this.#needs.now() + BLIND_MS)
      if (error instanceof BankswitchError) return undefined
      throw error
    }
  }

  #see (
    model: string, { record: { domain }, version: { version } }: ResolvedDomain, signature: Signature,
    { sender, features, values, choice, at }: Pick<LookedAt, 'sender' | 'features' | 'values' | 'choice' | 'at'>
  ): void {
    const watched = this.#watch(model, domain, version, signature, at)
    const alarms = watched.watch.see({
      caller: sender.caller,
      stream: sender.stream,
      z: deviationsOf(signature, features),
      values,
      score: scoreOf(signature, features),
      nearest: choice.domain === domain ? choice.runnerUp : choice.domain,
      at
    })
    this.#needs.metrics.countDrift(model, domain, { lookedAt: 1, passedOver: 0, alarms: alarms.length })
    logDrift(this.#needs.logger, watched, alarms[0], at)
  }

  #watch (model: string, domain: string, version: number, signature: Signature, at: number): Watched {
    const key = leaseKey(model, domain, version)
    const known = this.#watched.get(key)
    if (known?.signature === signature) return known
    const dial = Math.max(1, this.#options.dial * this.#options.share)
    const watch = new DomainWatch(signature.scores, dial, at)
    const fresh = { model, domain, version, watch, signature, isDrifting: false }
    this.#watched.set(key, fresh)
    return fresh
  }

  /** Of versions that still answer: an alarm does not outlast the version that it is about. */
  #shown (): ShownDrift[] {
    const now = this.#needs.now()
    return [...this.#watched.values()].flatMap(({ model, domain, version, watch }) => {
      const isActive = this.#needs.store.domain(model, domain)?.active === version
      const { state, eValue } = watch.glance(now)
      return isActive && eValue !== undefined ? [{ model, domain, isDrifting: state === 'drifting', eValue }] : []
    })
  }

  #passOver (model: ReadyModel, { resolved }: Pick<Answered, 'resolved'>, rows: number): void {
    const { name } = model.entry.manifest
    const { record: { domain }, version } = resolved
    // A domain that was removed meanwhile would have metrics again.
    if (this.#needs.store.domain(name, domain) === undefined) return
    const key = leaseKey(name, domain, version.version)
    this.#passedOver.set(key, (this.#passedOver.peek(key) ?? 0) + rows)
    this.#needs.metrics.countDrift(name, domain, { lookedAt: 0, passedOver: rows, alarms: 0 })
  }
}
