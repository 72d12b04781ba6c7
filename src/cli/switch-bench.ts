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
import { resolveSampleShapes, sampleFeeds, type SampleShapes } from '../compiler/sample-inputs.js'
import { openSession, type PlainTensor, type Session } from '../ort/session.js'
import { SAMPLE_SEED, withCompiled, type CompiledOnce } from './compiled-once.js'
import { joined, measure, ratiosTo, quantile, type Contender, type Timing } from './measure.js'
import type { CompileOptions } from '../compiler/compile-options.js'
import type { PreparedModel } from '../compiler/compilation.js'

/** Of all sessions, one after another; half of them in the other order. */
const OPENINGS = 6

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

interface Opened {
  name: string
  session: Session
  feedsOf (rows: number): Record<string, PlainTensor>
}

export interface SwitchContenders {
  compiled: CompiledOnce
  baselines: Array<Opened & { name: BaselineName }>
  switched: Opened
}

/** All of them open while `use` runs. Rejects with what compiling and opening throw. */
export async function withContenders<T> (
  given: SwitchBenchOptions, use: (contenders: SwitchContenders) => Promise<T>
): Promise<T> {
  return await withCompiledOf(given, (compiled) => withSessions(given, compiled, false, use))
}

async function withCompiledOf<T> (
  { prepared, options }: SwitchBenchOptions, use: (compiled: CompiledOnce) => Promise<T>
): Promise<T> {
  return await withCompiled((folder) => compilePrepared(prepared, folder, options), use)
}

/** `isSwitchedFirst` turns the order of opening round. */
async function withSessions<T> (
  given: SwitchBenchOptions, compiled: CompiledOnce, isSwitchedFirst: boolean,
  use: (contenders: SwitchContenders) => Promise<T>
): Promise<T> {
  const { artefact, bank, feedsOf } = compiled
  const switchedFeeds = (rows: number) => ({ ...feedsOf(rows), ...bank })
  const sessions: Session[] = []
  const open = async (model: string | Uint8Array, optimization: 'all' | 'disabled'): Promise<Session> => {
    const session = await openSession(model, { optimization })
    sessions.push(session)
    return session
  }
  const openSwitched = async () => {
    return { name: 'switched', session: await open(artefact.graphPath, 'disabled'), feedsOf: switchedFeeds }
  }
  try {
    const first = isSwitchedFirst ? await openSwitched() : undefined
    const baselines = await openBaselines(given, compiled, (model) => open(model, 'all'))
    return await use({ compiled, baselines, switched: first ?? await openSwitched() })
  } finally {
    for (const session of sessions) await session.release()
  }
}

async function openBaselines (
  { prepared, against }: SwitchBenchOptions, { artefact, feedsOf }: CompiledOnce,
  open: (model: string | Uint8Array) => Promise<Session>
): Promise<SwitchContenders['baselines']> {
  const baselines: SwitchContenders['baselines'] = [
    { name: 'file', session: await open(prepared.source?.path ?? prepared.bytes), feedsOf }
  ]
  if (prepared.changedBy.length > 0) {
    baselines.push({ name: 'prepared', session: await open(prepared.bytes), feedsOf })
  }
  if (against === undefined) return baselines
  const session = await open(against)
  const shapes = shapesFor(session, artefact.samples[0]!)
  const feedsOfAnother = (rows: number) => sampleFeeds(session.inputs, shapes, rows, SAMPLE_SEED)
  return [...baselines, { name: 'against', session, feedsOf: feedsOfAnother }]
}

/** Another file may call its inputs differently: then they are taken in order. */
function shapesFor ({ inputs }: Session, shapes: SampleShapes): SampleShapes {
  const inOrder = Object.values(shapes)
  const given = Object.fromEntries(inputs.map(({ name }, at) => [name, shapes[name] ?? inOrder[at] ?? []]))
  return resolveSampleShapes(inputs, [given])[0]!
}

export function contender ({ name, session, feedsOf }: Opened, rows: number): Contender {
  const feeds = feedsOf(rows)
  return { name, run: () => session.run(feeds) }
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

/**
 * Measures in this thread. The rounds are shared out among several openings of all sessions, in either order: of small
 * networks the session that was opened last is about one percent faster for as long as it lives.
 * Rejects with what `withContenders` rejects with.
 */
export async function benchSwitch (
  given: SwitchBenchOptions, batch: number, rounds: number
): Promise<SwitchBenchmark> {
  return await withCompiledOf(given, async (compiled) => {
    const { artefact } = compiled
    const openings = Math.min(OPENINGS, rounds)
    const parts: Timing[][] = []
    let againstError: number | undefined
    for (let opening = 0; opening < openings; opening++) {
      const share = Math.floor((opening + 1) * rounds / openings) - Math.floor(opening * rounds / openings)
      await withSessions(given, compiled, opening % 2 === 1, async ({ baselines, switched }) => {
        const contenders = [...baselines, switched].map((one) => contender(one, batch))
        parts.push(await measure(contenders, share))
        const other = baselines.find(({ name }) => name === 'against')
        if (other !== undefined && opening === 0) againstError = await distance(other, switched, batch)
      })
    }
    const timings = joined(parts)
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
async function distance (a: Opened, b: Opened, rows: number): Promise<number | undefined> {
  const expected = Object.values(await a.session.run(a.feedsOf(rows)))
  const actual = Object.values(await b.session.run(b.feedsOf(rows)))
  if (expected.length !== actual.length) return undefined
  const worst = Math.max(...expected.map((tensor, at) => relativeError(actual[at]!, tensor)))
  return Number.isFinite(worst) ? worst : undefined
}
