/** The sample pictures that a model comes with, to try it at once: files in its folder `samples/`. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hasErrno } from '../base/errors.js'
import { modelErrors } from './errors.js'
import type { ModelEntry } from './repository.js'

const FOLDER = 'samples'
const NAME = /^[\w-][\w.-]{0,99}\.(png|jpe?g|webp)$/
const SAMPLES_MAX = 64
const BYTES_MAX = 4 * 2 ** 20

/** Names in alphabetical order; none where the model has no such folder. */
export async function sampleNames ({ folder }: Pick<ModelEntry, 'folder'>): Promise<string[]> {
  try {
    return (await readdir(join(folder, FOLDER))).filter((name) => NAME.test(name)).sort().slice(0, SAMPLES_MAX)
  } catch (error) {
    if (hasErrno(error, 'ENOENT') || hasErrno(error, 'ENOTDIR')) return []
    throw error
  }
}

/** The bytes of a picture, and its media type. Throws SAMPLE_NOT_FOUND, also for one that is too large. */
export async function readSample (
  entry: Pick<ModelEntry, 'folder'>, name: string
): Promise<{ bytes: Buffer, type: string }> {
  const path = join(entry.folder, FOLDER, name)
  // Only what the folder lists: the name comes from a request.
  const isThere = (await sampleNames(entry)).includes(name) && (await stat(path)).size <= BYTES_MAX
  if (!isThere) {
    throw modelErrors.SAMPLE_NOT_FOUND('the model has no such sample', { received: name.slice(0, 100) })
  }
  const [, extension] = NAME.exec(name)!
  return { bytes: await readFile(path), type: `image/${extension === 'jpg' ? 'jpeg' : extension}` }
}
