/** The models folder: one folder a model, each with a manifest.json. Read once, at start. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hasErrno } from '../base/errors.js'
import { isName } from '../base/names.js'
import { modelErrors } from './errors.js'
import { parseManifest, readLabels, type Manifest } from './manifest.js'

export interface ModelEntry {
  readonly manifest: Manifest
  /** None where the task has no classes. */
  readonly labels: readonly string[]
  readonly folder: string
  readonly graphPath: string
}

/**
 * Reads every model of the folder, in name order; links are followed, names that begin with a dot are passed over.
 * Throws MANIFEST_INVALID, or MODEL_FILE_UNREADABLE when the folder or a manifest in it cannot be read.
 */
export async function readRepository (modelsFolder: string): Promise<ModelEntry[]> {
  let names: string[]
  try {
    const visible = (await readdir(modelsFolder)).filter((name) => !name.startsWith('.')).sort()
    const stats = await Promise.all(visible.map((name) => stat(join(modelsFolder, name))))
    names = visible.filter((_, at) => stats[at]!.isDirectory())
  } catch (cause) {
    throw modelErrors.MODEL_FILE_UNREADABLE(`the models folder cannot be read: ${(cause as Error).message}`, {}, cause)
  }
  return await Promise.all(names.map((name) => readModel(modelsFolder, name)))
}

/** Throws MANIFEST_INVALID or MODEL_FILE_UNREADABLE. */
export async function readModel (modelsFolder: string, name: string): Promise<ModelEntry> {
  if (!isName(name)) throw modelErrors.MANIFEST_INVALID(`"${name}" is no name for a model`, { received: name })
  const folder = join(modelsFolder, name)
  let text: string
  try {
    text = await readFile(join(folder, 'manifest.json'), 'utf8')
  } catch (cause) {
    if (hasErrno(cause, 'ENOENT')) {
      throw modelErrors.MANIFEST_INVALID(`the model folder "${name}" has no manifest.json`, { received: name }, cause)
    }
    const { message } = cause as Error
    throw modelErrors.MODEL_FILE_UNREADABLE(`the manifest of "${name}" cannot be read: ${message}`, {}, cause)
  }
  const manifest = parseManifest(text, name)
  const labels = manifest.task === 'classification' ? await readLabels(join(folder, manifest.labels)) : []
  return { manifest, labels, folder, graphPath: join(folder, manifest.graph) }
}
