/**
 * Pass: weights that lie in files beside the model, as exporters write them for large networks.
 *
 * A location is a name from a file that somebody made: it must stay within the model's folder, links followed, and ask
 * for no more bytes than the file has. Cases:
 *
 *  1. `location` with `offset` and `length`: that slice
 *  2. no `offset`: from the beginning; no `length`: to the end
 *  3. an absolute location, one that leaves the folder, or no regular file: refused
 *  4. a slice beyond the end of the file: refused
 *  5. more than a model may hold in all: refused before anything is read
 *  6. tensors in attributes, functions and nested graphs, sparse ones, and those of training: all of these
 *  7. a field that is not known and could hold a tensor: refused
 */
import { open, realpath, stat, type FileHandle } from 'node:fs/promises'
import { dirname, isAbsolute, join, sep } from 'node:path'
import { onnxErrors } from '../../onnx/errors.js'
import { requireKnownFields, tensorsOf } from '../../onnx/messages.js'
import { readModelFile } from '../../onnx/model-file.js'
import { MODEL_BYTES_MAX, parseModel, type OnnxModel } from '../../onnx/model.js'
import { isExternal } from '../../onnx/tensor.js'
import type { TensorProto } from '../../onnx/generated/onnx_pb.js'

const DEFAULT_LOCATION = 0

interface Slice {
  tensor: TensorProto
  location: string
  offset: number
  length: number | undefined
}

/** The files that the model's tensors lie in, as the model names them; sorted, each once. */
export function externalLocations (model: OnnxModel): string[] {
  return [...new Set(slicesOf(model).map(({ location }) => location))].sort()
}

/**
 * For a file that ONNX Runtime is to open itself: it must not be led to read what is elsewhere. Rejects with
 * ONNX_EXTERNAL_DATA, ONNX_UNSUPPORTED, and what reading and parsing the file throw.
 */
export async function requireDataBeside (path: string): Promise<void> {
  const model = parseModel(await readModelFile(path))
  requireKnownFields(model)
  for (const location of externalLocations(model)) await locateWithin(dirname(path), location)
}

/**
 * Edits `model` in place: every external tensor becomes one that holds its bytes. Tells whether there was any.
 * Throws ONNX_EXTERNAL_DATA, ONNX_TOO_LARGE when all slices together exceed what one model may hold, and
 * ONNX_UNSUPPORTED for a field that could hold a tensor and is not known.
 */
export async function loadExternalData (model: OnnxModel, folder: string): Promise<boolean> {
  requireKnownFields(model)
  const files = new Map<string, { file: FileHandle, size: number }>()
  try {
    let total = 0
    for (const { tensor, location, offset, length } of slicesOf(model)) {
      let opened = files.get(location)
      if (opened === undefined) {
        const file = await open(await locateWithin(folder, location), 'r')
        files.set(location, opened = { file, size: (await file.stat()).size })
      }
      const bytes = length ?? opened.size - offset
      if (offset < 0 || bytes < 0 || offset + bytes > opened.size) {
        throw onnxErrors.ONNX_EXTERNAL_DATA(`tensor "${tensor.name}" lies beyond the end of "${location}"`, {
          expected: `at most ${opened.size} bytes`, received: { offset, length: bytes }
        })
      }
      total += bytes
      if (total > MODEL_BYTES_MAX) {
        throw onnxErrors.ONNX_TOO_LARGE('the external data of the model is too large', { expected: MODEL_BYTES_MAX })
      }
      tensor.rawData = await readSlice(opened.file, offset, bytes, location)
      tensor.dataLocation = DEFAULT_LOCATION
      tensor.externalData = []
    }
    return files.size > 0
  } finally {
    for (const { file } of files.values()) await file.close()
  }
}

function slicesOf (model: OnnxModel): Slice[] {
  return [...tensorsOf(model)].filter(isExternal).map((tensor) => {
    const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]))
    const location = entries.get('location') ?? ''
    const offset = numberOf(tensor, entries.get('offset')) ?? 0
    return { tensor, location, offset, length: numberOf(tensor, entries.get('length')) }
  })
}

function numberOf ({ name }: TensorProto, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const number = /^\d{1,15}$/.test(text) ? Number(text) : NaN
  if (Number.isSafeInteger(number)) return number
  throw onnxErrors.ONNX_EXTERNAL_DATA(`tensor "${name}" names no position in its file`, {
    expected: 'a number of bytes', received: text.slice(0, 100)
  })
}

/**
 * The real path of a data file beside the model. Throws ONNX_EXTERNAL_DATA for one that is elsewhere, or is no regular
 * file: a device has no end.
 */
export async function locateWithin (folder: string, location: string): Promise<string> {
  const refused = (why: string, cause?: unknown) => {
    const shown = location.slice(0, 200)
    return onnxErrors.ONNX_EXTERNAL_DATA(`the model's data file "${shown}" ${why}`, { received: shown }, cause)
  }
  if (location === '' || isAbsolute(location)) throw refused('is not named relative to the model')
  let path: string
  try {
    path = await realpath(join(folder, location))
  } catch (cause) {
    throw refused('is not beside the model', cause)
  }
  if (!path.startsWith(await realpath(folder) + sep)) throw refused('lies outside the model\'s folder')
  if (!(await stat(path)).isFile()) throw refused('is no file')
  return path
}

async function readSlice (file: FileHandle, offset: number, length: number, location: string): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length;) {
    const { bytesRead } = await file.read(bytes, at, length - at, offset + at)
    if (bytesRead === 0) {
      throw onnxErrors.ONNX_EXTERNAL_DATA(`the model's data file "${location}" ended while it was read`)
    }
    at += bytesRead
  }
  return bytes
}
