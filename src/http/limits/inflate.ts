/**
 * Compressed bodies: how long they say they are, and inflating them in one step within a bound.
 *
 * In pieces, each piece would be a turn of the event loop and garbage of its own, and a body of 64 kB has a thousand of
 * them: small bodies are inflated by Node's own threads at once, all others in a thread of ours (see body-thread.ts).
 */
import { promisify } from 'node:util'
import { gunzip, gunzipSync, inflate, inflateSync, type InputType, type ZlibOptions } from 'node:zlib'
import { BankswitchError } from '../../base/errors.js'
import { httpErrors } from '../errors.js'
import type { BodyShare } from './body-budget.js'

export type Encoding = 'gzip' | 'deflate'

export interface InflateTask {
  encoding: Encoding
  body: Uint8Array
  /** The inflated body has at most so many. */
  bytesMax: number
  /** Bytes in front of it in its memory, for alignment. */
  begin: number
}

/** `inflated` is missing when it would be longer than the task allows; `body` is the task's. */
export interface Inflating {
  body: Uint8Array
  inflated?: Uint8Array
}

/** Inflates in a thread, which has the body's memory for so long. */
export type InflateAside = (task: InflateTask, signal: AbortSignal) => Promise<Inflating>

/** The protocol's deflate is the zlib format (RFC 1950), as HTTP's is (RFC 9110, 8.4.1.2). */
const ENCODINGS: Readonly<Record<string, Encoding>> = { gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate' }

const AT_ONCE = { gzip: promisify(gunzip), deflate: promisify(inflate) } as unknown as Readonly<
  Record<Encoding, (bytes: InputType, options: ZlibOptions) => Promise<Buffer>>
>
const IN_THREAD = { gzip: gunzipSync, deflate: inflateSync }

/** Bodies up to this length, inflated, are inflated at once. */
const AT_ONCE_BYTES_MAX = 2 ** 18

/** The least that a body is tried with, whatever it says. */
const ROOM_MIN = 2 ** 10

/** Where a body does not say how long it is, or lies, it is tried with so many times as much. */
const GROWTH = 4

/** DEFLATE makes at most so many bytes out of one (RFC 1951: 258 bytes out of two bits). */
const RATIO_MAX = 1032

/** Zlib takes no smaller one. */
const CHUNK_BYTES_MIN = 64

/** RFC 1952: a gzip file ends in its length modulo 2^32. */
const LENGTH_BYTES = 4

/** Undefined for a body that is not compressed. Throws CONTENT_ENCODING_UNSUPPORTED. */
export function encodingOf (header: string | undefined): Encoding | undefined {
  const encoding = header?.trim().toLowerCase() ?? ''
  if (encoding === '' || encoding === 'identity') return undefined
  if (Object.hasOwn(ENCODINGS, encoding)) return ENCODINGS[encoding]
  throw httpErrors.CONTENT_ENCODING_UNSUPPORTED('the content encoding is not supported', {
    expected: ['gzip', 'deflate'], received: encoding.slice(0, 50)
  })
}

/** What the inflated body may be, and whose room it takes. */
export interface InflateBounds {
  bytesMax: number
  share: BodyShare
  begin: number
  aside: InflateAside
}

/**
 * Rejects with CONTENT_ENCODING_INVALID, REQUEST_TOO_LARGE, BODIES_FULL, REQUEST_ABORTED. The caller has counted the
 * compressed body; its room is given back.
 */
export async function inflateBody (
  encoding: Encoding, compressed: Uint8Array, { bytesMax, share, begin, aside }: InflateBounds
): Promise<Uint8Array> {
  const { length } = compressed
  const told = encoding === 'gzip' ? toldLength(compressed) : undefined
  if (told !== undefined && told > bytesMax) throw tooLarge(bytesMax, told)
  let body = compressed
  let held = 0
  for (let room = Math.max(ROOM_MIN, told ?? GROWTH * length); ; room *= GROWTH) {
    room = Math.min(room, bytesMax)
    share.add(room - held)
    held = room
    const task = { encoding, body, bytesMax: room, begin }
    const outcome = room <= AT_ONCE_BYTES_MAX ? await inflateAtOnce(task) : await aside(task, share.signal)
    if (outcome.inflated !== undefined) {
      share.giveBack(length + held - outcome.inflated.length)
      return outcome.inflated
    }
    if (room === bytesMax) throw tooLarge(bytesMax)
    body = outcome.body
  }
}

/** Undefined for a file that is too short to have one, or could never come to as much. */
function toldLength (bytes: Uint8Array): number | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined
  const told = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - LENGTH_BYTES).getUint32(0, true)
  return told > RATIO_MAX * bytes.length ? undefined : told
}

async function inflateAtOnce (task: InflateTask): Promise<Inflating> {
  const { encoding, body, bytesMax, begin } = task
  try {
    return { body, inflated: moved(await AT_ONCE[encoding](body, optionsFor(bytesMax)), begin) }
  } catch (thrown) {
    return tooLongOr(thrown, task)
  }
}

/** Throws CONTENT_ENCODING_INVALID. */
export function inflateInThread (task: InflateTask): Inflating {
  const { encoding, body, bytesMax, begin } = task
  try {
    return { body, inflated: moved(IN_THREAD[encoding](body, optionsFor(bytesMax)), begin) }
  } catch (thrown) {
    return tooLongOr(thrown, task)
  }
}

/** In one piece, which has room for one byte more than is allowed. */
function optionsFor (bytesMax: number): ZlibOptions {
  return { maxOutputLength: bytesMax, chunkSize: Math.max(CHUNK_BYTES_MIN, bytesMax + 1) }
}

/** To memory of its own and no more. */
function moved (inflated: Uint8Array, begin: number): Uint8Array {
  const memory = new Uint8Array(new ArrayBuffer(begin + inflated.length), begin)
  memory.set(inflated)
  return memory
}

function tooLongOr (thrown: unknown, { body }: InflateTask): Inflating {
  const { code = '', message } = thrown as NodeJS.ErrnoException
  if (code === 'ERR_BUFFER_TOO_LARGE') return { body }
  throw httpErrors.CONTENT_ENCODING_INVALID('the body is not what its Content-Encoding says', {
    received: message
  }, thrown)
}

export function tooLarge (expected: number, received?: number): BankswitchError {
  return httpErrors.REQUEST_TOO_LARGE('the request body is too large', {
    expected: `at most ${expected} bytes`, ...(received === undefined ? {} : { received })
  })
}
