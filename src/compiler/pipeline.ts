/**
 * Orders the passes: read, probe, plan, lower, optimise, promote, externalise, prove.
 *
 * When a pass cannot place a site, or the proof fails, the affected sites are lowered generically and it starts again:
 * a served artefact has been proven, or there is none.
 */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { indexGraph } from '../onnx/graph.js'
import { parseModel, serializeModel, type OnnxModel } from '../onnx/model.js'
import { elementCount } from '../onnx/tensor.js'
import { readFile } from 'node:fs/promises'
import { openSession } from '../ort/session.js'
import { GRAPH_FILE, WEIGHTS_FILE, writeArtefact } from './artefact.js'
import { compilerErrors } from './errors.js'
import { externaliseWeights } from './externalise-weights.js'
import { findFoldableConv, type FoldableConv } from './find-foldable-conv.js'
import { fingerprintOf } from './fingerprint.js'
import { CHANNELS_MAX, lowerBatchNorms } from './lower-batch-norms.js'
import { planSites, type Plan, type SiteOptions } from './plan.js'
import { probeModel, type Probe } from './probe.js'
import { promotePorts, type PromotedPorts } from './promote-ports.js'
import { proveCompiled, RELATIVE_ERROR_MAX, type Proof } from './prove.js'
import { readBatchNorms, type BatchNorms, type BatchNormSite } from './read-batch-norms.js'
import { writeBankInto } from './with-bank.js'
import type { SampleShapes } from './sample-inputs.js'

export interface CompileOptions {
  /** Share of the model's weight bytes that a domain may cost; 0 to Infinity. */
  foldBudget: number
  /** Shapes of one row of every input, in all sizes that will be served; the first one is planned for. */
  samples: readonly SampleShapes[]
}

export type CompileStep = 'read' | 'probe' | 'lower' | 'optimise' | 'promote' | 'prove' | 'write'
export type Progress = (step: CompileStep, attempt: number) => void

interface Analysis {
  batchNorms: BatchNorms
  fingerprint: string
  weightBytes: number
  convs: Array<FoldableConv | undefined>
  probe: Probe
}

/**
 * Compiles a model into an artefact in `folder`, which must exist.
 *
 * Throws the ONNX_*, ORT_* and COMPILE_* errors of the passes; COMPILE_PROOF_FAILED when even the generic form differs
 * from the original.
 */
export async function compileModel (
  bytes: Uint8Array, folder: string, options: CompileOptions, progress: Progress = () => {}
): Promise<void> {
  const analysis = await analyse(bytes, options, progress)
  const { batchNorms, probe } = analysis
  const generic = new Set<number>()
  let proof: Proof | undefined
  for (let attempt = 1; ; attempt++) {
    const plan = planSites(siteOptions(analysis, generic), options.foldBudget * analysis.weightBytes)
    const built = await build(bytes, plan, folder, (step) => progress(step, attempt))
    if ('lostSites' in built) {
      for (const site of built.lostSites) generic.add(site)
      continue
    }
    progress('prove', attempt)
    proof = await proveCompiled({
      compiledPath: join(folder, GRAPH_FILE),
      layout: { ...built.layout, layers: batchNorms.layers },
      bankInputs: built.inputs,
      inputs: probe.inputs,
      outputs: probe.outputs,
      samples: probe.samples,
      ownBank: batchNorms.ownBank,
      originalWith: (bank) => {
        const model = parseModel(bytes)
        writeBankInto(model, readBatchNorms(indexGraph(model.graph)).sites, bank)
        return serializeModel(model)
      }
    })
    if (proof.maxRelativeError <= RELATIVE_ERROR_MAX) {
      progress('write', attempt)
      await writeArtefact(folder, describe(analysis, plan, built, proof))
      return
    }
    if (generic.size === batchNorms.sites.length) break
    for (const site of batchNorms.sites.keys()) generic.add(site)
  }
  throw compilerErrors.COMPILE_PROOF_FAILED(
    'the compiled graph does not compute what the original computes, in any lowering',
    { expected: RELATIVE_ERROR_MAX, received: proof.maxRelativeError }
  )
}

async function analyse (bytes: Uint8Array, options: CompileOptions, progress: Progress): Promise<Analysis> {
  progress('read', 1)
  const model = parseModel(bytes)
  const index = indexGraph(model.graph)
  const batchNorms = readBatchNorms(index)
  const fingerprint = fingerprintOf(index, batchNorms)
  const weightBytes = model.graph.initializer.reduce((sum, { rawData, floatData }) => {
    return sum + rawData.length + floatData.length * 4
  }, 0)
  const convs = batchNorms.sites.map((site) => findFoldableConv(index, site))
  progress('probe', 1)
  const probe = await probeModel(model, batchNorms.sites, options.samples)
  return { batchNorms, fingerprint, weightBytes, convs, probe }
}

function siteOptions ({ batchNorms, convs, probe }: Analysis, generic: ReadonlySet<number>): SiteOptions[] {
  return batchNorms.sites.map(({ layer }, at) => {
    const { type, dims } = probe.activations[at]!
    const conv = convs[at]
    const isFloat = type === 'float32' && layer.channels <= CHANNELS_MAX && !generic.has(at)
    return {
      channels: layer.channels,
      isAffinePossible: isFloat && dims.length === 4,
      ...(isFloat && conv !== undefined ? { foldElements: conv.weights.length } : {}),
      activationBytes: elementCount(dims) * 4
    }
  })
}

async function build (
  bytes: Uint8Array, plan: Plan, folder: string, progress: (step: CompileStep) => void
): Promise<{ lostSites: number[] } | PromotedPorts> {
  progress('lower')
  const { model, sites, ports } = lower(bytes, plan)
  progress('optimise')
  const optimised = await optimise(model, folder)
  progress('promote')
  const layers = [...new Map(sites.map(({ layer }) => [layer.key, layer])).values()]
  const promoted = promotePorts(optimised, ports, layers)
  if ('lostSites' in promoted) return promoted
  const weights = externaliseWeights(optimised, WEIGHTS_FILE)
  await writeFile(join(folder, WEIGHTS_FILE), weights)
  await writeFile(join(folder, GRAPH_FILE), serializeModel(optimised))
  return promoted
}

function lower (bytes: Uint8Array, plan: Plan) {
  const model = parseModel(bytes)
  const index = indexGraph(model.graph)
  const sites = readBatchNorms(index).sites as BatchNormSite[]
  const ports = lowerBatchNorms(model, sites.map((site, at) => {
    const { kind } = plan.sites[at]!
    const conv = kind === 'fold' ? findFoldableConv(index, site) : undefined
    return { site, kind, ...(conv === undefined ? {} : { conv }) }
  }))
  return { model, sites, ports }
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

function describe (analysis: Analysis, plan: Plan, built: PromotedPorts, proof: Proof) {
  const { batchNorms, probe, fingerprint, weightBytes } = analysis
  return {
    description: {
      fingerprint,
      layers: [...batchNorms.layers],
      sites: batchNorms.sites.map(({ layer, node }, at) => ({
        layerKey: layer.key, node: node.name, ...plan.sites[at]!
      })),
      inputs: probe.inputs.map(({ name, type, dims }) => ({ name, type, dims: [...dims] })),
      outputs: probe.outputs.map(({ name, type, dims }) => ({ name, type, dims: [...dims] })),
      weightBytes,
      proof
    },
    layout: built.layout,
    bankInputs: built.inputs,
    ownBank: batchNorms.ownBank
  }
}
