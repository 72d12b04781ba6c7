/** From a model folder to a compiled artefact: from the cache when it is current, else compiled and proven first. */
import { sha256File } from '../base/digest.js'
import { compileInProcess } from '../compiler/compile-process.js'
import { cachedArtefact, cacheKey } from '../compiler/cache.js'
import { inputShapes } from './manifest.js'
import type { BankswitchError } from '../base/errors.js'
import type { Artefact } from '../compiler/artefact.js'
import type { CompileOptions, CompileStep } from '../compiler/pipeline.js'
import type { ModelEntry } from './repository.js'

export interface ObtainOptions {
  cacheFolder: string
  foldBudget: number
  signal?: AbortSignal
  onProgress? (step: CompileStep, attempt: number): void
  onCorrupt? (error: BankswitchError): void
}

export interface ObtainedArtefact {
  artefact: Artefact
  /** Names the artefact among all others. */
  key: string
}

/** Throws what the compiler throws, and the errno error when the model file cannot be read. */
export async function obtainArtefact (entry: ModelEntry, options: ObtainOptions): Promise<ObtainedArtefact> {
  const { input } = entry.manifest
  const compileOptions: CompileOptions = {
    foldBudget: options.foldBudget,
    samples: inputShapes(entry.manifest).map((shape) => ({ [input.name]: shape }))
  }
  const key = cacheKey(await sha256File(entry.graphPath), compileOptions)
  const artefact = await cachedArtefact(options.cacheFolder, key, {
    compile: (folder) => compileInProcess(
      { modelPath: entry.graphPath, folder, options: compileOptions }, options.onProgress ?? (() => {}), options.signal
    ),
    ...(options.onCorrupt === undefined ? {} : { onCorrupt: options.onCorrupt })
  })
  return { artefact, key }
}
