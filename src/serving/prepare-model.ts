/** Brings a model from its folder to the workers: compile or fetch, load, make sure of a default domain, warm up. */
import { isDeepStrictEqual } from 'node:util'
import { obtainArtefact, type ObtainedArtefact } from '../compiler/obtain-artefact.js'
import { sampleFeeds } from '../compiler/sample-inputs.js'
import { compileOptionsOf, sourceOf } from '../models/compilation.js'
import { usualShapes } from '../models/manifest.js'
import { modelErrors } from '../models/errors.js'
import { proveTiling } from './prove-tiling.js'
import { foldShared, type InferenceParts } from './inference.js'
import { loneRow } from './lone-row.js'
import { register } from './registration.js'
import { bankDigest } from '../bank/bank.js'
import { FoldedRange } from '../bank/folded-range.js'
import type { Settings } from '../config/schema.js'
import type { Logger } from '../observability/logger.js'
import type { ModelEntry } from '../models/repository.js'
import type { ReadyModel } from './served-models.js'

export interface ObtainParts {
  settings: Pick<Settings, 'cacheDir' | 'foldBudget'>
  logger: Logger
  signal: AbortSignal
}

export interface PrepareParts extends InferenceParts, ObtainParts {}

const WARM_UP_SEED = 7

/** Rejects with what the compiler, the runtime or the store throws. */
export async function prepareModel (parts: PrepareParts, entry: ModelEntry): Promise<ReadyModel> {
  const { name } = entry.manifest
  const logger = parts.logger.child({ model: name })
  const begin = performance.now()
  const { artefact, key } = await obtain({ ...parts, logger }, entry)
  const model: ReadyModel = {
    entry,
    artefact,
    range: new FoldedRange(artefact.layout),
    served: {
      id: key,
      name,
      graphPath: artefact.graphPath,
      bankInputs: artefact.bankInputs,
      layout: artefact.layout,
      takesAnySize: entry.manifest.task === 'image-to-image'
    }
  }
  checkManifest(model)
  await parts.pool.load(model.served)
  await ensureDefaultDomain(parts, model, logger)
  await warmUp(parts, model)
  await proveTiling(parts.pool, model)
  logger.info({
    readyMs: Math.round(performance.now() - begin),
    batchNorms: artefact.sites.length,
    bytesPerDomain: artefact.layout.length * Float32Array.BYTES_PER_ELEMENT,
    maxRelativeError: artefact.proof.maxRelativeError
  }, 'model is ready')
  return model
}

function obtain (
  { settings: { cacheDir, foldBudget }, logger, signal }: ObtainParts, entry: ModelEntry
): Promise<ObtainedArtefact> {
  return obtainArtefact(sourceOf(entry), compileOptionsOf(entry, foldBudget), {
    cacheFolder: cacheDir,
    signal,
    onWaiting: () => logger.info('another process compiles this model; waiting for it'),
    onProgress: (step, attempt) => logger.info({ step, attempt }, 'compiling'),
    onCorrupt: (error) => logger.warn({ err: error }, 'the compiled model in the cache was unusable and is rebuilt')
  })
}

/**
 * Brings a served model's artefact back to where threads load it from, if it is gone. Rejects with what the compiler
 * throws, and with MODEL_FAILED when the model's files have changed, so that the threads would not run the same.
 */
export async function restoreArtefact (parts: ObtainParts, { entry, artefact, served }: ReadyModel): Promise<void> {
  const { name } = entry.manifest
  const found = await obtain({ ...parts, logger: parts.logger.child({ model: name }) }, entry)
  if (found.key === served.id && isDeepStrictEqual(found.artefact.layout, artefact.layout)) return
  throw modelErrors.MODEL_FAILED(`the files of model "${name}" are not those it was compiled from`)
}

/** What the manifest says of the graph must be true of it. */
function checkManifest ({ entry: { manifest, labels }, artefact }: ReadyModel): void {
  const faults: string[] = []
  const input = artefact.inputs.find(({ name }) => name === manifest.input.name)
  if (input === undefined || artefact.inputs.length > 1) {
    const names = artefact.inputs.map(({ name }) => name).join(', ')
    faults.push(`its inputs are ${names}, not just "${manifest.input.name}"`)
  } else if (input.type !== 'float32') {
    faults.push(`its input is ${input.type}, but pictures become float32`)
  }
  const output = artefact.outputs.find(({ name }) => name === manifest.output.name)
  if (output === undefined) faults.push(`it has no output "${manifest.output.name}"`)
  else if (output.type !== 'float32') faults.push(`its output is ${output.type}, but scores and pixels are made from float32`)
  const classes = output?.dims.at(-1)
  if (manifest.task === 'classification' && typeof classes === 'number' && classes !== labels.length) {
    faults.push(`it has ${classes} classes, but there are ${labels.length} labels`)
  }
  if (faults.length === 0) return
  const list = faults.join('; ')
  throw modelErrors.MANIFEST_INVALID(`the graph of "${manifest.name}" is not what the manifest says: ${list}`, { faults })
}

/** A model without a default domain can still serve: the statistics that stand in it become version 1. */
async function ensureDefaultDomain (parts: PrepareParts, model: ReadyModel, logger: Logger): Promise<void> {
  const { name, defaultDomain } = model.entry.manifest
  if (parts.store.domain(name, defaultDomain) !== undefined) return
  await register(parts, model, defaultDomain, model.artefact.ownBank, 'model', { isActivated: true })
  logger.info({ domain: defaultDomain }, 'the default domain was missing and got the statistics of the model')
}

/** One run per idle thread and input size, so that the first request finds everything allocated. */
async function warmUp (parts: PrepareParts, model: ReadyModel): Promise<void> {
  const { artefact, entry } = model
  const bank = { folded: foldShared(model, artefact.ownBank), digest: bankDigest(artefact.ownBank) }
  for (const shape of usualShapes(entry.manifest)) {
    const feeds = sampleFeeds(artefact.inputs, { [entry.manifest.input.name]: shape }, 1, WARM_UP_SEED)
    const job = loneRow(model, '', bank, feeds, artefact.outputs.map(({ name }) => name))
    await parts.pool.warmUp(job)
  }
}
