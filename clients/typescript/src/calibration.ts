/** Calibrations: images and options on their way to a server, and what comes of a job. */
import { BankswitchError } from './errors.js'
import type { Job, JobResult } from './generated/api.js'
import type { CallOptions, PreconditionOptions } from './options.js'
import type { Given } from './routes.js'

/** Pictures, or tar, tar.gz or zip files of them; or one safetensors file with the model's input. */
export type CalibrationImages = ReadonlyArray<Uint8Array | Blob> | { tensors: Uint8Array | Blob }

export type CalibrationOptions = CallOptions & PreconditionOptions &
  Omit<Given<'POST /admin/models/{model}/domains/{domain}/calibrations'>['body'], 'images' | 'tensors'>

export type CalibrateOptions = CalibrationOptions & WatchOptions & {
  /** Told of the job whenever it has been looked at. */
  onProgress?: ((job: Job) => void) | undefined
}

export interface WatchOptions extends CallOptions {
  /** How long to wait before looking again, in ms; 500 if not given. */
  pollMs?: number | undefined
}

/** What came of a job that this client has seen end. */
export type CalibrationResult = JobResult & Required<Pick<JobResult, 'version' | 'images' | 'report'>>

/** A form with a field for each option that is given. */
export function calibrationForm (images: CalibrationImages, options: Readonly<Record<string, unknown>>): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) form.append(name, Array.isArray(value) ? value.join(',') : String(value))
  }
  if ('tensors' in images) form.append('tensors', blobOf(images.tensors), 'tensors.safetensors')
  else for (const [at, image] of images.entries()) form.append('images', blobOf(image), nameOf(image, at))
  return form
}

function blobOf (file: Uint8Array | Blob): Blob {
  // Of memory that is shared there can be no Blob; it says so itself.
  return file instanceof Blob ? file : new Blob([file as Uint8Array<ArrayBuffer>])
}

/** A File has one; reports of broken images name it. */
function nameOf (image: Uint8Array | Blob, at: number): string {
  return 'name' in image ? String(image.name) : `image ${at + 1}`
}

export function isEnded ({ state }: Job): boolean {
  return state !== 'queued' && state !== 'running'
}

/** Throws the error of a job that has failed or was cancelled. */
export function resultOf ({ id, state, result, error }: Job): CalibrationResult {
  if (state === 'succeeded') return result as CalibrationResult
  const { code = 'JOB_CANCELLED', message = `the job ${id} was cancelled`, details } = error ?? {}
  throw new BankswitchError(message, { code, details })
}
