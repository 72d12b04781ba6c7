/**
 * What a calibration costs: images per second of every mode next to plain inference of the same images in the same
 * thread, interleaved, by the clock and by the processor's time (which a busy machine disturbs less); and what inference
 * notices of a calibration that runs meanwhile.
 *
 *   npm run bench -- calibration [--images 512 --rounds 5 --seconds 12 --networks traffic-signs,ResNet-18]
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { calibrate } from '#src/calibration/calibrate.js'
import { completeOptions, MODES } from '#src/calibration/options.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { StatisticsGraph } from '#src/calibration/statistics-graph.js'
import { seededNormal } from '#src/compiler/sample-inputs.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel } from '#src/onnx/model.js'
import { sliceRows, type Tensors } from '#src/ort/rows.js'
import { openSession } from '#src/ort/session.js'
import { resnet18 } from '../test/support/networks.js'
import { markdownTable, measure, quantile } from '#src/cli/measure.js'
import { openBench } from './report.js'
import { signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('calibration', { images: '512', rounds: '5', seconds: '12', networks: 'traffic-signs,ResNet-18' })

const ROOT = new URL('../../', import.meta.url).pathname
const BATCH = 32
const ROOM = 2 ** 31
const RESNET_SHARE = 16
const PAUSE_MS = 5

const images = Number(values.images)
const networks: Record<string, () => Promise<string[][]>> = {
  'traffic-signs': async () => {
    return await bench('traffic-signs', await readFile(join(ROOT, 'models/traffic-signs/model.onnx')), 'input', [images, 3, 32, 32])
  },
  'ResNet-18': () => bench('ResNet-18', resnet18().bytes, 'x', [Math.max(BATCH, images / RESNET_SHARE), 3, 224, 224])
}
const costs: string[][] = []
for (const name of values.networks.split(',')) costs.push(...await networks[name]!())
await publish(`Batches of ${BATCH}, one thread, ${values.rounds} rounds:

${markdownTable(['model', 'images', '', 'images/s', 'of plain inference', 'spread', 'by processor time', 'forward runs'], costs)}

What inference of traffic-signs notices of a calibration beside it, one request after another, in turns with and without:

${await latencies()}`)

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
  const cpuMs = new Map<string, number[]>()
  const timings = await measure([
    {
      name: 'plain inference',
      async run () {
        for (let first = 0; first < count; first += BATCH) await plain.run(sliceRows(set, first, Math.min(BATCH, count - first)))
      }
    },
    // A signature leaves the bank as it is: no network runs for it.
    ...MODES.filter((mode) => mode !== 'signature').map((mode) => contender(mode, mode, ROOM)),
    contender('sequential, no room for activations', 'sequential', inputBytes)
  ].map(({ name: label, run }) => ({
    name: label,
    async run () {
      const before = process.cpuUsage()
      await run()
      const { user, system } = process.cpuUsage(before)
      cpuMs.set(label, [...cpuMs.get(label) ?? [], (user + system) / 1000])
    }
  })), Number(values.rounds), 1)
  const cpu = (label: string) => quantile(cpuMs.get(label)!, 0.5)
  await plain.release()
  return timings.map(({ name: label, medianMs, ratio, spread }) => [
    name, String(count), label, (1000 * count / medianMs).toFixed(0), (1 / ratio).toFixed(2), `±${(100 * spread).toFixed(1)} %`,
    (cpu('plain inference') / cpu(label)).toFixed(2), (runs.get(label) ?? 1).toFixed(1)
  ])
}

/** One request after another with a short pause, alone and beside a calibration, in turns. */
async function latencies (): Promise<string> {
  const server = await startBenchServer()
  try {
    const dims = [2048, 3, 32, 32]
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
    for (let round = 0; round < 4; round++) {
      await ask(server.address, half, (ms) => alone.push(ms))
      // The upload is over when the job is there: this process would slow itself down with it.
      const id = await start()
      const ended = new AbortController()
      const watching = (async () => {
        while (['queued', 'running'].includes(await stateOf(id))) await pause(200)
        ended.abort()
      })()
      await ask(server.address, half, (ms) => beside.push(ms), ended.signal)
      await fetch(`${server.address}/admin/jobs/${id}`, { method: 'DELETE', headers: { authorization } })
      await watching
    }
    const line = (name: string, sample: number[]) => [
      name, String(sample.length), ...[0.5, 0.9, 0.99].map((share) => quantile(sample, share).toFixed(2))
    ]
    const table = markdownTable(['inference', 'requests', 'median ms', '90 % ms', '99 % ms'], [
      line('alone', alone), line('beside a calibration of 2,048 images', beside)
    ])
    return `${table}\n\nThe 99th percentile is ${(quantile(beside, 0.99) / quantile(alone, 0.99)).toFixed(1)} times as high.`
  } finally {
    await server.stop()
  }
}

async function ask (
  address: string, ms: number, onAnswer: (ms: number) => void, signal?: AbortSignal
): Promise<void> {
  const { body, headers } = signsRequest(1)
  const end = performance.now() + ms
  while (performance.now() < end && signal?.aborted !== true) {
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
