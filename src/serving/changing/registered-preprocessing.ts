/** Preprocessing that is registered with a bank: right in itself, right for the graph, and tried once. */
import assert from 'node:assert'
import { sampleFeeds } from '../../compiler/sample-inputs.js'
import { modelErrors } from '../../models/errors.js'
import { inputShape, parsePreprocessing, rulesOf, type PreprocessingOverrides } from '../../models/preprocessing.js'
import { loneRow } from '../lone-row.js'
import { takesPictures, type PictureManifest } from '../../models/manifest.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankToRun } from '../banks-to-run.js'
import type { ReadyModel } from '../model-states.js'

const TRIAL_SEED = 11

/**
 * Checks the form and the channels; a size is also run once with the bank, because only the graph knows which sizes it
 * takes. Rejects with PREPROCESSING_INVALID, and what the pool rejects with.
 */
export async function checkedPreprocessing (
  { pool }: { pool: Pick<InferencePool, 'submit'> }, model: ReadyModel, domain: string, given: unknown,
  bank: BankToRun
): Promise<PreprocessingOverrides> {
  const { entry: { manifest }, artefact } = model
  const parsed = parsePreprocessing(manifest, domain, given)
  // A model for tensors has refused by now.
  assert(takesPictures(manifest))
  const [input] = artefact.inputs
  // A task without a size takes any: one that the graph takes stands for all.
  const { size, ...rules } = { size: sizeOf(manifest), ...rulesOf(manifest, domain, parsed) }
  const shape = inputShape({ ...rules, size })
  const isPossible = shape.every((length, axis) => axis === 0 || (input!.dims[axis] ?? length) === length)
  if (!isPossible) throw unfit(shape, input!.dims)
  if (parsed.size === undefined) return parsed
  const feeds = sampleFeeds(artefact.inputs, { [manifest.input.name]: shape }, 1, TRIAL_SEED)
  try {
    await pool.submit([loneRow(model, domain, bank, feeds)])
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ORT_RUN_FAILED') throw cause
    throw unfit(shape, input!.dims, cause)
  }
  return parsed
}

function sizeOf (manifest: PictureManifest): { height: number, width: number } {
  if (manifest.task === 'classification') return manifest.input.size
  return { height: manifest.tiling.multipleOf, width: manifest.tiling.multipleOf }
}

function unfit (shape: readonly number[], dims: ReadonlyArray<number | null>, cause?: unknown): Error {
  return modelErrors.PREPROCESSING_INVALID('the preprocessing makes inputs that the model does not take', {
    expected: dims.map((size) => size ?? -1), received: shape
  }, cause)
}
