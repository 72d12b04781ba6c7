/**
 * How well the last pictures of a stream fit the domain that it is settled on, in a table that nobody can fill for
 * others: a stream for which there is no place is judged picture by picture.
 */
import { FitWindow } from '../../drift/fit-window.js'
import { StreamTable } from '../../drift/stream-table.js'
import type { Signature } from '../../signature/signature.js'
import type { Sender } from '../version-wish.js'

/** Streams that are followed, of all callers and of one. */
export const STREAMS_MAX = 1024
export const CALLER_STREAMS_MAX = 64

/** A picture as its stream sees it. */
export interface StreamPicture {
  /** What its stream is settled on; undefined for a picture that fits nothing and has no vote. */
  readonly settled: string | undefined
  /** What it looks like itself, and that domain's signature. */
  readonly nearest: string
  readonly signature: Signature
  readonly features: Float64Array
  /** Some of its values, always from the same places. */
  readonly values: Float32Array
  /** Milliseconds, as of Date.now(). */
  readonly at: number
}

interface Stream {
  domain: string | undefined
  window: FitWindow | undefined
}

export class StreamFits {
  readonly #table: StreamTable<Stream>

  /** A stream whose last pictures have a smaller p-value fits no domain. */
  constructor (fitMin: number) {
    this.#table = new StreamTable<Stream>({
      streams: STREAMS_MAX,
      callerStreams: CALLER_STREAMS_MAX,
      begin: () => ({ domain: undefined, window: undefined }),
      shows: ({ window }) => window !== undefined && window.p < fitMin
    })
  }

  /**
   * Takes note of a picture; returns the p-value of the stream's last pictures, 1 where nothing is known. Only those
   * count that look like what the stream is settled on: the others are odd ones, which are outvoted.
   */
  see (model: string, { caller, stream: name }: Sender, picture: StreamPicture): number {
    const stream = this.#table.of(caller, JSON.stringify([model, name]), picture.at)
    if (stream === undefined) return 1
    const { settled = stream.domain, nearest, signature, features, values } = picture
    if (settled !== stream.domain) {
      stream.domain = settled
      stream.window = undefined
    }
    if (nearest === settled) {
      if (stream.window?.isFor(signature) !== true) stream.window = new FitWindow(signature)
      stream.window.add(features, values)
    }
    return stream.window?.p ?? 1
  }

  /** Streams that are followed. */
  get size (): number {
    return this.#table.size
  }
}
