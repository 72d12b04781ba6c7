/**
 * One version of a domain under watch: a detector for each stream, and one for all streams together, so that neither
 * one camera of many nor a little of every caller goes unseen.
 *
 * What one stream sends moves no other stream's detector. The detector for all takes pictures in turns: a caller's next
 * one only after one from every second of the other callers, so that of many none has more than about two shares. Half
 * of the false alarms that the dial allows are for the streams, half for all together. Whatever is sent, the state is
 * bounded by stream-table.ts, and numbers that are not finite go nowhere.
 */
import { termsOf } from './bets.js'
import { ChangeDetector, logThreshold } from './change-detector.js'
import { MovedFeatures, NearestDomains, type MovedFeature } from './moved-features.js'
import { cellOf, type ReferenceBand } from './reference-band.js'
import { StreamTable } from './stream-table.js'
import { counts, newThinning, type Thinning } from './thinning.js'

/** Streams of a domain, of all callers and of one. */
export const STREAMS_MAX = 256
export const CALLER_STREAMS_MAX = 64

/** Counted pictures before there is something to tell. */
export const ENOUGH = 32

/** Counted pictures without an alarm after which a stream is calm again: its own, or others' while it is silent. */
export const CALM = 1000

/** Silence in milliseconds after which a stream has ended; of one picture in ten minutes seven a day are looked at. */
export const ENDED_MS = 86_400_000

const FEATURES_TOLD = 5

export interface SeenPicture {
  /** Who sends it. */
  readonly caller: string
  /** Which of the caller's streams; '' where none is named. */
  readonly stream: string
  /** Its features, in standard deviations from the domain's mean: always as many. */
  readonly z: Float64Array
  /** Some of its values, always from the same places. */
  readonly values: Float32Array
  /** How strange it is, on the scale of the held-back scores. */
  readonly score: number
  /** The other domain that it fits best, where there is one. */
  readonly nearest: string | undefined
  /** Milliseconds, as of Date.now(). */
  readonly at: number
}

export interface Alarm {
  /** Undefined for all streams together. */
  readonly stream: string | undefined
  /** When the pictures began that speak for a change. */
  readonly since: number
  readonly eValue: number
}

/** What there is to tell at a glance. */
export interface DriftGlance {
  state: 'notEnoughSeen' | 'steady' | 'drifting'
  /** Looked at. */
  pictures: number
  eValue?: number
}

export interface DriftState extends DriftGlance {
  /** Of the pictures looked at, those that counted; those not finite; those of streams that found no room. */
  counted: number
  notFinite: number
  unwatched: number
  since: number
  alarms: number
  lastAlarmAt?: number
  driftingSince?: number
  streams: { watched: number, drifting: number }
  moved?: MovedFeature[]
  nearest?: string
}

interface Watched {
  readonly detector: ChangeDetector
  /** Counted pictures left until it counts as calm again; 0 when it is. */
  unrest: number
  /** Since when it has been drifting, as far as the last alarm tells. */
  driftsSince: number | undefined
  /** When a picture of it was last looked at, and how many of the domain had counted by then. */
  lastAt: number
  lastCounted: number
}

interface Stream extends Watched {
  readonly thinning: Thinning
}

export class DomainWatch {
  readonly #band: ReferenceBand
  readonly #logThreshold: number
  readonly #streams: StreamTable<Stream>
  /** All streams together: under the rules of a stream, but for thinning. */
  readonly #all: Watched

  /** By caller, the number of the picture that was its last in the detector for all. */
  readonly #turns = new Map<string, number>()
  #turn = 0
  readonly #moved = new MovedFeatures()
  readonly #nearest = new NearestDomains()
  readonly #since: number
  readonly #counts = { pictures: 0, counted: 0, notFinite: 0, unwatched: 0, alarms: 0 }
  #lastAlarm: { at: number, eValue: number } | undefined

  /** Held-back scores as `referenceBand` takes them; the dial, at least 1; and the time. */
  constructor (scores: ArrayLike<number>, picturesPerFalseAlarm: number, at: number) {
    const { band, bets } = termsOf(scores)
    this.#band = band
    const begin = () => {
      return { detector: new ChangeDetector(bets), unrest: 0, driftsSince: undefined, lastAt: at, lastCounted: 0 }
    }
    this.#streams = new StreamTable<Stream>({
      streams: STREAMS_MAX,
      callerStreams: CALLER_STREAMS_MAX,
      begin: () => ({ ...begin(), thinning: newThinning() }),
      shows: ({ unrest, detector }) => unrest > 0 || detector.isTelling
    })
    this.#all = begin()
    this.#logThreshold = logThreshold(2 * picturesPerFalseAlarm)
    this.#since = at
  }

  /** Looks at a picture; what comes back are alarms that it set off. */
  see (picture: SeenPicture): Alarm[] {
    this.#counts.pictures++
    if (!Number.isFinite(picture.score) || !picture.z.every(Number.isFinite)) {
      this.#counts.notFinite++
      return []
    }
    const stream = this.#streams.of(picture.caller, picture.stream, picture.at)
    if (stream === undefined) {
      this.#counts.unwatched++
      return []
    }
    this.#hear(stream, picture.at)
    this.#hear(this.#all, picture.at)
    if (!counts(stream.thinning, picture.z, picture.values)) return []
    this.#counts.counted++
    const cell = cellOf(this.#band, picture.score)
    const alarm = this.#add(stream, cell, picture.at)
    const alarms: Alarm[] = alarm === undefined ? [] : [{ ...alarm, stream: picture.stream }]
    if (!this.#isTurnOf(picture)) return alarms
    this.#moved.add(picture.z)
    if (picture.nearest !== undefined) this.#nearest.add(picture.nearest)
    const together = this.#add(this.#all, cell, picture.at)
    return together === undefined ? alarms : [...alarms, { ...together, stream: undefined }]
  }

  /** Whether anything drifts at this time. */
  isDrifting (at: number): boolean {
    return this.#drifting(at).length > 0
  }

  /** Evidence only once enough has been seen. */
  glance (at: number): DriftGlance {
    const { pictures, counted } = this.#counts
    const state = this.isDrifting(at) ? 'drifting' : counted >= ENOUGH ? 'steady' : 'notEnoughSeen'
    if (state === 'notEnoughSeen') return { state, pictures }
    const { eValue } = this.#all.detector
    return { state, pictures, eValue: state === 'drifting' ? Math.max(eValue, this.#lastAlarm!.eValue) : eValue }
  }

  /** What there is to tell; figures only once enough has been seen. */
  report (at: number): DriftState {
    const { alarms, ...counted } = this.#counts
    const drifting = this.#drifting(at)
    const glance = this.glance(at)
    const isEnough = glance.state !== 'notEnoughSeen'
    const nearest = this.#nearest.most
    return {
      ...glance,
      ...counted,
      since: this.#since,
      alarms,
      ...(this.#lastAlarm === undefined ? {} : { lastAlarmAt: this.#lastAlarm.at }),
      ...(drifting.length > 0 ? { driftingSince: Math.min(...drifting.map((one) => one.driftsSince!)) } : {}),
      streams: { watched: this.#streams.size, drifting: drifting.filter((one) => one !== this.#all).length },
      ...(isEnough ? { moved: this.#moved.most(FEATURES_TOLD) } : {}),
      ...(isEnough && nearest !== undefined ? { nearest } : {})
    }
  }

  /** Streams, and all together, that drift at this time. */
  #drifting (at: number): Watched[] {
    return [this.#all, ...this.#streams.all()].filter((watched) => this.#drifts(watched, at))
  }

  /** A silent stream no longer tells what the domain is asked about. */
  #drifts ({ unrest, lastAt, lastCounted }: Watched, at: number): boolean {
    return unrest > 0 && at - lastAt < ENDED_MS && this.#counts.counted - lastCounted <= CALM
  }

  #hear (watched: Watched, at: number): void {
    if (!this.#drifts(watched, at)) {
      watched.unrest = 0
      watched.driftsSince = undefined
    }
    watched.lastAt = at
    watched.lastCounted = this.#counts.counted
  }

  #add (watched: Watched, cell: number, at: number): Pick<Alarm, 'since' | 'eValue'> | undefined {
    const { detector } = watched
    detector.add(cell, at)
    if (detector.logStatistic < this.#logThreshold) {
      if (watched.unrest > 0 && --watched.unrest === 0) watched.driftsSince = undefined
      return undefined
    }
    const alarm = { since: detector.since ?? at, eValue: detector.eValue }
    detector.reset()
    watched.unrest = CALM
    watched.driftsSince ??= alarm.since
    this.#counts.alarms++
    this.#lastAlarm = { at, eValue: alarm.eValue }
    return alarm
  }

  #isTurnOf ({ caller, at }: SeenPicture): boolean {
    const last = this.#turns.get(caller)
    const others = this.#streams.callers(at) - 1
    if (last !== undefined && this.#turn - last < Math.floor(others / 2)) return false
    this.#turn++
    this.#turns.delete(caller)
    this.#turns.set(caller, this.#turn)
    if (this.#turns.size > STREAMS_MAX) this.#turns.delete(this.#turns.keys().next().value!)
    return true
  }
}
