/**
 * What switching costs, against the fastest of what one could load instead for a single domain:
 *
 *   file      the file as it was given, optimised by ONNX Runtime
 *   prepared  the same after the compiler's preparing passes, its own statistics in it: all that can be fused away is
 *   against   another file of the user's choice, such as an export with the batch norms folded away
 *
 * The baseline is the one with the lowest median, so that a slow export flatters nobody.
 */
import { compilePrepared } from '../compiler/pipeline.js'
import { relativeError } from '../compiler/prove.js'
import { requireDataBeside } from '../compiler/source/external-data.js'
import { resolveSampleShapes, sampleFeeds, type SampleShapes } from '../compiler/sample-inputs.js'
import { openSession, type PlainTensor, type Session } from '../ort/session.js'
import { SAMPLE_SEED, withCompiled, type CompiledOnce } from './compiled-once.js'
import { ratiosTo, quantile, type Timing } from './measure.js'
import { measureOpenings, type Opening } from './openings.js'
import type { CompileOptions } from '../compiler/compile-options.js'
import type { PreparedModel } from '../compiler/compilation.js'

export type BaselineName = 'file' | 'prepared' | 'against'

export interface SwitchBenchmark {
  bnLayers: number
  batch: number
  rounds: number
  /** The fastest of what one could load per domain, whose time `fusedMs` is. */
  baseline: BaselineName
  /** Median of each that was measured. */
  baselinesMs: Partial<Record<BaselineName, number>>
  fusedMs: number
  switchedMs: number
  /** Median over the rounds of switched over the baseline. */
  ratioToFused: number
  /** Half the distance between the quartiles of the noisier of the two, as a share of its median. */
  spread: number
  maxRelativeError: number
  /** How far the outputs of the other file lie from the switched ones; missing where their shapes differ. */
  againstError?: number
  bytesPerDomain: number
  weightBytes: number
}

export interface SwitchBenchOptions {
  prepared: PreparedModel
  options: CompileOptions
  /** Path of another file to compare with. */
  against?: string
}

/** What is compared: the last one is the switched graph, all others are baselines. */
export function contendersOf (
  { prepared, against }: Omit<SwitchBenchOptions, 'options'>, { artefact, bank, feedsOf }: CompiledOnce
): Opening[] {
  const baseline = (name: BaselineName, model: string | Uint8Array, feeds: Opening['feedsOf'] = feedsOf): Opening => {
    return { name, open: () => openSession(model, { optimization: 'all' }), feedsOf: feeds }
  }
  const baselines = [baseline('file', prepared.source?.path ?? prepared.bytes)]
  if (prepared.changedBy.length > 0) baselines.push(baseline('prepared', prepared.bytes))
  if (against !== undefined) {
    baselines.push(baseline('against', against, (rows, session) => {
      return sampleFeeds(session.inputs, shapesFor(session, artefact.samples[0]!), rows, SAMPLE_SEED)
    }))
  }
  return [...baselines, {
    name: 'switched',
    open: () => openSession(artefact.graphPath, { optimization: 'disabled' }),
    feedsOf: (rows) => ({ ...feedsOf(rows), ...bank })
  }]
}

/** Another file may call its inputs differently: then they are taken in order. */
function shapesFor ({ inputs }: Session, shapes: SampleShapes): SampleShapes {
  const inOrder = Object.values(shapes)
  const given = Object.fromEntries(inputs.map(({ name }, at) => [name, shapes[name] ?? inOrder[at] ?? []]))
  return resolveSampleShapes(inputs, [given])[0]!
}

export interface Comparison {
  baseline: Timing
  switched: Timing
  /** Of the single rounds, switched over the baseline. */
  ratios: number[]
  ratioToFused: number
}

/** The rule of every benchmark of ours: `switched` against the fastest of `baselines`, by median. */
export function compareWithFastest (baselines: readonly Timing[], switched: Timing): Comparison {
  const baseline = baselines.reduce((best, other) => other.medianMs < best.medianMs ? other : best)
  const ratios = ratiosTo(baseline, switched)
  return { baseline, switched, ratios, ratioToFused: quantile(ratios, 0.5) }
}

/** Rejects with what compiling, opening and running reject with. */
export async function benchSwitch (
  given: SwitchBenchOptions, batch: number, rounds: number
): Promise<SwitchBenchmark> {
  if (given.against !== undefined) await requireDataBeside(given.against)
  const compile = (folder: string) => compilePrepared(given.prepared, folder, given.options)
  return await withCompiled(compile, async (compiled) => {
    const { artefact } = compiled
    const contenders = contendersOf(given, compiled)
    let againstError: number | undefined
    const timings = await measureOpenings(contenders, {
      rows: batch,
      rounds,
      async inspect (sessions) {
        if (given.against === undefined) return
        const [other, switched] = [-2, -1].map((at) => {
          const session = sessions.at(at)!
          return session.run(contenders.at(at)!.feedsOf(batch, session))
        })
        againstError = distance(Object.values(await other!), Object.values(await switched!))
      }
    })
    const ours = timings.pop()!
    const { baseline, ratioToFused } = compareWithFastest(timings, ours)
    return {
      bnLayers: artefact.layers.length,
      batch,
      rounds,
      baseline: baseline.name as BaselineName,
      baselinesMs: Object.fromEntries(timings.map(({ name, medianMs }) => [name, medianMs])),
      fusedMs: baseline.medianMs,
      switchedMs: ours.medianMs,
      ratioToFused,
      spread: Math.max(baseline.spread, ours.spread),
      maxRelativeError: artefact.proof.maxRelativeError,
      ...(againstError === undefined ? {} : { againstError }),
      bytesPerDomain: artefact.layout.length * Float32Array.BYTES_PER_ELEMENT,
      weightBytes: artefact.weightBytes
    }
  })
}

/** Outputs are compared in order, because another file may call them differently. */
function distance (expected: readonly PlainTensor[], actual: readonly PlainTensor[]): number | undefined {
  if (expected.length !== actual.length) return undefined
  const worst = Math.max(...expected.map((tensor, at) => relativeError(actual[at]!, tensor)))
  return Number.isFinite(worst) ? worst : undefined
}
