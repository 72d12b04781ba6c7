/** What a calibration's thread is told. */
import { sourceOf } from '../../models/compilation.js'
import { rulesOf, type PreprocessingOverrides } from '../../models/preprocessing.js'
import { signatureRequest } from './signatures.js'
import type { Bank } from '../../bank/bank.js'
import type { NamedFile } from '../../calibration/archives.js'
import type { CalibrationRequest } from '../../calibration/calibration-thread.js'
import type { CalibrationOptions } from '../../calibration/options.js'
import type { Settings } from '../../config/schema.js'
import type { ReadyModel } from '../model-states.js'

export type Uploads = { kind: 'pictures', files: NamedFile[] } | { kind: 'tensors', file: NamedFile }

export type Limits = Pick<Settings, 'imagePixels' | 'calibrationBytes'>

/** What the thread needs to know; gives the uploads away. */
export function calibrationRequest (
  { entry, artefact }: ReadyModel, domain: string, base: Bank, uploads: Uploads, options: CalibrationOptions,
  { imagePixels, calibrationBytes }: Limits, preprocessing: PreprocessingOverrides | undefined
): CalibrationRequest {
  const { manifest } = entry
  const input = artefact.inputs[0]!
  // A model with a fixed batch axis takes batches of that size only.
  const [batchSize = options.batchSize] = input.dims.slice(0, 1).flatMap((size) => size ?? [])
  const rules = manifest.task === 'classification' ? rulesOf(manifest, domain, preprocessing) : undefined
  const files = uploads.kind === 'pictures' ? uploads.files.splice(0) : [uploads.file]
  return {
    source: sourceOf(entry),
    fingerprint: artefact.fingerprint,
    layers: artefact.layers,
    base,
    options: { ...options, batchSize },
    input,
    ...(manifest.task === 'classification' ? { rules: rules!, classOutput: manifest.output.name } : {}),
    ...signatureRequest(entry, artefact, uploads.kind, rules, options),
    uploads: files,
    isTensors: uploads.kind === 'tensors',
    imagePixels,
    budgetBytes: calibrationBytes
  }
}
