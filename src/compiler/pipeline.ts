/**
 * Runs the passes of passes.ts: those that prepare a source and read it once, then the others in rounds.
 *
 * It may take several rounds. When a pass cannot place a site, or the proof fails, the affected sites are lowered
 * generically; when padding makes a plan dearer than the budget, it is planned again with what was measured. A served
 * artefact has been proven, or there is none.
 */
import { readModelFile } from '../onnx/model-file.js'
import { parseModel, serializeModel } from '../onnx/model.js'
import { asPrepared, Compilation, type PreparedModel } from './compilation.js'
import { runPass, runPasses, type Progress } from './pass.js'
import { ANALYSING, PREPARING, ROUND, type PreparingPass } from './passes.js'
import type { CompileOptions } from './compile-options.js'
import type { ModelSource } from './source/model-source.js'

const nobody: Progress = () => {}

/**
 * Compiles a model from its files into an artefact in `folder`, which must exist.
 *
 * Throws the ONNX_*, ORT_*, SAFETENSORS_* and COMPILE_* errors of the passes; COMPILE_PROOF_FAILED when even the
 * generic form differs from the original.
 */
export async function compileSource (
  source: ModelSource, folder: string, options: CompileOptions, progress = nobody
): Promise<void> {
  await compilePrepared(await prepareSource(source, progress), folder, options, progress)
}

/** Compiles a graph as it is, which holds everything already. Throws as `compileSource`. */
export async function compileModel (
  bytes: Uint8Array, folder: string, options: CompileOptions, progress = nobody
): Promise<void> {
  await compilePrepared(asPrepared(bytes), folder, options, progress)
}

/** Compiles what `prepareSource` made. Throws as `compileSource`. */
export async function compilePrepared (
  prepared: PreparedModel, folder: string, options: CompileOptions, progress = nobody
): Promise<void> {
  const work = new Compilation(prepared, options, folder)
  await runPasses(ANALYSING, work, (name) => progress(name, 1))
  for (let round = 1; !await runPasses(ROUND, work, (name) => progress(name, round)); round++);
}

/**
 * The preparing passes alone. Throws ONNX_*, COMPILE_REFERENCE_MISMATCH, COMPILE_NOTHING_TO_INSERT, SAFETENSORS_*, and
 * the errno error of a file that cannot be read.
 */
export async function prepareSource (
  source: ModelSource, progress = nobody, passes: readonly PreparingPass[] = PREPARING
): Promise<PreparedModel> {
  const bytes = await readModelFile(source.path)
  const model = parseModel(bytes)
  const changing: PreparingPass[] = []
  for (const pass of passes) {
    progress(pass.name, 1)
    if (await runPass(pass, { source, model })) changing.push(pass)
  }
  return {
    bytes: changing.length === 0 ? bytes : serializeModel(model),
    source,
    changedBy: changing.map(({ name }) => name),
    tolerance: Math.max(0, ...changing.map(({ tolerance }) => tolerance))
  }
}
