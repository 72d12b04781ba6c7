/**
 * Compilation in a process of its own: it blocks for seconds, takes several times the model's memory and gives it all
 * back, and a native crash on a hostile model ends the child, not the server.
 */
import { fork } from 'node:child_process'
import { fromErrorRecord, type ErrorRecord } from '../base/errors.js'
import { compilerErrors } from './errors.js'
import type { CompileOptions } from './compile-options.js'
import type { Progress } from './pass.js'
import type { ModelSource } from './source/model-source.js'

export interface CompileRequest {
  source: ModelSource
  folder: string
  options: CompileOptions
}

export type CompileMessage =
  | { type: 'progress', pass: string, round: number }
  | { type: 'done' }
  | { type: 'failed', error: ErrorRecord }

const CHILD = new URL('./compile-child.js', import.meta.url)

/** The last of what a crashed child wrote, for the error. */
const STDERR_KEPT = 4000

/**
 * Compiles `source` into `folder`. Rejects with the compiler's own error, COMPILE_CRASHED when the child died, or
 * the signal's reason when it was aborted.
 */
export async function compileInProcess (
  request: CompileRequest, onProgress: Progress, signal?: AbortSignal
): Promise<void> {
  signal?.throwIfAborted()
  const child = fork(CHILD, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] })
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-STDERR_KEPT) })
  const abort = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', abort)
  try {
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: CompileMessage) => {
        if (message.type === 'progress') onProgress(message.pass, message.round)
        else if (message.type === 'done') resolve()
        else reject(fromErrorRecord(message.error))
      })
      child.once('error', (cause) => {
        reject(compilerErrors.COMPILE_CRASHED('the compiler process cannot be reached', {}, cause))
      })
      child.once('close', (code, killedBy) => {
        reject(signal?.aborted === true
          ? signal.reason
          : compilerErrors.COMPILE_CRASHED('the compiler process died', { code, signal: killedBy, stderr }))
      })
      child.send(request)
    })
  } finally {
    signal?.removeEventListener('abort', abort)
    child.removeAllListeners()
    child.kill('SIGKILL')
  }
}
