/** `bankswitch bench switch`: what switching costs for a model, on this machine. */
import { compileSource } from '../compiler/pipeline.js'
import { configErrors } from '../config/load.js'
import { openSession } from '../ort/session.js'
import { withCompiled } from './compiled-once.js'
import { measure } from './measure.js'
import { MODEL_ARGUMENTS_HELP, parseModelArguments, type ModelArguments } from './model-arguments.js'

const BENCH_HELP = `bankswitch bench switch --model MODEL.onnx [options]

Compares a switched inference with ONNX Runtime's own session of the same model, all batch norms fused away: the fastest
thing one could load per domain. One thread, interleaved, medians; the ratio is the median over the rounds.

  --batch ROWS                  rows per inference, default 1
  --rounds COUNT                rounds, default 60
${MODEL_ARGUMENTS_HELP}`

export interface SwitchBenchmark {
  bnLayers: number
  batch: number
  rounds: number
  fusedMs: number
  switchedMs: number
  /** Median over the rounds of switched over fused. */
  ratioToFused: number
  /** Half the distance between the quartiles of the noisier contender, as a share of its median. */
  spread: number
  maxRelativeError: number
  bytesPerDomain: number
  weightBytes: number
}

/** Throws CONFIG_INVALID and what the compiler throws. */
async function bench (argv: string[]): Promise<number> {
  const [what, ...rest] = argv
  if (what !== 'switch') {
    throw configErrors.CONFIG_INVALID(`there is no benchmark "${what ?? ''}"\n\n${BENCH_HELP}`, { expected: ['switch'] })
  }
  const given = await parseModelArguments(rest, BENCH_HELP, { batch: { type: 'string' }, rounds: { type: 'string' } })
  const batch = count(given, 'batch', 1)
  const rounds = count(given, 'rounds', 60)
  const result = await benchSwitch(given, batch, rounds)
  if (given.isJson) {
    process.stdout.write(`${JSON.stringify({ model: given.source.path, ...result }, null, 2)}\n`)
    return 0
  }
  const { fusedMs, switchedMs, ratioToFused, spread, bytesPerDomain, weightBytes, maxRelativeError } = result
  process.stdout.write(
    `fused ${fusedMs.toFixed(2)} ms, switched ${switchedMs.toFixed(2)} ms: ${ratioToFused.toFixed(3)}x ` +
    `(±${(100 * spread).toFixed(1)} %, ${rounds} rounds, batch ${batch})\n` +
    `${result.bnLayers} batch norms, ${bytesPerDomain.toLocaleString('en')} bytes per domain, ` +
    `${(100 * bytesPerDomain / weightBytes).toFixed(2)} % of the weights; ` +
    `largest relative error ${maxRelativeError.toExponential(1)}\n`
  )
  return 0
}

/** Measures both in this thread. */
export async function benchSwitch (
  { source, options }: Pick<ModelArguments, 'source' | 'options'>, batch: number, rounds: number
): Promise<SwitchBenchmark> {
  return await withCompiled((folder) => compileSource(source, folder, options), async ({ artefact, bank, feedsOf }) => {
    const fused = await openSession(source.path, { optimization: 'all' })
    const switched = await openSession(artefact.graphPath, { optimization: 'disabled' })
    const feeds = feedsOf(batch)
    const [base, ours] = await measure([
      { name: 'fused', run: () => fused.run(feeds) },
      { name: 'switched', run: () => switched.run({ ...feeds, ...bank }) }
    ], rounds)
    await fused.release()
    await switched.release()
    return {
      bnLayers: artefact.layers.length,
      batch,
      rounds,
      fusedMs: base!.medianMs,
      switchedMs: ours!.medianMs,
      ratioToFused: ours!.ratio,
      spread: Math.max(base!.spread, ours!.spread),
      maxRelativeError: artefact.proof.maxRelativeError,
      bytesPerDomain: artefact.layout.length * Float32Array.BYTES_PER_ELEMENT,
      weightBytes: artefact.weightBytes
    }
  })
}

const COUNT_MAX = 100_000

function count ({ values }: ModelArguments, name: string, otherwise: number): number {
  const text = values[name]
  const number = text === undefined ? otherwise : Number(text)
  if (Number.isInteger(number) && number >= 1 && number <= COUNT_MAX) return number
  throw configErrors.CONFIG_INVALID(`--${name} "${String(text)}" is no count from 1 to ${COUNT_MAX}\n\n${BENCH_HELP}`)
}

export const command = { help: BENCH_HELP, run: bench }
