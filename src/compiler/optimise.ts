/** Pass: the runtime's own optimisation, for this processor. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseModel, serializeModel, type OnnxModel } from '../onnx/model.js'
import { openSession } from '../ort/session.js'

/** What the runtime makes of a model; it goes through a file in `folder`. Throws ORT_LOAD_FAILED. */
export async function optimise (model: OnnxModel, folder: string): Promise<OnnxModel> {
  const optimizedPath = join(folder, '.optimised.onnx')
  const session = await openSession(serializeModel(model), { optimization: 'all', optimizedPath })
  await session.release()
  const bytes = await readFile(optimizedPath)
  await rm(optimizedPath)
  return parseModel(bytes)
}
