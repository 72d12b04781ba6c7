/** Pictures and archives from paths on the command line. */
import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { configErrors } from '../config/load.js'
import { readNamedFile, unreadable } from './command-line.js'
import type { NamedFile } from '../calibration/archives.js'
import type { Uploads } from '../serving/calibrating/calibrations.js'

/** What is taken out of a folder; a path that is named itself may be anything. */
const EXTENSIONS = ['.png', '.jpg', '.jpeg', '.webp', '.tar', '.tgz', '.gz', '.zip']

const BYTES_MAX = 2 ** 33

/** In name order within a folder. Throws CONFIG_INVALID for a path that cannot be read, or 8 GiB of pictures. */
export async function readUploads (paths: readonly string[]): Promise<Uploads> {
  const [only] = paths
  if (paths.length === 1 && only!.endsWith('.safetensors')) {
    return { kind: 'tensors', file: await readNamed(only!) }
  }
  const files: NamedFile[] = []
  let bytes = 0
  for (const path of (await Promise.all(paths.map(expand))).flat()) {
    const file = await readNamed(path)
    bytes += file.bytes.length
    if (bytes > BYTES_MAX) {
      throw configErrors.CONFIG_INVALID('the images are too large together', { expected: BYTES_MAX })
    }
    files.push(file)
  }
  return { kind: 'pictures', files }
}

async function expand (path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const entries = await readdir(path, { withFileTypes: true, recursive: true })
    return entries.filter((entry) => entry.isFile() && EXTENSIONS.includes(extname(entry.name).toLowerCase()))
      .map((entry) => join(entry.parentPath, entry.name)).sort()
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

async function readNamed (path: string): Promise<NamedFile> {
  return { name: path, bytes: await readNamedFile(path) }
}
