/** Pass: the runtime's own optimisation, for this processor. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseModel, serializeModel, type OnnxModel } from '../onnx/model.js'
import { openSession } from '../ort/session.js'

/**
 * A fusion of ONNX Runtime (1.30) that makes one node of a Conv and the Add behind it although the graph gives out what
 * the Conv makes: the output is then gone. It is left out where that happens.
 */
const SWALLOWS_OUTPUTS = { 'optimization.disable_specified_optimizers': 'ConvAddActivationFusion' }

/** What the runtime makes of a model; it goes through a file in `folder`. Throws ORT_LOAD_FAILED. */
export async function optimise (model: OnnxModel, folder: string): Promise<OnnxModel> {
  const optimised = await optimiseWith(model, folder, {})
  return hasItsOutputs(optimised) ? optimised : await optimiseWith(model, folder, SWALLOWS_OUTPUTS)
}

async function optimiseWith (
  model: OnnxModel, folder: string, config: Readonly<Record<string, string>>
): Promise<OnnxModel> {
  const optimizedPath = join(folder, '.optimised.onnx')
  const session = await openSession(serializeModel(model), { optimization: 'all', optimizedPath, config })
  await session.release()
  const bytes = await readFile(optimizedPath)
  await rm(optimizedPath)
  return parseModel(bytes)
}

function hasItsOutputs ({ graph }: OnnxModel): boolean {
  const made = new Set([
    ...graph.node.flatMap(({ output }) => output), ...[...graph.input, ...graph.initializer].map(({ name }) => name)
  ])
  return graph.output.every(({ name }) => made.has(name))
}
