/** A models folder made in code, for services over other models than the shipped ones. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageToImageManifest, Manifest } from '#src/models/manifest.js'

export interface MadeModel {
  manifest: Manifest
  graph: Uint8Array
  labels?: string[]
}

export async function writeModels (folder: string, models: readonly MadeModel[]): Promise<string> {
  for (const { manifest, graph, labels } of models) {
    const place = join(folder, manifest.name)
    await mkdir(place, { recursive: true })
    await writeFile(join(place, 'manifest.json'), JSON.stringify(manifest))
    await writeFile(join(place, manifest.graph), graph)
    if (labels !== undefined) await writeFile(join(place, 'labels.json'), JSON.stringify(labels))
  }
  return folder
}

/** For `superResolver` with one block, whose output pixels see 5 pixels far. */
export const DOUBLER: ImageToImageManifest = {
  format: 1,
  name: 'doubler',
  title: 'Doubler',
  graph: 'model.onnx',
  task: 'image-to-image',
  input: { name: 'x', colour: 'rgb', layout: 'NCHW', mean: [0, 0, 0], std: [1, 1, 1] },
  output: { name: 'doubled', scale: 2, black: 0, white: 1 },
  tiling: { tile: 32, overlap: 5, multipleOf: 1 },
  defaultDomain: 'plain'
}
