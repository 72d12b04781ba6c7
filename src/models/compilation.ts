/** What the compiler is to make of a model folder. */
import { join } from 'node:path'
import { rowShapes } from './manifest.js'
import type { CompileOptions } from '../compiler/compile-options.js'
import type { ModelSource } from '../compiler/source/model-source.js'
import type { ModelEntry } from './repository.js'

export function sourceOf ({ graphPath, folder, manifest: { batchNorms } }: ModelEntry): ModelSource {
  const origin = batchNorms?.from ?? 'graph'
  const state = batchNorms?.from === 'reference-state' ? { statePath: join(folder, batchNorms.state) } : {}
  return { path: graphPath, origin, ...state }
}

/** Samples in every size that the model's domains are served with. */
export function compileOptionsOf ({ manifest }: ModelEntry, foldBudget: number): CompileOptions {
  return { foldBudget, samples: rowShapes(manifest, 'proven') }
}
