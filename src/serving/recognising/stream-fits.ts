/**
 * How well the last pictures of a stream fit the domain that it is settled on, in a table that nobody can fill for
 * others: a stream for which there is no place is judged picture by picture.
 */
import { FitWindow } from '../../drift/fit-window.js'
import { IDLE_MS, StreamTable } from '../../drift/stream-table.js'
import { deviationsOf, scoreOf, type Signature } from '../../signature/signature.js'
import type { Sender } from '../version-wish.js'

/** Streams that are followed, of all callers and of one. */
export const STREAMS_MAX = 1024
export const CALLER_STREAMS_MAX = 64

/** A picture as its stream sees it. */
export interface StreamPicture {
  /** What its stream is settled on; undefined for a picture that fits nothing and has no vote. */
  readonly settled: string | undefined
  /** What it looks like itself, and its score under that domain's signature. */
  readonly nearest: string
  readonly score: number
  /** Undefined for a domain that has none for pictures of this size. */
  readonly signatureOf: (domain: string) => Signature | undefined
  readonly features: Float64Array
  /** Some of its values, always from the same places. */
  readonly values: Float32Array
  /** Milliseconds, as of performance.now(). */
  readonly at: number
}

interface Stream {
  domain: string | undefined
  window: FitWindow | undefined
  /** When it was last heard of, in milliseconds. */
  lastAt: number
}

export class StreamFits {
  readonly #table: StreamTable<Stream>

  /** A stream whose last pictures have a smaller p-value fits no domain. */
  constructor (fitMin: number) {
    this.#table = new StreamTable<Stream>({
      streams: STREAMS_MAX,
      callerStreams: CALLER_STREAMS_MAX,
      begin: () => ({ domain: undefined, window: undefined, lastAt: -Infinity }),
      shows: ({ window }) => window !== undefined && window.p < fitMin
    })
  }

  /**
   * Takes note of a picture; returns the p-value of the stream's last pictures, 1 where nothing is known, as after a
   * silence. All count that come after the one that settled the stream, also odd ones: whether a picture counts never
   * depends on itself.
   */
  see (model: string, { caller, stream: name }: Sender, picture: StreamPicture): number {
    const stream = this.#table.of(caller, JSON.stringify([model, name]), picture.at)
    if (stream === undefined) return 1
    const { settled = stream.domain, nearest, signatureOf, features, values, at } = picture
    if (at - stream.lastAt >= IDLE_MS) stream.window = undefined
    stream.lastAt = at
    if (settled !== stream.domain) {
      stream.domain = settled
      stream.window = undefined
      return 1
    }
    const signature = settled === undefined ? undefined : signatureOf(settled)
    if (signature !== undefined) {
      if (stream.window?.isFor(signature) !== true) stream.window = new FitWindow(signature)
      const score = nearest === settled ? picture.score : scoreOf(signature, features)
      stream.window.add({ score, z: deviationsOf(signature, features), values })
    }
    return stream.window?.p ?? 1
  }

  /** Streams that are followed. */
  get size (): number {
    return this.#table.size
  }
}
