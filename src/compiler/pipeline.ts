/**
 * Orders the passes: read, probe, plan, lower, optimise, promote, externalise, prove.
 *
 * It may take several rounds. When a pass cannot place a site, or the proof fails, the affected sites are lowered
 * generically; when padding makes a plan dearer than the budget, it is planned again with what was measured. A served
 * artefact has been proven, or there is none.
 */
import assert from 'node:assert'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { indexGraph } from '../onnx/graph.js'
import { parseModel, serializeModel, type OnnxModel } from '../onnx/model.js'
import { openSession } from '../ort/session.js'
import { analyse, noLessons, siteOptions, type Analysis, type Lessons } from './analyse.js'
import { GRAPH_FILE, WEIGHTS_FILE, writeArtefact } from './artefact.js'
import { compilerErrors } from './errors.js'
import { externaliseWeights } from './externalise-weights.js'
import { findFoldableConv } from './find-foldable-conv.js'
import { lowerBatchNorms } from './lower-batch-norms.js'
import { FLOAT_BYTES, planSites, type Plan } from './plan.js'
import { promotePorts, type PromotedPorts } from './promote-ports.js'
import { proveCompiled, RELATIVE_ERROR_MAX, type Proof } from './prove.js'
import { readBatchNorms } from './read-batch-norms.js'
import { prepareModel, verifyPrepared, type ModelSource } from './source/prepare.js'
import { writeBankInto } from './with-bank.js'
import type { SampleShapes } from './sample-inputs.js'
import type { Origin } from './source/origin.js'

export interface CompileOptions {
  /** Share of the model's weight bytes that a domain may cost; 0 to Infinity. */
  foldBudget: number
  /** Shapes of one row of every input, in all sizes that will be served; the first one is planned for. */
  samples: readonly SampleShapes[]
}

export type CompileStep = 'prepare' | 'read' | 'probe' | 'lower' | 'optimise' | 'promote' | 'prove' | 'write'
export type Progress = (step: CompileStep, attempt: number) => void

/** Prepares a model from its files, then compiles it. Throws also what `prepareModel` and `verifyPrepared` throw. */
export async function compileSource (
  source: ModelSource, folder: string, options: CompileOptions, progress: Progress = () => {}
): Promise<void> {
  progress('prepare', 1)
  const prepared = await prepareModel(source)
  await compileModel(prepared.bytes, folder, options, progress, source.origin)
  await verifyPrepared(source, prepared, options.samples)
}

/**
 * Compiles a model into an artefact in `folder`, which must exist.
 *
 * Throws the ONNX_*, ORT_* and COMPILE_* errors of the passes; COMPILE_PROOF_FAILED when even the generic form differs
 * from the original.
 */
export async function compileModel (
  bytes: Uint8Array, folder: string, options: CompileOptions, progress: Progress = () => {}, origin: Origin = 'graph'
): Promise<void> {
  progress('read', 1)
  const analysis = await analyse(bytes, options.samples, () => progress('probe', 1))
  const { sites } = analysis.batchNorms
  const lessons = noLessons(analysis)
  const budgetBytes = options.foldBudget * analysis.weightBytes
  const makePlan = () => planSites(siteOptions(analysis, lessons), budgetBytes - lessons.gapBytes)
  for (let round = 1; ; round++) {
    const plan = makePlan()
    const built = await build(bytes, plan, folder, (step) => progress(step, round))
    if ('lostSites' in built) {
      assert(built.lostSites.some((site) => !lessons.generic.has(site)), 'a port of the generic form is never lost')
      for (const site of built.lostSites) lessons.generic.add(site)
      continue
    }
    if (built.layout.length * FLOAT_BYTES > budgetBytes) {
      learnCosts(lessons, plan, built)
      if (hasOtherKinds(plan, makePlan())) continue
    }
    progress('prove', round)
    const proof = await prove(bytes, folder, analysis, built)
    if (proof.maxRelativeError <= RELATIVE_ERROR_MAX) {
      progress('write', round)
      await writeArtefact(folder, describe(analysis, plan, built, { origin, proof }))
      return
    }
    if (lessons.generic.size === sites.length) {
      throw compilerErrors.COMPILE_PROOF_FAILED(
        'the compiled graph does not compute what the original computes, in any lowering',
        { expected: RELATIVE_ERROR_MAX, received: proof.maxRelativeError }
      )
    }
    for (const site of sites.keys()) lessons.generic.add(site)
  }
}

function learnCosts (lessons: Lessons, plan: Plan, { siteBytes, layout }: PromotedPorts): void {
  for (const [at, { kind }] of plan.sites.entries()) {
    const costs = lessons.measured[at]!
    costs[kind] = Math.max(costs[kind] ?? 0, siteBytes[at]!)
  }
  const gapBytes = layout.length * FLOAT_BYTES - siteBytes.reduce((sum, bytes) => sum + bytes, 0)
  lessons.gapBytes = Math.max(lessons.gapBytes, gapBytes)
}

function hasOtherKinds (plan: Plan, next: Plan): boolean {
  return plan.sites.some(({ kind }, at) => kind !== next.sites[at]!.kind)
}

function prove (
  bytes: Uint8Array, folder: string, { batchNorms, probe }: Analysis, built: PromotedPorts
): Promise<Proof> {
  return proveCompiled({
    compiledPath: join(folder, GRAPH_FILE),
    layout: built.layout,
    bankInputs: built.inputs,
    inputs: probe.inputs,
    outputs: probe.outputs,
    samples: probe.samples,
    ownBank: batchNorms.ownBank,
    originalWith: (bank) => {
      const model = parseModel(bytes)
      writeBankInto(model, readBatchNorms(indexGraph(model.graph)).sites, bank)
      return model
    }
  })
}

async function build (
  bytes: Uint8Array, plan: Plan, folder: string, progress: (step: CompileStep) => void
): Promise<{ lostSites: number[] } | PromotedPorts> {
  progress('lower')
  const { model, batchNorms, ports } = lower(bytes, plan)
  progress('optimise')
  const optimised = await optimise(model, folder)
  progress('promote')
  const promoted = promotePorts(optimised, ports, batchNorms.layers)
  if ('lostSites' in promoted) return promoted
  const weights = externaliseWeights(optimised, WEIGHTS_FILE)
  await writeFile(join(folder, WEIGHTS_FILE), weights)
  await writeFile(join(folder, GRAPH_FILE), serializeModel(optimised))
  return promoted
}

function lower (bytes: Uint8Array, plan: Plan) {
  const model = parseModel(bytes)
  const index = indexGraph(model.graph)
  const batchNorms = readBatchNorms(index)
  const ports = lowerBatchNorms(model, batchNorms.sites.map((site, at) => {
    const { kind } = plan.sites[at]!
    const conv = kind === 'fold' ? findFoldableConv(index, site) : undefined
    return { site, kind, ...(conv === undefined ? {} : { conv }) }
  }))
  return { model, batchNorms, ports }
}

/** The runtime's own optimisation, for this processor, written to a file and read back. */
async function optimise (model: OnnxModel, folder: string): Promise<OnnxModel> {
  const optimizedPath = join(folder, '.optimised.onnx')
  const session = await openSession(serializeModel(model), { optimization: 'all', optimizedPath })
  await session.release()
  const bytes = await readFile(optimizedPath)
  await rm(optimizedPath)
  return parseModel(bytes)
}

function describe (
  analysis: Analysis, plan: Plan, built: PromotedPorts, facts: { origin: Origin, proof: Proof }
) {
  const { batchNorms, probe, fingerprint, weightBytes } = analysis
  return {
    description: {
      fingerprint,
      layers: [...batchNorms.layers],
      sites: batchNorms.sites.map(({ layer, node }, at) => ({
        layerKey: layer.key, node: node.name, ...plan.sites[at]!, bankBytes: built.siteBytes[at]!
      })),
      inputs: probe.inputs.map(({ name, type, dims }) => ({ name, type, dims: [...dims] })),
      outputs: probe.outputs.map(({ name, type, dims }) => ({ name, type, dims: [...dims] })),
      samples: probe.samples.map((shapes) => {
        return Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, [...dims]]))
      }),
      weightBytes,
      ...facts
    },
    layout: built.layout,
    bankInputs: built.inputs,
    ownBank: batchNorms.ownBank
  }
}
