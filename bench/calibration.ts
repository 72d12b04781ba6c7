/**
 * What a calibration costs: images per second of every mode next to plain inference of the same images in the same
 * thread, interleaved; and what inference notices of a calibration that runs meanwhile.
 *
 *   npm run bench:calibration [-- --images 512 --rounds 5 --seconds 12]
 */
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { calibrate } from '#src/calibration/calibrate.js'
import { completeOptions, MODES } from '#src/calibration/options.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { StatisticsGraph } from '#src/compiler/statistics-graph.js'
import { seededNormal } from '#src/compiler/sample-inputs.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel } from '#src/onnx/model.js'
import { sliceRows, type Tensors } from '#src/ort/rows.js'
import { openSession } from '#src/ort/session.js'
import { resnet18 } from '../test/support/networks.js'
import { markdownTable, measure, quantile } from '#src/cli/measure.js'
import { signsRequest, startBenchServer } from './server.js'

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '12' }
  }
})

const ROOT = new URL('../../', import.meta.url).pathname
const BATCH = 32
const ROOM = 2 ** 31
const RESNET_SHARE = 16
const PAUSE_MS = 5

console.log(`${cpus()[0]?.model}, Node ${process.version}\n`)
const images = Number(values.images)
const rows = [
  ...await bench('traffic-signs', await readFile(join(ROOT, 'models/traffic-signs/model.onnx')), 'input', [images, 3, 32, 32]),
  ...await bench('ResNet-18', resnet18().bytes, 'x', [Math.max(BATCH, images / RESNET_SHARE), 3, 224, 224])
]
console.log(markdownTable(['model', 'images', '', 'images/s', 'of plain inference', 'spread', 'forward runs'], rows))
console.log()
await latencies()

function noise (dims: number[]): Float32Array {
  const normal = seededNormal(1)
  return Float32Array.from({ length: dims.reduce((product, size) => product * size, 1) }, normal)
}

async function bench (name: string, model: Uint8Array, input: string, dims: number[]): Promise<string[][]> {
  const count = dims[0]!
  const set: Tensors = { [input]: { type: 'float32', dims, data: noise(dims) } }
  const { layers, ownBank: base } = readBatchNorms(indexGraph(parseModel(model).graph))
  const { fingerprint } = new StatisticsGraph(model, new Set())
  const plain = await openSession(model, { optimization: 'all' })
  const runs = new Map<string, number>()
  const contender = (label: string, mode: string, budgetBytes: number) => ({
    name: label,
    async run () {
      const { report } = await calibrate({
        model,
        fingerprint,
        layers,
        base,
        images: set,
        duplicates: 0,
        broken: 0,
        budgetBytes,
        options: completeOptions({ mode, batchSize: BATCH })
      })
      runs.set(label, report.forwardRuns)
    }
  })
  const inputBytes = dims.reduce((product, size) => product * size, 4)
  const timings = await measure([
    {
      name: 'plain inference',
      async run () {
        for (let first = 0; first < count; first += BATCH) await plain.run(sliceRows(set, first, Math.min(BATCH, count - first)))
      }
    },
    ...MODES.map((mode) => contender(mode, mode, ROOM)),
    contender('sequential, no room for activations', 'sequential', inputBytes)
  ], Number(values.rounds), 1)
  await plain.release()
  return timings.map(({ name: label, medianMs, ratio, spread }) => [
    name, String(count), label, (1000 * count / medianMs).toFixed(0), (1 / ratio).toFixed(2), `±${(100 * spread).toFixed(1)} %`,
    (runs.get(label) ?? 1).toFixed(1)
  ])
}

/** One request after another with a short pause, alone and while calibrations run one after another. */
async function latencies (): Promise<void> {
  const server = await startBenchServer({ BANKSWITCH_LOG_LEVEL: 'info' })
  try {
    const dims = [1024, 3, 32, 32]
    const data = noise(dims)
    const file = serializeSafetensors(
      [{ name: 'input', dtype: 'F32', shape: dims, bytes: new Uint8Array(data.buffer) }], new Map()
    )
    const authorization = `Bearer ${server.adminKey}`
    const start = async () => {
      const form = new FormData()
      form.append('tensors', new Blob([file]), 'set.safetensors')
      const response = await fetch(`${server.address}/admin/models/traffic-signs/domains/bench/calibrations`, {
        method: 'POST', body: form, headers: { authorization }
      })
      return (await response.json() as { id: string }).id
    }
    const stateOf = async (id: string) => {
      const response = await fetch(`${server.address}/admin/jobs/${id}`, { headers: { authorization } })
      return (await response.json() as { state: string }).state
    }
    const half = Number(values.seconds) / 4 * 1000
    const [alone, beside]: [number[], number[]] = [[], []]
    await ask(server.address, 1000, () => {})
    let jobs = 0
    for (let round = 0; round < 4; round++) {
      await ask(server.address, half, (ms) => alone.push(ms))
      const done = new AbortController()
      const calibrating = (async () => {
        while (!done.signal.aborted) {
          const id = await start()
          jobs++
          while (!done.signal.aborted && ['queued', 'running'].includes(await stateOf(id))) await pause(200)
          if (done.signal.aborted) await fetch(`${server.address}/admin/jobs/${id}`, { method: 'DELETE', headers: { authorization } })
        }
      })()
      await ask(server.address, half, (ms) => beside.push(ms))
      done.abort()
      await calibrating
    }
    const line = (name: string, sample: number[]) => [
      name, String(sample.length), ...[0.5, 0.9, 0.99].map((share) => quantile(sample, share).toFixed(2))
    ]
    console.log(markdownTable(['inference', 'requests', 'median ms', '90 % ms', '99 % ms'], [
      line('alone', alone), line(`beside calibrations (${jobs} of 1,024 images begun)`, beside)
    ]))
    console.log(`\n99th percentile: ${(quantile(beside, 0.99) / quantile(alone, 0.99)).toFixed(2)}x`)
  } finally {
    await server.stop()
  }
}

async function ask (address: string, ms: number, onAnswer: (ms: number) => void): Promise<void> {
  const { body, headers } = signsRequest(1)
  const end = performance.now() + ms
  while (performance.now() < end) {
    const begin = performance.now()
    const response = await fetch(`${address}/v2/models/traffic-signs/infer`, { method: 'POST', body, headers })
    await response.arrayBuffer()
    onAnswer(performance.now() - begin)
    await pause(PAUSE_MS)
  }
}

function pause (ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
