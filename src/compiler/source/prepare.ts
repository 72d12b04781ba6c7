/**
 * Pass 0: from what people have to a graph whose batch norms stand in the open, in float32.
 *
 *   read -> external data -> inline functions -> widen float16 -> evaluate constants -> restore or insert batch norms
 *
 * Whatever this changed is compared with the file itself, run by the runtime as it is.
 */
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { sha256, sha256File } from '../../base/digest.js'
import { readModelFile } from '../../onnx/model-file.js'
import { parseModel, serializeModel, type OnnxModel } from '../../onnx/model.js'
import { openSession, type PlainTensor } from '../../ort/session.js'
import { compilerErrors } from '../errors.js'
import { relativeError } from '../prove.js'
import { resolveSampleShapes, sampleFeeds, type SampleShapes } from '../sample-inputs.js'
import { evaluateConstants } from './evaluate-constants.js'
import { externalLocations, loadExternalData, locateWithin } from './external-data.js'
import { inlineFunctions } from './inline-functions.js'
import { insertBatchNorms } from './insert-batch-norms.js'
import { restoreBatchNorms } from './restore-batch-norms.js'
import { widenFloat16 } from './widen-float16.js'
import type { Origin } from './origin.js'

export interface ModelSource {
  /** The ONNX file; its external data lie beside it. */
  path: string
  origin: Origin
  /** Safetensors file with the state_dict, for origin `reference-state`. */
  statePath?: string
}

export interface PreparedModel {
  /** An ONNX file that holds everything. */
  bytes: Uint8Array
  /** What it may deviate from the source by, relative to the largest output; undefined when nothing was changed. */
  tolerance?: number
}

/** What float32 arithmetic leaves open when weights are unfolded: as in prove.ts. */
const TOLERANCE = 1e-4

/**
 * float16 keeps 11 bits: each of some 100 operators in a row rounds by 2^-12 on average, at random; a wrong channel
 * shows as 1e-1 and more.
 */
const FLOAT16_TOLERANCE = 2e-2

/** A state_dict beyond this is none of a convolutional network that one model file could hold. */
const STATE_BYTES_MAX = 2 ** 31

/** Digests of every file that the source consists of, the graph's first. Throws what reading the model throws. */
export async function sourceDigests ({ path, statePath }: ModelSource): Promise<string[]> {
  const bytes = await readModelFile(path)
  const locations = externalLocations(parseModel(bytes))
  const external = await Promise.all(locations.map((location) => locateWithin(dirname(path), location)))
  const others = statePath === undefined ? external : [...external, statePath]
  return [sha256(bytes), ...await Promise.all(others.map((file) => sha256File(file)))]
}

/** Throws what the steps throw: ONNX_*, COMPILE_REFERENCE_MISMATCH, COMPILE_NOTHING_TO_INSERT, SAFETENSORS_*. */
export async function prepareModel (source: ModelSource): Promise<PreparedModel> {
  const bytes = await readModelFile(source.path)
  const model = parseModel(bytes)
  const isExternal = externalLocations(model).length > 0
  if (isExternal) await loadExternalData(model, dirname(source.path))
  const isInlined = inlineFunctions(model)
  const isWide = widenFloat16(model)
  const isEvaluated = await evaluateConstants(model)
  const isRestored = await addMissing(model, source)
  if (!isExternal && !isInlined && !isWide && !isEvaluated && !isRestored) return { bytes }
  return { bytes: serializeModel(model), tolerance: isWide ? FLOAT16_TOLERANCE : TOLERANCE }
}

async function addMissing (model: OnnxModel, { origin, statePath }: ModelSource): Promise<boolean> {
  if (origin === 'graph') return false
  if (origin === 'inserted') {
    insertBatchNorms(model)
    return true
  }
  const { size } = await stat(statePath!)
  if (size > STATE_BYTES_MAX) {
    throw compilerErrors.COMPILE_REFERENCE_MISMATCH('the reference state is too large', {
      expected: STATE_BYTES_MAX, received: size
    })
  }
  restoreBatchNorms(model, await readFile(statePath!))
  return true
}

const SEED = 200

/** Throws COMPILE_SOURCE_CHANGED when the prepared model does not compute what the file does. */
export async function verifyPrepared (
  { path }: ModelSource, { bytes, tolerance }: PreparedModel, given: readonly SampleShapes[]
): Promise<void> {
  if (tolerance === undefined) return
  const original = await openSession(path, { optimization: 'all' })
  const prepared = await openSession(bytes, { optimization: 'all' })
  try {
    for (const shapes of resolveSampleShapes(original.inputs, given)) {
      const feeds: Record<string, PlainTensor> = sampleFeeds(original.inputs, shapes, 2, SEED)
      const expected = await original.run(feeds)
      const actual = await prepared.run(feeds)
      for (const name of Object.keys(expected)) {
        const error = relativeError(actual[name]!, expected[name]!)
        if (error <= tolerance) continue
        throw compilerErrors.COMPILE_SOURCE_CHANGED(
          `bringing the batch norms of the model into the open changes its output "${name}"`,
          { expected: `at most ${tolerance}`, received: error }
        )
      }
    }
  } finally {
    await original.release()
    await prepared.release()
  }
}
