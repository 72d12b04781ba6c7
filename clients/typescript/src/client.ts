/**
 * A server's API as methods. Each rejects with a BankswitchError that carries the server's code, with the reason of its
 * signal, or with a TypeError for what cannot be sent at all. What has no method here, `request` reaches.
 */
import { encodeBank, type BankValues, type BlendOptions, type RegisterOptions } from './banks.js'
import {
  calibrationForm, isEnded, resultOf, type CalibrateOptions, type CalibrationImages, type CalibrationOptions,
  type CalibrationResult, type WatchOptions
} from './calibration.js'
import { decodeInference, encodeInference, type Inference, type InferOptions } from './inference.js'
import { domainHeader, domainList, preconditionHeaders } from './options.js'
import {
  pictureOf, pictureType, sheetOf, type CompareOptions, type LabelOptions, type Picture, type PictureOptions,
  type Sheet, type SheetOptions
} from './pictures.js'
import { jsonOf, Transport, type Answer, type Message } from './transport.js'
import type { CallOptions, ClientOptions, PreconditionOptions } from './options.js'
import type { AnswerOf, Given, Route } from './routes.js'
import type {
  Accepted, Comparison, Domain, Drift, DriftCandidate, Job, Model, Predictions, Progress, Registered
} from './generated/api.js'
import type { InputTensor } from './tensors.js'

const DOMAIN = '/admin/models/{model}/domains/{domain}'
const BLEND = `POST ${DOMAIN}/blend`
const POLL_MS = 500

/** A server that does not answer must not keep whoever gives up. */
const CANCEL_MS = 5_000

type Unsent<R extends Route> = Omit<Given<R>, 'body'> & Pick<Message, 'body' | 'type' | 'timeoutMs'>

export class Client {
  readonly #transport: Transport

  /** `url` is where the server listens; its admin API may have another. Throws a TypeError for what is no URL. */
  constructor (url: string, options: ClientOptions = {}) {
    this.#transport = new Transport(url, options)
  }

  /** Any route of the API: bytes and forms go as they are, other bodies as JSON; answers come as their type says. */
  async request<R extends Route> (route: R, given: Given<R>, options: CallOptions = {}): Promise<AnswerOf<R>> {
    const { body, ...rest } = given as Message & { body?: unknown }
    const message = isPlain(body) ? { ...rest, body: JSON.stringify(body), type: 'application/json' } : given
    return await this.#ask(route, message as Unsent<R>, options)
  }

  /** Answers tensors by tensors, all inputs by their names. */
  async infer (
    model: string, inputs: Readonly<Record<string, InputTensor>>, options: InferOptions = {}
  ): Promise<Inference> {
    const { body, header } = encodeInference(inputs, options.outputs)
    return decodeInference(await this.#send('POST /v2/models/{model}/infer', {
      path: { model }, header: { ...header, ...domainHeader(options) }, body, timeoutMs: options.timeoutMs
    }, options))
  }

  /** A picture to labels or, with `accept`, to another picture: the model's task decides which it can. */
  async predict (model: string, picture: Uint8Array | Blob, options?: LabelOptions): Promise<Predictions>
  async predict (model: string, picture: Uint8Array | Blob, options: PictureOptions): Promise<Picture>
  async predict (
    model: string, picture: Uint8Array | Blob, options: LabelOptions | PictureOptions = {}
  ): Promise<Predictions | Picture> {
    const { accept = 'application/json', progressKey, timeoutMs } = options
    const query = options.accept === undefined ? { top: options.top } : { quality: options.quality }
    const header = { accept, 'x-progress-key': progressKey, ...domainHeader(options) }
    const answer = await this.#send('POST /v1/models/{model}/predict', {
      path: { model }, query, header, body: picture, type: await pictureType(picture), timeoutMs
    }, options)
    return options.accept === undefined ? jsonOf(answer) as Predictions : pictureOf(answer)
  }

  /**
   * A picture under several banks: what each says and how far they agree, or, with `accept`, their pictures side by
   * side.
   */
  async compare (model: string, picture: Uint8Array | Blob, options?: CompareOptions): Promise<Comparison>
  async compare (model: string, picture: Uint8Array | Blob, options: SheetOptions): Promise<Sheet>
  async compare (
    model: string, picture: Uint8Array | Blob, options: CompareOptions | SheetOptions = {}
  ): Promise<Comparison | Sheet> {
    const { accept = 'application/json', domains, timeoutMs } = options
    const query = { domains: domainList(domains), ...(options.accept === undefined ? { top: options.top } : {}) }
    const header: Record<string, string> = { accept }
    const answer = await this.#send('POST /v1/models/{model}/compare', {
      path: { model }, query, header, body: picture, type: await pictureType(picture), timeoutMs
    }, options)
    return options.accept === undefined ? jsonOf(answer) as Comparison : sheetOf(answer)
  }

  /** How far the picture has got that was sent with this `progressKey`. */
  async progress (key: string, options?: CallOptions): Promise<Progress> {
    return await this.request('GET /v1/progress/{key}', { path: { key } }, options)
  }

  async models (options?: CallOptions): Promise<Model[]> {
    return (await this.request('GET /v1/models', {}, options)).models
  }

  async model (model: string, options?: CallOptions): Promise<Model> {
    return await this.request('GET /v1/models/{model}', { path: { model } }, options)
  }

  async domains (model: string, options?: CallOptions): Promise<Domain[]> {
    return (await this.request('GET /v1/models/{model}/domains', { path: { model } }, options)).domains
  }

  /** With all its versions; its `revision` is for `ifRevision`. */
  async domain (model: string, domain: string, options?: CallOptions): Promise<Domain> {
    return await this.request('GET /v1/models/{model}/domains/{domain}', { path: { model, domain } }, options)
  }

  /** Whether pictures are still those of the domain. Rejects with DRIFT_OFF where nobody looks for it. */
  async drift (model: string, domain: string, options?: CallOptions): Promise<Drift> {
    return await this.request('GET /v1/models/{model}/domains/{domain}/drift', { path: { model, domain } }, options)
  }

  /**
   * New domains made of pictures that fitted none, and what they would change; others that nobody has decided about,
   * from before a restart for example, are among `domains`. Rejects with DRIFT_OFF where none are made.
   */
  async candidates (model: string, options?: CallOptions): Promise<DriftCandidate[]> {
    return (await this.request('GET /admin/models/{model}/candidates', { path: { model } }, options)).candidates
  }

  /** A new version of a domain, or a new domain: from a safetensors or npz file, or from values. */
  async register (
    model: string, domain: string, bank: Uint8Array | Blob | BankValues, options: RegisterOptions = {}
  ): Promise<Registered> {
    const { activate, preprocessing } = options
    const rules = preprocessing === undefined ? undefined : JSON.stringify(preprocessing)
    return await this.#ask(`PUT ${DOMAIN}`, {
      path: { model, domain },
      query: { activate, preprocessing: rules },
      header: preconditionHeaders(options),
      ...encodeBank(bank)
    }, options)
  }

  /** Keeps a blend of other domains, such as `day=0.7,lowlight=0.3`, as a new version of a domain or a new domain. */
  async registerBlend (
    model: string, domain: string, blend: string, options: BlendOptions = {}
  ): Promise<AnswerOf<typeof BLEND>> {
    const { activate, description } = options
    return await this.request(BLEND, {
      path: { model, domain }, query: { activate }, header: preconditionHeaders(options), body: { blend, description }
    }, options)
  }

  /** Lets requests have this version. */
  async activate (
    model: string, domain: string, version: number, options: CallOptions & PreconditionOptions = {}
  ): Promise<Domain> {
    const given = { path: { model, domain }, header: preconditionHeaders(options), body: { version } }
    return await this.request(`POST ${DOMAIN}/activate`, given, options)
  }

  /** Lets requests have the version that was active before. */
  async rollback (
    model: string, domain: string, options: CallOptions & PreconditionOptions = {}
  ): Promise<Domain> {
    const given = { path: { model, domain }, header: preconditionHeaders(options) }
    return await this.request(`POST ${DOMAIN}/rollback`, given, options)
  }

  /** The bank of a version, as a safetensors file. */
  async download (model: string, domain: string, version: number, options?: CallOptions): Promise<Uint8Array> {
    return await this.request(`GET ${DOMAIN}/versions/{version}`, { path: { model, domain, version } }, options)
  }

  /** Removes a domain with all its versions. */
  async deleteDomain (
    model: string, domain: string, options: CallOptions & PreconditionOptions = {}
  ): Promise<void> {
    await this.request(`DELETE ${DOMAIN}`, { path: { model, domain }, header: preconditionHeaders(options) }, options)
  }

  /** Removes a version that is not active. */
  async deleteVersion (
    model: string, domain: string, version: number, options: CallOptions & PreconditionOptions = {}
  ): Promise<Domain> {
    const given = { path: { model, domain, version }, header: preconditionHeaders(options) }
    return await this.request(`DELETE ${DOMAIN}/versions/{version}`, given, options)
  }

  /**
   * A version of a domain, new or not, from unlabelled images, waited for. Rejects with the error of the job; a signal
   * that aborts cancels the job.
   */
  async calibrate (
    model: string, domain: string, images: CalibrationImages, options: CalibrateOptions = {}
  ): Promise<CalibrationResult> {
    const { onProgress, pollMs, ...given } = options
    const { signal } = options
    const { id } = await this.startCalibration(model, domain, images, given)
    let job: Job | undefined
    try {
      for await (job of this.watch(id, { signal, pollMs })) onProgress?.(job)
    } catch (error) {
      if (signal?.aborted === true) await this.cancel(id, { signal: AbortSignal.timeout(CANCEL_MS) }).catch(() => {})
      throw error
    }
    return resultOf(job!)
  }

  /** The same without waiting: the job's id is for `watch`, `job` and `cancel`. */
  async startCalibration (
    model: string, domain: string, images: CalibrationImages, options: CalibrationOptions = {}
  ): Promise<Accepted> {
    const { signal, requestId, ifRevision, ifNew, ...fields } = options
    return await this.#ask(`POST ${DOMAIN}/calibrations`, {
      path: { model, domain },
      header: preconditionHeaders({ ifRevision, ifNew }),
      body: calibrationForm(images, fields)
    }, { signal, requestId })
  }

  /** How a job stands, again and again until it has ended. */
  async * watch (id: string, { pollMs = POLL_MS, ...options }: WatchOptions = {}): AsyncGenerator<Job, void> {
    for (;;) {
      const job = await this.job(id, options)
      yield job
      if (isEnded(job)) return
      await this.#transport.wait(pollMs, options.signal)
    }
  }

  async job (id: string, options?: CallOptions): Promise<Job> {
    return await this.request('GET /admin/jobs/{id}', { path: { id } }, options)
  }

  /** Cancels a job; one that has ended stays what it is. */
  async cancel (id: string, options?: CallOptions): Promise<Job> {
    return await this.request('DELETE /admin/jobs/{id}', { path: { id } }, options)
  }

  async #ask<R extends Route> (route: R, message: Unsent<R>, options: CallOptions): Promise<AnswerOf<R>> {
    return contentOf(await this.#send(route, message, options)) as AnswerOf<R>
  }

  async #send<R extends Route> (route: R, message: Unsent<R>, options: CallOptions): Promise<Answer> {
    return await this.#transport.send(route, message as Message, options)
  }
}

/** True for what goes as JSON. */
function isPlain (body: unknown): boolean {
  return !(body === undefined || body instanceof Uint8Array || body instanceof Blob || body instanceof FormData)
}

function contentOf (answer: Answer): unknown {
  const type = answer.headers.get('content-type') ?? ''
  if (type.startsWith('application/json')) return jsonOf(answer)
  if (type === 'application/octet-stream' || type.startsWith('image/')) return answer.bytes
  return answer.bytes.length === 0 ? undefined : new TextDecoder().decode(answer.bytes)
}
