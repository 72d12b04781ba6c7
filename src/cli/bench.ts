/** `bankswitch bench`: what switching costs on this machine, for a model or for a folder of them. */
import { prepareSource } from '../compiler/pipeline.js'
import { configErrors } from '../config/load.js'
import { benchFolder, folderCells, FOLDER_HEADER, geometricMean, type FolderRow } from './bench-folder.js'
import { parseCommandLine } from './command-line.js'
import {
  COMPILE_OPTIONS, compileArguments, MODEL_ARGUMENTS_HELP, parseModelArguments, requireFile
} from './model-arguments.js'
import { benchSwitch, type SwitchBenchmark } from './switch-bench.js'
import { budgetText, textTable } from './table.js'

const BENCH_HELP = `bankswitch bench switch --model MODEL.onnx [options]
bankswitch bench folder FOLDER [options]

Compares a switched inference with the fastest of what one could load for a single domain: the file as it is (file), the
same with everything constant evaluated and its batch norms fused away by ONNX Runtime (prepared), and another file of
your choice (against). One thread, interleaved, medians; the ratio is the median over the rounds, which
several openings of all sessions share, in either order.

A folder is compiled, proven and measured file by file. NAME.folded.onnx is no network of its own but what NAME.kept.onnx
is compared with; with no NAME.kept.onnx beside it, it is measured as any other file. A file that fails is a row of the
table, and the exit code is 1.

  --batch ROWS                  rows per inference, default 1
  --rounds COUNT                rounds, default 60
  --against OTHER.onnx          switch: another file to compare with
${MODEL_ARGUMENTS_HELP}`

const COUNTS = { batch: { type: 'string' }, rounds: { type: 'string' } } as const
const ROUNDS_DEFAULT = 60

/** Some file of a folder could not be measured. */
const EXIT_FAILED = 1

/** Throws CONFIG_INVALID and what the compiler throws. */
async function bench ([what, ...rest]: string[]): Promise<number> {
  if (what === 'switch') return await benchOne(rest)
  if (what === 'folder') return await benchAll(rest)
  throw configErrors.CONFIG_INVALID(`there is no benchmark "${what ?? ''}"\n\n${BENCH_HELP}`, {
    expected: ['switch', 'folder']
  })
}

async function benchOne (argv: string[]): Promise<number> {
  const given = await parseModelArguments(argv, BENCH_HELP, { ...COUNTS, against: { type: 'string' } })
  const { source, options, values } = given
  const [batch, rounds] = [count('batch', values.batch, 1), count('rounds', values.rounds, ROUNDS_DEFAULT)]
  const against = values.against as string | undefined
  if (against !== undefined) await requireFile(against)
  const prepared = await prepareSource(source)
  const result = await benchSwitch({ prepared, options, ...(against === undefined ? {} : { against }) }, batch, rounds)
  process.stdout.write(given.isJson
    ? `${JSON.stringify({ model: source.path, ...result }, null, 2)}\n`
    : describe(result))
  return 0
}

function describe (result: SwitchBenchmark): string {
  const { baseline, baselinesMs, switchedMs, ratioToFused, spread, rounds, batch, againstError } = result
  const { bnLayers, bytesPerDomain, weightBytes, maxRelativeError } = result
  const times = Object.entries(baselinesMs).map(([name, ms]) => `${name} ${ms.toFixed(2)} ms`)
  return `${times.join(', ')}, switched ${switchedMs.toFixed(2)} ms\n` +
    `${ratioToFused.toFixed(3)}x of the fastest (${baseline}; ±${(100 * spread).toFixed(1)} %, ${rounds} rounds, batch ${batch})\n` +
    `${bnLayers} batch norms, ${bytesPerDomain.toLocaleString('en')} bytes per domain, ` +
    `${(100 * bytesPerDomain / weightBytes).toFixed(2)} % of the weights; ` +
    `largest relative error ${maxRelativeError.toExponential(1)}` +
    `${againstError === undefined ? '' : `, of the other file ${againstError.toExponential(1)}`}\n`
}

async function benchAll (argv: string[]): Promise<number> {
  const { values, positionals, wrong } = parseCommandLine(argv, BENCH_HELP, { ...COMPILE_OPTIONS, ...COUNTS })
  const [folder] = positionals
  if (folder === undefined || positionals.length > 1) throw wrong('one folder is needed')
  const batch = count('batch', values.batch, 1)
  const rounds = count('rounds', values.rounds, ROUNDS_DEFAULT)
  const { options } = compileArguments(values, wrong)
  const rows = await benchFolder(folder, options, batch, rounds, (file) => process.stderr.write(`${file}\n`))
  const mean = geometricMean(rows)
  const foldBudget = budgetText(options.foldBudget)
  process.stdout.write(values.json === true
    ? `${JSON.stringify({ folder, foldBudget, batch, rounds, geometricMean: mean, networks: rows }, null, 2)}\n`
    : folderText(rows, mean))
  return rows.some((row) => 'error' in row) ? EXIT_FAILED : 0
}

function folderText (rows: readonly FolderRow[], mean: number | undefined): string {
  const failures = rows.flatMap((row) => 'error' in row ? [`${row.model}: ${row.error}`] : [])
  return [
    textTable(FOLDER_HEADER, rows.map(folderCells)),
    ...(mean === undefined ? [] : [`geometric mean of the ratios: ${mean.toFixed(3)}x`]), ...failures, ''
  ].join('\n')
}

const COUNT_MAX = 100_000

function count (name: string, text: string | boolean | undefined, otherwise: number): number {
  const number = text === undefined ? otherwise : Number(text)
  if (Number.isInteger(number) && number >= 1 && number <= COUNT_MAX) return number
  throw configErrors.CONFIG_INVALID(`--${name} "${String(text)}" is no count from 1 to ${COUNT_MAX}\n\n${BENCH_HELP}`)
}

export const command = { help: BENCH_HELP, run: bench }
