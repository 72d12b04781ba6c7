/**
 * Compilation in a process of its own: it blocks for seconds, takes several times the model's memory and gives it all
 * back, and a native crash on a hostile model ends the child, not the server.
 */
import { fork } from 'node:child_process'
import { fromErrorRecord, type ErrorRecord } from '../base/errors.js'
import { compilerErrors } from './errors.js'
import type { CompileOptions } from './compile-options.js'
import type { DedicatedGraph, DedicateRequest } from './dedicate.js'
import type { Progress } from './pass.js'
import type { ModelSource } from './source/model-source.js'

export interface CompileRequest {
  source: ModelSource
  folder: string
  options: CompileOptions
}

/** What the child is asked, by the name of the task. */
export type ChildRequest =
  | { task: 'compile', request: CompileRequest }
  | { task: 'write-dedicated' | 'prove-dedicated', request: DedicateRequest }

export type CompileMessage =
  | { type: 'progress', pass: string, round: number }
  | { type: 'done', result: unknown }
  | { type: 'failed', error: ErrorRecord }

const CHILD = new URL('./compile-child.js', import.meta.url)

/** The last of what a crashed child wrote, for the error. */
const STDERR_KEPT = 4000

const ignore: Progress = () => {}

/**
 * Compiles `source` into `folder`. Rejects with the compiler's own error, COMPILE_CRASHED when the child died, or
 * the signal's reason when it was aborted.
 */
export async function compileInProcess (
  request: CompileRequest, onProgress: Progress, signal?: AbortSignal
): Promise<void> {
  await inChild({ task: 'compile', request }, onProgress, signal)
}

/**
 * Makes and proves the network of one bank (dedicate.ts) in children that give way to inference: one writes it,
 * the other has memory that is all its own to measure. Rejects like `compileInProcess`.
 */
export async function dedicateInProcess (request: DedicateRequest, signal?: AbortSignal): Promise<DedicatedGraph> {
  await inChild({ task: 'write-dedicated', request }, ignore, signal)
  return await inChild({ task: 'prove-dedicated', request }, ignore, signal) as DedicatedGraph
}

async function inChild (request: ChildRequest, onProgress: Progress, signal?: AbortSignal): Promise<unknown> {
  signal?.throwIfAborted()
  const child = fork(CHILD, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] })
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-STDERR_KEPT) })
  const abort = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', abort)
  try {
    return await new Promise<unknown>((resolve, reject) => {
      child.on('message', (message: CompileMessage) => {
        if (message.type === 'progress') onProgress(message.pass, message.round)
        else if (message.type === 'done') resolve(message.result)
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
