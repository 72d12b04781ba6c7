/**
 * The thread for large bodies: inflates them and reads their JSON. The event loop reads small JSON itself; all other
 * bodies are taken as they arrive, so that nothing else waits for them and their objects fill no heap but the thread's.
 *
 * Bytes, nesting and elements of a body are bounded before anything is made of them. The thread's heap has room for the
 * worst that is left: beyond it V8 would end the whole process, because its parser cannot be interrupted.
 */
import { Worker } from 'node:worker_threads'
import { fromErrorRecord, type ErrorRecord } from '../../base/errors.js'
import { httpErrors } from '../errors.js'
import { parseGoldensJson } from './parse-goldens.js'
import { jsonLengthOf, parseInferenceRequest, type InferenceMessage } from './parse-request.js'
import type { InflateAside, InflateTask, Inflating } from '../limits/inflate.js'
import type { Goldens } from '../../serving/changing/administration.js'

/** Reading this much takes less than a millisecond or two. */
const INLINE_BYTES_MAX = 2 ** 16

const MIB = 2 ** 20

/** A number of two bytes and its comma take 16 bytes in V8's heap, and twice 8 in arrays; elements are bounded. */
const HEAP_MIB = 256
const HEAP_BYTES_PER_JSON_BYTE = 32

const SCRIPT = new URL('./body-worker.js', import.meta.url)

export type BodyTask =
  | { kind: 'inference', body: Uint8Array, headerLength: string | undefined }
  | { kind: 'goldens', body: Uint8Array }
  | { kind: 'inflate' } & InflateTask

export type BodyOutcome = { result: InferenceMessage | Goldens | Inflating } | { error: ErrorRecord }

interface Job {
  task: BodyTask
  resolve (result: unknown): void
  reject (error: unknown): void
  /** When it no longer waits. */
  onBegin (): void
}

export class BodyThread {
  readonly #bytesMax: number
  readonly #waiting: Job[] = []
  #current: Job | undefined
  #thread: Worker | undefined

  /** `bytesMax` is of the JSON alone. */
  constructor (bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /**
   * Takes the body's memory. Rejects with what `parseInferenceRequest` throws, REQUEST_TOO_LARGE, `signal`'s reason,
   * REQUEST_ABORTED.
   */
  async inference (
    body: Uint8Array, headerLength: string | undefined, signal: AbortSignal
  ): Promise<InferenceMessage> {
    const jsonLength = jsonLengthOf(body, headerLength)
    this.#requireSize(jsonLength)
    if (jsonLength <= INLINE_BYTES_MAX) return parseInferenceRequest(body, headerLength)
    const message = await this.#inThread({ kind: 'inference', body, headerLength }, signal) as InferenceMessage
    return { ...message, feeds: Object.assign(Object.create(null), message.feeds) }
  }

  /**
   * Takes the body's memory, and gives it back. Rejects with CONTENT_ENCODING_INVALID, `signal`'s reason,
   * REQUEST_ABORTED.
   */
  readonly inflate: InflateAside = async (task, signal) => {
    return await this.#inThread({ kind: 'inflate', ...task }, signal) as Inflating
  }

  /** As `inference`, with what `parseGoldensJson` throws. */
  async goldens (body: Uint8Array, signal: AbortSignal): Promise<Goldens> {
    this.#requireSize(body.length)
    if (body.length <= INLINE_BYTES_MAX) return parseGoldensJson(body)
    return await this.#inThread({ kind: 'goldens', body }, signal) as Goldens
  }

  /** Bodies that still wait are refused. */
  async close (): Promise<void> {
    const jobs = [...this.#waiting.splice(0), ...this.#current === undefined ? [] : [this.#current]]
    this.#current = undefined
    for (const { reject, onBegin } of jobs) {
      onBegin()
      reject(httpErrors.REQUEST_ABORTED('the server closes'))
    }
    const thread = this.#thread
    // A last message of it must not let the process end before it has.
    this.#thread = undefined
    await thread?.terminate()
  }

  #requireSize (jsonLength: number): void {
    if (jsonLength <= this.#bytesMax) return
    throw httpErrors.REQUEST_TOO_LARGE('the JSON is too large; send tensors as binary data', {
      expected: `at most ${this.#bytesMax} bytes of JSON`, received: jsonLength
    })
  }

  #inThread (task: BodyTask, signal: AbortSignal): Promise<unknown> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const job = { task, resolve, reject, onBegin: () => signal.removeEventListener('abort', leave) }
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(job), 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(job)
      this.#next()
    })
  }

  #next (): void {
    if (this.#current !== undefined) return
    const job = this.#current = this.#waiting.shift()
    if (job === undefined) return this.#thread?.unref()
    const thread = this.#thread ??= this.#start()
    thread.ref()
    const { task, onBegin } = job
    onBegin()
    thread.postMessage(task, [task.body.buffer as ArrayBuffer])
  }

  #start (): Worker {
    const heapMib = HEAP_MIB + Math.ceil(this.#bytesMax / MIB) * HEAP_BYTES_PER_JSON_BYTE
    const thread = new Worker(SCRIPT, { resourceLimits: { maxOldGenerationSizeMb: heapMib } })
    thread.on('message', (outcome: BodyOutcome) => {
      const job = this.#current
      this.#current = undefined
      if ('error' in outcome) job?.reject(fromErrorRecord(outcome.error))
      else job?.resolve(outcome.result)
      this.#next()
    })
    thread.on('error', (error) => {
      const job = this.#current
      this.#thread = this.#current = undefined
      job?.reject(error)
      this.#next()
    })
    return thread
  }
}
