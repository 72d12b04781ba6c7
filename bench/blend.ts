/**
 * What a blend of two domains costs over one of them, interleaved, and with --data FOLDER, in which gtsrb32.npz is, what
 * it is worth at dusk: day pictures of traffic-signs at five exposures between day and low light, and the real pictures
 * of both and between them, under the banks of both, blends of them, the domain that each looks like, and the mean of
 * their answers, layer by layer.
 *
 *   npm run bench -- blend [--data FOLDER --rounds 2000]
 */
import { blendBanks, type BlendPart } from '#src/bank/blend.js'
import { foldLayer } from '#src/bank/fold.js'
import { readOwnBank } from '#src/bank/formats/bank-safetensors.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { Client } from './client.js'
import { inLight, inputsOf, meanLuma, PICTURE_VALUES, readTestPictures, type Pictures } from './gtsrb.js'
import { openBench } from './report.js'
import { signsRequest, startBenchServer } from './server.js'
import type { BatchNormLayer, LayerStatistics } from '#src/bank/bank.js'

const { values, publish } = openBench('blend', { data: '', rounds: '2000' })

const MODEL = 'traffic-signs'
const CLASSES = 43
/** Requests under each domain that do not count. */
const WARM_UP = 100
const CONNECTIONS = 2
const BATCH = 64
const BLEND = 'day=0.7,lowlight=0.3'
/** The domain that each row looks like: of the shipped ones, which alone have signatures. */
const AUTO = 'auto'

/** Of low light in a blend, and of the way to it in an exposure. */
const SHARES = [0, 0.25, 0.5, 0.75, 1]

const server = await startBenchServer()
const client = new Client(server, CONNECTIONS)
try {
  const sections = [await cost(Number(values.rounds))]
  if (values.data !== '') sections.push(await dusk(await readTestPictures(values.data)))
  await publish(sections.join('\n\n'))
} finally {
  client.close()
  await server.stop()
}

async function cost (rounds: number): Promise<string> {
  const { body, headers } = signsRequest(1)
  const time = async (domain: string): Promise<number> => {
    const begin = performance.now()
    await client.call('POST', `/v2/models/${MODEL}/infer`, body, { ...headers, 'x-domain': domain })
    return performance.now() - begin
  }
  const named = ['day', 'lowlight']
  for (let at = 0; at < WARM_UP; at++) for (const domain of named) await time(domain)
  const firstMs = await time(BLEND)
  const domains = [...named, BLEND]
  const times = new Map(domains.map((domain) => [domain, [] as number[]]))
  for (let round = 0; round < rounds; round++) {
    for (const domain of round % 2 === 0 ? domains : domains.toReversed()) times.get(domain)!.push(await time(domain))
  }
  const rows = domains.map((domain) => {
    const ratios = times.get(domain)!.map((ms, round) => ms / times.get('day')![round]!)
    return [domain, quantile(times.get(domain)!, 0.5).toFixed(2), `${quantile(ratios, 0.5).toFixed(3)}x`]
  })
  return `${MODEL}, one row a request, one after another, ${rounds.toLocaleString('en')} interleaved rounds; the first request for the blend, which makes ` +
    `its bank, took ${firstMs.toFixed(1)} ms:\n\n${markdownTable(['domain', 'median ms', 'median ratio to day'], rows)}`
}

async function dusk (pictures: Pictures): Promise<string> {
  const [day, lowlight] = [inLight(pictures, 'day'), inLight(pictures, 'lowlight')]
  const dark = meanLuma(pictures, lowlight) / meanLuma(pictures, day)
  const domains = SHARES.map((share) => share === 0 ? 'day' : share === 1 ? 'lowlight' : `day=${1 - share},lowlight=${share}`)
  const means = SHARES.slice(1, -1)
  for (const share of means) await registerMean(`mean-${share}`, share)
  const columns = [...domains, AUTO, ...means.map((share) => `mean-${share}`)]
  const rows: string[][] = []
  const measure = async (name: string, places: readonly number[], exposure: number, matched?: number) => {
    const inputs = inputsOf(pictures, places, exposure)
    const labels = places.map((at) => pictures.labels[at]!)
    const cells: string[] = []
    for (const [at, domain] of columns.entries()) {
      const share = (100 * await accuracy(inputs, labels, domain)).toFixed(2)
      cells.push(at === matched ? `**${share}**` : share)
    }
    rows.push([`${name} (${places.length.toLocaleString('en')})`, ...cells])
    console.error(rows.at(-1)!.join('  '))
  }
  for (const [at, share] of SHARES.entries()) {
    const exposure = 1 - share * (1 - dark)
    await measure(`day, exposed to ${(100 * exposure).toFixed(0)} %`, day, exposure, at)
  }
  await measure('between', inLight(pictures, 'between'), 1)
  await measure('lowlight', lowlight, 1)
  const header = ['pictures', ...domains.map((domain) => domain.replaceAll(',', ', ')), AUTO, ...means.map((share) => `mean of answers, ${share} of lowlight`)]
  return 'Accuracy in % on the test part of GTSRB. The exposures go from day to the mean luma of the low-light pictures; the blend with as much of low light ' +
    `is in bold. The last two rows are real: luma 50 to 80, which no domain was trained on, and low light.\n\n${markdownTable(header, rows)}`
}

/** A bank whose folded pairs are the weighted mean of those of day and lowlight. */
async function registerMean (domain: string, share: number): Promise<void> {
  const { compiled: { layers } } = JSON.parse((await client.call('GET', `/v1/models/${MODEL}`)).toString()) as {
    compiled: { layers: BatchNormLayer[] }
  }
  const parts = await Promise.all([['day', 1 - share], ['lowlight', share]].map(async ([name, weight]): Promise<BlendPart> => {
    const file = await client.call('GET', `/admin/models/${MODEL}/domains/${name}/versions/1`)
    return { bank: readOwnBank(file, layers), weight: Number(weight) }
  }))
  const mixed = blendBanks(layers, parts)
  const body = JSON.stringify({
    layers: Object.fromEntries(layers.map((layer) => [layer.key, meanLayer(layer, mixed.get(layer.key)!, parts)]))
  })
  await client.call('PUT', `/admin/models/${MODEL}/domains/${domain}`, Buffer.from(body), { 'content-type': 'application/json' })
}

function meanLayer (layer: BatchNormLayer, { mean, variance }: LayerStatistics, parts: readonly BlendPart[]): Record<string, number[]> {
  const pairs = parts.map(({ bank, weight }) => ({ weight, pair: foldLayer(layer, bank.get(layer.key)!) }))
  const meanOf = (part: 'scale' | 'shift', channel: number) => pairs.reduce((sum, { pair, weight }) => sum + weight * pair[part][channel]!, 0)
  const gamma = Array.from(variance, (value, channel) => meanOf('scale', channel) * Math.sqrt(value + layer.epsilon))
  const beta = Array.from(mean, (value, channel) => meanOf('shift', channel) + meanOf('scale', channel) * value)
  return { mean: Array.from(mean), variance: Array.from(variance), gamma, beta }
}

async function accuracy (inputs: Float32Array, labels: readonly number[], domain: string): Promise<number> {
  const starts = Array.from({ length: Math.ceil(labels.length / BATCH) }, (_, at) => at * BATCH)
  let right = 0
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    for (let first = starts.shift(); first !== undefined; first = starts.shift()) {
      const rows = Math.min(BATCH, labels.length - first)
      const bytes = Buffer.from(inputs.buffer, first * PICTURE_VALUES * 4, rows * PICTURE_VALUES * 4)
      const header = Buffer.from(JSON.stringify({
        inputs: [{ name: 'input', shape: [rows, 3, 32, 32], datatype: 'FP32', parameters: { binary_data_size: bytes.length } }],
        parameters: { binary_data_output: true }
      }))
      const answer = await client.call('POST', `/v2/models/${MODEL}/infer`, Buffer.concat([header, bytes]), {
        'inference-header-content-length': String(header.length), 'content-type': 'application/octet-stream', 'x-domain': domain
      })
      const logits = new Float32Array(Uint8Array.from(answer.subarray(answer.length - rows * CLASSES * 4)).buffer)
      for (let row = 0; row < rows; row++) {
        const scores = logits.subarray(row * CLASSES, (row + 1) * CLASSES)
        if (scores.indexOf(Math.max(...scores)) === labels[first + row]) right++
      }
    }
  }))
  return right / labels.length
}
