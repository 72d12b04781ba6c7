/**
 * A calibration in a thread of its own, which yields to every other: it takes what inference leaves, and its memory
 * goes back to the system with it. Nothing that a request waits for runs behind it.
 */
import { Worker } from 'node:worker_threads'
import { fromErrorRecord, type ErrorRecord } from '../base/errors.js'
import { calibrationErrors } from './errors.js'
import type { Bank, BatchNormLayer } from '../bank/bank.js'
import type { ModelSource } from '../compiler/source/model-source.js'
import type { PreprocessRules } from '../imaging/preprocess.js'
import type { ValueDescription } from '../ort/session.js'
import type { NamedFile } from './archives.js'
import type { Calibrated } from './calibrate.js'
import type { CalibrationOptions } from './options.js'
import type { ImageCounts } from './read-images.js'
import type { Signature } from '../signature/signature.js'
import type { SignatureRequest } from './take-signature.js'

export interface CalibrationRequest {
  source: ModelSource
  fingerprint: string
  layers: readonly BatchNormLayer[]
  base: Bank
  options: CalibrationOptions
  input: ValueDescription
  /** For pictures; tensors come prepared. */
  rules?: PreprocessRules
  /** Absent where the images are not prepared as pictures are that a domain is chosen for. */
  signature?: SignatureRequest
  classOutput?: string
  /** Pictures and archives of them; or one safetensors file. Given away. */
  uploads: NamedFile[]
  isTensors: boolean
  imagePixels: number
  budgetBytes: number
}

export interface CalibrationOutcome extends Calibrated {
  images: ImageCounts
  signature?: Signature
  /** Time of reading the images, and of the forward runs. */
  decodeMs: number
  forwardMs: number
}

export type ThreadMessage =
  | { type: 'progress', share: number }
  | { type: 'done', outcome: CalibrationOutcome }
  | { type: 'failed', error: ErrorRecord }

export interface ThreadData extends CalibrationRequest {
  /** In shared memory: not 0 when the thread is to end. It never waits for a message while it computes. */
  cancelled: Int32Array
}

const SCRIPT = new URL('./calibration-worker.js', import.meta.url)

/**
 * Rejects with the calibration's own error, CALIBRATION_CRASHED when the thread died, or the signal's reason, once the
 * image or batch under way is done.
 */
export async function calibrateInThread (
  request: CalibrationRequest, onProgress: (share: number) => void, signal?: AbortSignal
): Promise<CalibrationOutcome> {
  signal?.throwIfAborted()
  const uploads = request.uploads.map(({ name, bytes }) => ({ name, bytes: ownBytes(bytes) }))
  const cancelled = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const data: ThreadData = { ...request, uploads, cancelled }
  const worker = new Worker(SCRIPT, { workerData: data, transferList: uploads.map(({ bytes }) => bytes.buffer) })
  // The thread is asked, never terminated: ending it within a native call would end the whole process.
  const abort = () => Atomics.store(cancelled, 0, 1)
  signal?.addEventListener('abort', abort)
  let settled: (() => CalibrationOutcome) | undefined
  try {
    return await new Promise<CalibrationOutcome>((resolve, reject) => {
      let failure: Error | undefined
      worker.on('message', (message: ThreadMessage) => {
        if (message.type === 'progress') onProgress(message.share)
        else if (message.type === 'done') settled = () => message.outcome
        else settled = () => { throw fromErrorRecord(message.error) }
      })
      worker.on('error', (error: Error) => { failure = error })
      worker.once('exit', () => {
        if (signal?.aborted === true) return reject(signal.reason)
        if (settled === undefined) {
          return reject(calibrationErrors.CALIBRATION_CRASHED('the calibration thread died', {}, failure))
        }
        try {
          resolve(settled())
        } catch (error) {
          reject(error)
        }
      })
    })
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** Bytes over a buffer of their own, which can be given away: small ones lie in a pool that others use too. */
function ownBytes (bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const isAlone = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
  return isAlone ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes)
}
