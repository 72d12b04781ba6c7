/** What is compiled: an ONNX file, what lies beside it, and where its batch norms come from. */
import { dirname } from 'node:path'
import { sha256, sha256File } from '../../base/digest.js'
import { readModelFile } from '../../onnx/model-file.js'
import { parseModel } from '../../onnx/model.js'
import { externalLocations, locateWithin } from './external-data.js'

/** Where the batch norms of a model come from: its graph, a state_dict that undoes their folding, or nothing at all. */
export type Origin = 'graph' | 'reference-state' | 'inserted'

export interface ModelSource {
  /** The ONNX file; its external data lie beside it. */
  path: string
  origin: Origin
  /** Safetensors file with the state_dict, for origin `reference-state`. */
  statePath?: string
}

/** Digests of every file that the source consists of, the graph's first. Throws what reading the model throws. */
export async function sourceDigests ({ path, statePath }: ModelSource): Promise<string[]> {
  const bytes = await readModelFile(path)
  const locations = externalLocations(parseModel(bytes))
  const external = await Promise.all(locations.map((location) => locateWithin(dirname(path), location)))
  const others = statePath === undefined ? external : [...external, statePath]
  return [sha256(bytes), ...await Promise.all(others.map((file) => sha256File(file)))]
}
