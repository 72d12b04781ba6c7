/** A compiled model: from the cache when it is current, else compiled in a process of its own and proven first. */
import { cachedArtefact, cacheKey } from './cache.js'
import { compileInProcess } from './compile-process.js'
import { sourceDigests, type ModelSource } from './source/model-source.js'
import type { BankswitchError } from '../base/errors.js'
import type { Artefact } from './artefact.js'
import type { CompileOptions } from './compile-options.js'
import type { Progress } from './pass.js'

export interface ObtainHooks {
  cacheFolder: string
  signal?: AbortSignal
  onProgress?: Progress
  /** Told that another process compiles the same model, and that its result is waited for. */
  onWaiting? (): void
  onCorrupt? (error: BankswitchError): void
}

export interface ObtainedArtefact {
  artefact: Artefact
  /** Names the artefact among all others. */
  key: string
}

/** Throws what the compiler throws, and the errno error when a file of the model cannot be read. */
export async function obtainArtefact (
  source: ModelSource, options: CompileOptions, hooks: ObtainHooks
): Promise<ObtainedArtefact> {
  const key = cacheKey([source.origin, ...await sourceDigests(source)], options)
  const artefact = await cachedArtefact(hooks.cacheFolder, key, {
    ...hooks,
    compile: (folder) => compileInProcess({ source, folder, options }, hooks.onProgress ?? (() => {}), hooks.signal)
  })
  return { artefact, key }
}
