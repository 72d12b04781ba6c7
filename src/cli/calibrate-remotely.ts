/** A calibration on a running server: sends the form, then watches the job. */
import { setTimeout as pause } from 'node:timers/promises'
import { readFile } from 'node:fs/promises'
import { BankswitchError, defineErrors, type ErrorDetails, type ErrorKind } from '../base/errors.js'
import { configErrors } from '../config/load.js'
import { STATUS_OF } from '../http/error-map.js'
import type { JobRecord } from '../calibration/jobs.js'
import type { Settings } from '../config/schema.js'
import type { ErrorBody } from '../http/error-map.js'
import type { CalibrationResult, Uploads } from '../serving/calibrating/calibrations.js'

export interface RemoteCalibration {
  url: string
  settings: Settings
  model: string
  domain: string
  fields: Readonly<Record<string, string>>
  uploads: Uploads
  onProgress (share: number): void
}

const remoteErrors = defineErrors({ REMOTE_REFUSED: 'invalid', REMOTE_UNREACHABLE: 'unavailable' })

const POLL_MS = 300

/** Rejects with REMOTE_REFUSED for an error of the server or the job, REMOTE_UNREACHABLE and CONFIG_INVALID. */
export async function calibrateRemotely (request: RemoteCalibration): Promise<CalibrationResult> {
  const { url, settings, model, domain, fields, uploads, onProgress } = request
  const authorization = `Bearer ${await readKey(settings)}`
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  const [field, files] = uploads.kind === 'pictures' ? ['images', uploads.files] : ['tensors', [uploads.file]]
  for (const { name, bytes } of files) form.append(field, new Blob([bytes as Uint8Array<ArrayBuffer>]), name)
  const path = `/admin/models/${encodeURIComponent(model)}/domains/${encodeURIComponent(domain)}/calibrations`
  const started = await ask(new URL(path, url), { method: 'POST', body: form, headers: { authorization } })
  const { id } = started as { id: string }
  for (;;) {
    const job = await ask(new URL(`/admin/jobs/${id}`, url), { headers: { authorization } }) as JobRecord
    if (job.state === 'succeeded') return job.result as CalibrationResult
    if (job.error !== undefined) throw refused(job.error, 'invalid')
    onProgress(job.progress)
    await pause(POLL_MS)
  }
}

async function readKey ({ adminKey, adminKeyFile }: Settings): Promise<string> {
  if (adminKey !== undefined) return adminKey
  try {
    return (await readFile(adminKeyFile, 'utf8')).trim()
  } catch (cause) {
    throw configErrors.CONFIG_INVALID(
      `the server's admin key is needed: set BANKSWITCH_ADMIN_KEY, or BANKSWITCH_ADMIN_KEY_FILE to its file (${adminKeyFile} is none)`,
      {}, cause
    )
  }
}

async function ask (url: URL, init: RequestInit): Promise<unknown> {
  let response: Response
  try {
    response = await fetch(url, init)
  } catch (cause) {
    throw remoteErrors.REMOTE_UNREACHABLE(`${url.origin} cannot be reached`, {}, cause)
  }
  const { ok, status, statusText } = response
  const body = await response.json().catch(() => undefined) as Partial<ErrorBody> | undefined
  if (ok && body !== undefined) return body
  const { code = String(status), error = statusText, details } = body ?? {}
  throw refused({ code, message: error, details }, kindOf(status))
}

/** `internal` for a status that no error has, such as one of a proxy. */
function kindOf (status: number): ErrorKind {
  const [kind] = Object.entries(STATUS_OF).find(([, known]) => known === status) ?? []
  return kind as ErrorKind | undefined ?? 'internal'
}

interface RemoteError {
  code: string
  message: string
  details?: ErrorDetails | undefined
}

/** Of the kind that it has on the server, so that the exit code is that of the same command without --url. */
function refused ({ code, message, details }: RemoteError, kind: ErrorKind): Error {
  const refusal = remoteErrors.REMOTE_REFUSED(`the server refused: ${message} (${code})`)
  return new BankswitchError(refusal.code, kind, refusal.message, details)
}
