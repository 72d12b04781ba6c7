/**
 * Where the time goes: ONNX Runtime's own profile of the fused session and of the compiled graph, by operator.
 *
 *   npm run bench -- profile [--model MODEL.onnx --shape 1x3x224x224 --rounds 20 --fold-budget 0.05]
 *
 * Without a model it is traffic-signs.
 */
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { withCompiled } from '#src/cli/compiled-once.js'
import { markdownTable } from '#src/cli/measure.js'
import { parseModelArguments } from '#src/cli/model-arguments.js'
import { compileSource } from '#src/compiler/pipeline.js'
import { openSession, type PlainTensor } from '#src/ort/session.js'
import { publish } from './report.js'

const WARM_UP_RUNS = 3

const MODEL = new URL('../../models/traffic-signs/model.onnx', import.meta.url).pathname

const argv = process.argv.slice(2)
const subject = argv.some((arg) => /^--model(=|$)/.test(arg)) ? argv : [...argv, '--model', MODEL, '--shape', '1x3x32x32']
const { source, options, values } = await parseModelArguments(subject, 'see bench/profile.ts', {
  rounds: { type: 'string', default: '20' }, write: { type: 'boolean', default: false }
})
const rounds = Number(values.rounds)

await withCompiled((folder) => compileSource(source, folder, options), async ({ folder, artefact, bank, feedsOf }) => {
  const feeds = feedsOf(1)
  const fused = await profile(join(folder, 'fused'), source.path, 'all', feeds)
  const switched = await profile(join(folder, 'switched'), artefact.graphPath, 'disabled', { ...feeds, ...bank })
  const operators = [...new Set([...fused.keys(), ...switched.keys()])]
  const cell = (times: Map<string, Times>, operator: string) => {
    const { count = 0, us = 0 } = times.get(operator) ?? {}
    return [String(count), us.toFixed(0)]
  }
  const difference = (operator: string) => (switched.get(operator)?.us ?? 0) - (fused.get(operator)?.us ?? 0)
  const table = markdownTable(
    ['operator', 'fused, nodes', 'µs per run', 'switched, nodes', 'µs per run', 'difference'],
    operators.sort((a, b) => Math.abs(difference(b)) - Math.abs(difference(a))).map((operator) => [
      operator, ...cell(fused, operator), ...cell(switched, operator), difference(operator).toFixed(0)
    ])
  )
  await publish('profile', `${basename(dirname(source.path))}/${basename(source.path)}, one row, one thread.\n\n${table}`, values.write === true)
})

interface Times {
  count: number
  us: number
}

/** Nodes and microseconds per run of each operator. */
async function profile (
  prefix: string, path: string, optimization: 'all' | 'disabled', feeds: Record<string, PlainTensor>
): Promise<Map<string, Times>> {
  const session = await openSession(path, { optimization, profilePrefix: prefix })
  for (let run = 0; run < WARM_UP_RUNS + rounds; run++) await session.run(feeds)
  session.endProfiling()
  await session.release()
  const file = (await readdir(dirname(prefix))).find((entry) => entry.startsWith(`${basename(prefix)}_`))!
  const events = JSON.parse(await readFile(join(dirname(prefix), file), 'utf8')) as ProfileEvent[]
  const kernels = events.filter(({ cat, name: event }) => cat === 'Node' && event.endsWith('_kernel_time'))
  const perRun = kernels.length / (WARM_UP_RUNS + rounds)
  const times = new Map<string, Times>()
  for (const { args, dur } of kernels.slice(WARM_UP_RUNS * perRun)) {
    const known = times.get(args.op_name) ?? { count: 0, us: 0 }
    times.set(args.op_name, { count: known.count + 1 / rounds, us: known.us + dur / rounds })
  }
  for (const entry of times.values()) entry.count = Math.round(entry.count)
  return times
}

interface ProfileEvent {
  cat: string
  name: string
  dur: number
  args: { op_name: string }
}
