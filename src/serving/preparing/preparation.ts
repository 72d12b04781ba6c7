/** Brings a model from its folder to the workers: compile or fetch, load, make sure of a default domain, warm up. */
import { isDeepStrictEqual } from 'node:util'
import { BankswitchError } from '../../base/errors.js'
import { FoldedRange } from '../../bank/folded-range.js'
import { obtainArtefact, type ObtainedArtefact } from '../../compiler/obtain-artefact.js'
import { sampleFeeds } from '../../compiler/sample-inputs.js'
import { compileOptionsOf, sourceOf } from '../../models/compilation.js'
import { modelErrors } from '../../models/errors.js'
import {
  rowShapes, takesPictures, type Manifest, type PictureManifest, type TensorsManifest
} from '../../models/manifest.js'
import { ownBankOf } from '../banks-to-run.js'
import { loneRow } from '../lone-row.js'
import { RunMemory } from '../run-memory.js'
import { proveTiling } from './prove-tiling.js'
import type { Artefact } from '../../compiler/artefact.js'
import type { Settings } from '../../config/schema.js'
import type { ModelEntry } from '../../models/repository.js'
import type { Logger } from '../../observability/logger.js'
import type { ServedModel } from '../../runtime/messages.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankStore } from '../../store/bank-store.js'
import type { Administration } from '../changing/administration.js'
import type { ReadyModel } from '../model-states.js'

/** Gives the compiled model, from the cache or the compiler. */
export type Obtain = (entry: ModelEntry, logger: Logger) => Promise<ObtainedArtefact>

/** What bringing a model to the workers needs. */
export interface PreparationNeeds {
  obtain: Obtain
  pool: Pick<InferencePool, 'load' | 'submit' | 'warmUp'>
  store: Pick<BankStore, 'domain'>
  /** Absent over a store that is only read. */
  registerMade?: Administration['registerMade']
  logger: Logger
}

const WARM_UP_SEED = 7

/** Rejects with what the compiler, the runtime or the store throws. */
export async function bringToWorkers (needs: PreparationNeeds, entry: ModelEntry): Promise<ReadyModel> {
  const { name } = entry.manifest
  const logger = needs.logger.child({ model: name })
  const begin = performance.now()
  const { artefact, key } = await needs.obtain(entry, logger)
  const isOfAnySize = takesAnySize(entry.manifest, artefact)
  const model: ReadyModel = {
    entry,
    artefact,
    memory: new RunMemory(artefact, rowShapes(entry.manifest, 'usual'), isOfAnySize),
    range: new FoldedRange(artefact.layout),
    served: {
      id: key,
      name,
      graphPath: artefact.graphPath,
      bankInputs: artefact.bankInputs,
      layout: artefact.layout,
      takesAnySize: isOfAnySize
    },
    ...(artefact.stem === undefined ? {} : { stem: stemOf(key, name, artefact, isOfAnySize) })
  }
  checkManifest(model)
  await needs.pool.load(model.served)
  if (model.stem !== undefined) await needs.pool.load(model.stem)
  await ensureDefaultDomain(needs, model, logger)
  await warmUp(needs, model)
  await proveTiling(needs.pool, model)
  logger.info({
    readyMs: Math.round(performance.now() - begin),
    batchNorms: artefact.sites.length,
    bytesPerDomain: artefact.layout.length * Float32Array.BYTES_PER_ELEMENT,
    maxRelativeError: artefact.proof.maxRelativeError
  }, 'model is ready')
  return model
}

/** A session beside the network's, which takes no bank. */
function stemOf (key: string, name: string, { stemPath }: Artefact, takesAnySize: boolean): ServedModel {
  const layout = { layers: [], ports: [], length: 0 }
  return { id: `${key}.stem`, name, graphPath: stemPath, bankInputs: [], layout, takesAnySize }
}

/** Compiles into the cache, or takes from it what another process has compiled. */
export function obtainFromCache (
  { cacheDir, foldBudget }: Pick<Settings, 'cacheDir' | 'foldBudget'>, signal: AbortSignal
): Obtain {
  return (entry, logger) => obtainArtefact(sourceOf(entry), compileOptionsOf(entry, foldBudget), {
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
export async function restoreArtefact (
  { obtain, logger }: Pick<PreparationNeeds, 'obtain' | 'logger'>, { entry, artefact, served }: ReadyModel
): Promise<void> {
  const { name } = entry.manifest
  const found = await obtain(entry, logger.child({ model: name }))
  if (found.key === served.id && isDeepStrictEqual(found.artefact.layout, artefact.layout)) return
  throw modelErrors.MODEL_FAILED(`the files of model "${name}" are not those it was compiled from`)
}

function takesAnySize (manifest: Manifest, { inputs }: Artefact): boolean {
  if (takesPictures(manifest)) return manifest.task === 'image-to-image'
  return inputs.some(({ dims }) => dims.slice(1).includes(null))
}

/** What the manifest says of the graph must be true of it. */
function checkManifest ({ entry: { manifest, labels }, artefact }: ReadyModel): void {
  const faults = takesPictures(manifest)
    ? pictureFaults(manifest, labels.length, artefact)
    : tensorFaults(manifest, artefact)
  if (faults.length === 0) return
  const list = faults.join('; ')
  throw modelErrors.MANIFEST_INVALID(`the graph of "${manifest.name}" is not what the manifest says: ${list}`, { faults })
}

function tensorFaults ({ inputs }: TensorsManifest, artefact: Artefact): string[] {
  const known = new Set(artefact.inputs.map(({ name }) => name))
  const unknown = Object.keys(inputs).filter((name) => !known.has(name)).map((name) => `it has no input "${name}"`)
  const untold = [...known].filter((name) => !Object.hasOwn(inputs, name)).map((name) => `its input "${name}" is missing`)
  return [...unknown, ...untold]
}

function pictureFaults (manifest: PictureManifest, labels: number, artefact: Artefact): string[] {
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
  if (manifest.task === 'classification' && typeof classes === 'number' && classes !== labels) {
    faults.push(`it has ${classes} classes, but there are ${labels} labels`)
  }
  return faults
}

/** A model without a default domain can still serve: the statistics that stand in it become version 1. */
async function ensureDefaultDomain (needs: PreparationNeeds, model: ReadyModel, logger: Logger): Promise<void> {
  const { name, defaultDomain } = model.entry.manifest
  if (needs.registerMade === undefined || hasDomain(needs.store, name, defaultDomain)) return
  try {
    await needs.registerMade(model, defaultDomain, model.artefact.ownBank, 'model', { isActivated: true, expected: 0 })
  } catch (error) {
    // Another server that starts over the same store has made it meanwhile.
    if (error instanceof BankswitchError && error.code === 'PRECONDITION_FAILED') return
    throw error
  }
  logger.info({ domain: defaultDomain }, 'the default domain was missing and got the statistics of the model')
}

/** True also for a domain that a newer server wrote: its place is taken, though this one cannot serve it. */
function hasDomain (store: Pick<BankStore, 'domain'>, model: string, domain: string): boolean {
  try {
    return store.domain(model, domain) !== undefined
  } catch (error) {
    if (error instanceof BankswitchError && error.code === 'STORE_FORMAT_UNKNOWN') return true
    throw error
  }
}

/** One run per idle thread and input size, so that the first request finds everything allocated. */
async function warmUp ({ pool }: Pick<PreparationNeeds, 'pool'>, model: ReadyModel): Promise<void> {
  const { artefact, entry } = model
  const bank = ownBankOf(model)
  for (const shapes of rowShapes(entry.manifest, 'usual')) {
    const feeds = sampleFeeds(artefact.inputs, shapes, 1, WARM_UP_SEED)
    const job = loneRow(model, '', bank, feeds, artefact.outputs.map(({ name }) => name))
    await pool.warmUp(job)
  }
}
