/** What a model is to this service, without compiling it: its batch norms, their keys, and what a domain would cost. */
import { BankswitchError } from '../base/errors.js'
import { describeNode } from '../onnx/graph.js'
import { isOnnxDomain, opsetOf, parseModel, type OnnxModel } from '../onnx/model.js'
import { shapeOf } from '../onnx/node.js'
import { Compilation, type PreparedModel } from './compilation.js'
import { runPasses } from './pass.js'
import { ANALYSING, PLAN } from './passes.js'
import { prepareSource } from './pipeline.js'
import { EXPORT_ADVICE } from './read-batch-norms.js'
import type { CompileOptions } from './compile-options.js'
import type { SiteKind } from './plan.js'
import type { ModelSource, Origin } from './source/model-source.js'
import type { ValueDescription } from '../ort/session.js'

export interface InspectedLayer {
  key: string
  node: string
  channels: number
  epsilon: number
  kind: SiteKind
  /** What a domain pays for it, before padding. */
  bytes: number
  /** Memory traffic of one row of the sample input that folding saves; 0 for the other kinds. */
  activationBytesSaved: number
}

export interface Inspection {
  producer: string
  opset: number
  /** Names of the passes that had to change the model before its batch norms could be read. */
  changedBy: readonly string[]
  /** `none` for a model without batch norms to switch: they were folded away at export, or it never had any. */
  batchNorms: Origin | 'none'
  fingerprint?: string
  inputs: readonly ValueDescription[]
  outputs: readonly ValueDescription[]
  weightBytes: number
  foldBudget: number
  bytesPerDomain: number
  layers: InspectedLayer[]
  /** What to do about it, where there is something to do. */
  advice: string[]
}

const FOLDED_ADVICE = [
  `batch norms that were folded away at export: ${EXPORT_ADVICE}`,
  'or give the state_dict that it was exported from: --reference-state state.safetensors undoes the folding',
  'or put an identity behind every convolution, for banks made by calibration: --insert-bn'
]

/** Throws the ONNX_*, ORT_* and COMPILE_* errors of preparing, reading and probing. */
export async function inspectModel (source: ModelSource, options: CompileOptions): Promise<Inspection> {
  const prepared = await prepareSource(source)
  const model = parseModel(prepared.bytes)
  const { producerName, producerVersion } = model
  const common = {
    producer: `${producerName} ${producerVersion}`.trim(),
    opset: opsetOf(model),
    changedBy: prepared.changedBy,
    foldBudget: options.foldBudget
  }
  const advice: string[] = []
  let analysis: Compilation
  try {
    analysis = await analyseOrGuess(prepared, options, advice)
  } catch (error) {
    if (!hasErrorCode(error, 'COMPILE_NO_BATCH_NORM')) throw error
    return {
      ...common,
      batchNorms: 'none',
      inputs: [],
      outputs: [],
      weightBytes: 0,
      bytesPerDomain: 0,
      layers: [],
      advice: [...FOLDED_ADVICE, ...otherNorms(model)]
    }
  }
  const { reading: { batchNorms, fingerprint, weightBytes }, probe, plan } = analysis
  return {
    ...common,
    batchNorms: source.origin,
    fingerprint,
    inputs: probe.inputs,
    outputs: probe.outputs,
    weightBytes,
    bytesPerDomain: plan.bankBytes,
    layers: batchNorms.sites.map(({ layer, node }, at) => {
      const { kind, bankBytes, savedBytes } = plan.sites[at]!
      return {
        key: layer.key,
        node: node.name === '' ? describeNode(node) : node.name,
        channels: layer.channels,
        epsilon: layer.epsilon,
        kind,
        bytes: bankBytes,
        activationBytesSaved: savedBytes
      }
    }),
    advice: [...advice, ...adviceOn(analysis, source), ...otherNorms(model)]
  }
}

/** Where the model leaves sizes open and none are given, those of a usual picture will do for a look. */
async function analyseOrGuess (
  prepared: PreparedModel, options: CompileOptions, advice: string[]
): Promise<Compilation> {
  try {
    return await analyse(prepared, options)
  } catch (error) {
    if (options.samples.length > 0 || !hasErrorCode(error, 'COMPILE_INPUT_SHAPE_UNKNOWN')) throw error
    const { graph } = parseModel(prepared.bytes)
    const guess = Object.fromEntries(graph.input.map((info) => [info.name, guessShape(shapeOf(info) ?? [])]))
    const analysis = await analyse(prepared, { ...options, samples: [guess] }).catch(() => { throw error })
    const shown = Object.entries(guess).map(([name, dims]) => `${name}=${dims.join('x')}`).join(', ')
    advice.push(`the plan is for sizes that were guessed (${shown}); --shape gives the true ones`)
    return analysis
  }
}

/** The first plan; nothing is compiled. */
async function analyse (prepared: PreparedModel, options: CompileOptions): Promise<Compilation> {
  const work = new Compilation(prepared, options, '')
  await runPasses([...ANALYSING, PLAN], work, () => {})
  return work
}

const USUAL_CHANNELS = 3
const USUAL_SIDE = 224

function guessShape (dims: ReadonlyArray<number | null>): number[] {
  return dims.map((size, axis) => size ?? (axis === 0 ? 1 : axis === 1 ? USUAL_CHANNELS : USUAL_SIDE))
}

function hasErrorCode (error: unknown, code: string): boolean {
  return error instanceof BankswitchError && error.code === code
}

const OTHER_NORMS = ['InstanceNormalization', 'GroupNormalization', 'LayerNormalization']

/** Normalisations that have no statistics of a domain. */
function otherNorms ({ graph }: OnnxModel): string[] {
  return OTHER_NORMS.flatMap((opType) => {
    const count = graph.node.filter((node) => node.opType === opType && isOnnxDomain(node.domain)).length
    const why = 'take their statistics from each row and are left alone: no bank has any for them'
    return count === 0 ? [] : [`${count} ${opType} nodes ${why}`]
  })
}

/** PyTorch's keys hold no slashes and are no bare operator names. */
function adviceOn ({ reading: { batchNorms, convs } }: Compilation, { origin }: ModelSource): string[] {
  const advice: string[] = []
  const odd = batchNorms.layers.filter(({ key }) => key.includes('/') || /^(node_)?batch_?norm/i.test(key))
  if (odd.length > 0 && origin === 'graph') {
    advice.push(`${odd.length} layers have no names of a training code (such as "${odd[0]!.key}"): a state_dict will not ` +
      `match them; ${EXPORT_ADVICE}`)
  }
  if (convs.every((conv) => conv === undefined)) {
    advice.push('no batch norm stands behind a convolution with constant weights: none can be folded')
  }
  return advice
}
