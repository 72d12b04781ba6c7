/**
 * Where the time goes: ONNX Runtime's own profile of the fused session and of the compiled graph, by operator.
 *
 *   npm run bench:profile -- --model MODEL.onnx --shape 1x3x224x224 [--rounds 20 --fold-budget 0.05]
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packBank } from '#src/bank/pack.js'
import { markdownTable } from '#src/cli/measure.js'
import { parseModelArguments } from '#src/cli/model-arguments.js'
import { readArtefact } from '#src/compiler/artefact.js'
import { compileSource } from '#src/compiler/pipeline.js'
import { bankFeeds } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { openSession, type PlainTensor } from '#src/ort/session.js'

const WARM_UP_RUNS = 3

const { source, options, values } = await parseModelArguments(process.argv.slice(2), 'see bench/profile.ts', {
  rounds: { type: 'string', default: '20' }
})
const rounds = Number(values.rounds)

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-profile-'))
try {
  await compileSource(source, folder, options)
  const artefact = await readArtefact(folder)
  const feeds = sampleFeeds(artefact.inputs, artefact.samples[0]!, 1, 1)
  const bank = bankFeeds(artefact.bankInputs, packBank(artefact.layout, artefact.ownBank))
  const fused = await profile('fused', source.path, 'all', feeds)
  const switched = await profile('switched', artefact.graphPath, 'disabled', { ...feeds, ...bank })
  const operators = [...new Set([...fused.keys(), ...switched.keys()])]
  const cell = (times: Map<string, Times>, operator: string) => {
    const { count = 0, us = 0 } = times.get(operator) ?? {}
    return [String(count), us.toFixed(0)]
  }
  const difference = (operator: string) => (switched.get(operator)?.us ?? 0) - (fused.get(operator)?.us ?? 0)
  console.log(markdownTable(
    ['operator', 'fused, nodes', 'µs per run', 'switched, nodes', 'µs per run', 'difference'],
    operators.sort((a, b) => Math.abs(difference(b)) - Math.abs(difference(a))).map((operator) => [
      operator, ...cell(fused, operator), ...cell(switched, operator), difference(operator).toFixed(0)
    ])
  ))
} finally {
  await rm(folder, { recursive: true, force: true })
}

interface Times {
  count: number
  us: number
}

/** Nodes and microseconds per run of each operator. */
async function profile (
  name: string, path: string, optimization: 'all' | 'disabled', feeds: Record<string, PlainTensor>
): Promise<Map<string, Times>> {
  const session = await openSession(path, { optimization, profilePrefix: join(folder, `${name}-profile`) })
  for (let run = 0; run < WARM_UP_RUNS + rounds; run++) await session.run(feeds)
  session.endProfiling()
  await session.release()
  const file = (await readdir(folder)).find((entry) => entry.startsWith(`${name}-profile`))!
  const events = JSON.parse(await readFile(join(folder, file), 'utf8')) as ProfileEvent[]
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
